"""Anthropic's message batches: from requests to results, every end, every fault, what is bought."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perdure.adapters.simulator.faults import ActThenDrop
from tests.adapters.simulator.anthropic_bench import (
    BATCHES,
    OLD_VERSION,
    anthropic_bench,
    asked,
    several,
)
from tests.adapters.simulator.bench import BATCH_S, T0

pytestmark = pytest.mark.trio

DAY_S = 86_400.0
NONE = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}


def at(after_s: float) -> str:
    """A time after the beginning, as answers have it."""
    return datetime.fromtimestamp(T0 + after_s, UTC).isoformat().replace("+00:00", "Z")


def kinds(lines: list[Any]) -> list[str]:
    """How results ended."""
    return [line["result"]["type"] for line in lines]


async def test_a_batch_from_requests_to_results() -> None:
    async with anthropic_bench() as b:
        made = await b.batch(several(3))
        assert made == {
            "id": made["id"],
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": {**NONE, "processing": 3},
            "created_at": at(0),
            "expires_at": at(DAY_S),
            "ended_at": None,
            "cancel_initiated_at": None,
            "archived_at": None,
            "results_url": None,
        }
        assert made["id"].startswith("msgbatch_")
        assert await b.look(made["id"], after_s=BATCH_S * 0.95) == made
        ended = await b.look(made["id"], after_s=BATCH_S)
        assert ended == {
            **made,
            "processing_status": "ended",
            "request_counts": {**NONE, "succeeded": 3},
            "ended_at": at(BATCH_S),
            "results_url": f"{str(b.bench.http.base_url).rstrip('/')}/anthropic{BATCHES}/{made['id']}/results",
        }
        answer = await b.bench.http.get(ended["results_url"], headers={"anthropic-version": OLD_VERSION})
        lines = sorted(map(json.loads, answer.content.splitlines()), key=lambda line: str(line["custom_id"]))
        assert [(line["custom_id"], set(line)) for line in lines] == [
            (f"r-{n}", {"custom_id", "result"}) for n in range(3)
        ]
        message = lines[1]["result"]["message"]
        assert lines[1]["result"] == {"type": "succeeded", "message": message}
        assert message["content"][0]["text"].endswith("] question 1")
        assert (message["type"], message["usage"]["service_tier"]) == ("message", "batch")
        alone = await b.ask("question 1")
        assert alone["content"][0]["text"].endswith("] question 1")
        assert alone["usage"]["service_tier"] == "standard"


async def test_results_come_in_another_order_the_same_each_time() -> None:
    async with anthropic_bench() as b:
        made = await b.batch(several(20))
        await b.look(made["id"], after_s=BATCH_S)
        first, again = await b.results(made["id"]), await b.results(made["id"])
        assert first == again
        names = [line["custom_id"] for line in first]
        assert names != [f"r-{n}" for n in range(20)]
        assert sorted(names) == sorted(f"r-{n}" for n in range(20))


async def test_a_wrong_request_is_found_when_its_turn_comes() -> None:
    async with anthropic_bench() as b:
        wrong: list[dict[str, object]] = [
            asked("a-model", model="nope"),
            asked("b-field", color="red"),
            asked("c-stream", stream=True),
            asked("d-file", [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]),
            asked("e-good"),
            {"custom_id": "f-empty", "params": {}},
        ]
        ended, lines = await b.finished(wrong)
        assert ended["request_counts"] == {**NONE, "succeeded": 1, "errored": 5}
        errors = [line["result"].get("error") for line in lines]
        assert kinds(lines) == ["errored"] * 4 + ["succeeded", "errored"]
        assert errors[0] == {"type": "error", "error": {"type": "not_found_error", "message": "model: nope"}}
        assert [error and error["error"]["type"] for error in errors] == [
            "not_found_error",
            "invalid_request_error",
            "invalid_request_error",
            "not_found_error",
            None,
            "invalid_request_error",
        ]


async def test_requests_may_name_files_and_are_judged_by_the_version_of_their_creation() -> None:
    async with anthropic_bench() as b:
        file = await b.upload()
        document = [{"type": "document", "source": {"type": "file", "file_id": file["id"]}}]
        _, (read,) = await b.finished([asked("r-0", document)])
        assert read["result"]["message"]["content"][0]["text"].endswith("[document text/plain 10 bytes]")
        old = await b.ok("POST", BATCHES, json={"requests": [asked("r-0", temperature=0.5)]}, version=OLD_VERSION)
        new = await b.batch([asked("r-0", temperature=0.5)])
        await b.look(new["id"], after_s=BATCH_S)
        assert kinds(await b.results(old["id"])) == ["succeeded"]
        assert kinds(await b.results(new["id"])) == ["errored"]


@pytest.mark.parametrize(
    ("requests", "place"),
    [
        ([], "requests: "),
        ([asked("a"), asked("a")], "requests.1.custom_id: "),
        ([asked("a b")], "requests.0.custom_id: "),
        ([asked("")], "requests.0.custom_id: "),
        ([asked("a" * 65)], "requests.0.custom_id: "),
        ([{"custom_id": "a"}], "requests.0: "),
        ([{"custom_id": "a", "params": "text"}], "requests.0: "),
        ([{**asked("a"), "method": "POST"}], "requests.0: "),
        ([7], "requests.0: "),
        ("text", "The request body"),
    ],
)
async def test_what_is_no_batch_is_refused_and_not_bought(requests: object, place: str) -> None:
    async with anthropic_bench() as b:
        error = await b.error(400, "invalid_request_error", "POST", BATCHES, json={"requests": requests})
        assert error["message"].startswith(place)
        assert b.simulator.account.purchases() == []
        assert list(b.simulator.directory.joinpath("files").iterdir()) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"requests": [{]}', b"\xff"])
async def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    async with anthropic_bench() as b:
        await b.error(400, "invalid_request_error", "POST", BATCHES, content=body)


async def test_the_longest_ids_and_pretty_json_are_taken() -> None:
    async with anthropic_bench() as b:
        body = json.dumps({"requests": [asked("a-Z_9" + "x" * 59)]}, indent=2)
        made = await b.ok("POST", BATCHES, content=body.encode())
        await b.look(made["id"], after_s=BATCH_S)
        assert kinds(await b.results(made["id"])) == ["succeeded"]


async def test_more_requests_or_bytes_than_are_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with anthropic_bench() as b:
        many = b",".join(b'{"custom_id":"r-%d","params":{}}' % n for n in range(100_001))
        error = await b.error(400, "invalid_request_error", "POST", BATCHES, content=b'{"requests":[%b]}' % many)
        assert "100001" in error["message"]
        monkeypatch.setattr("perdure.adapters.simulator.anthropic.batches.MAX_BODY_BYTES", 1_000)
        await b.error(413, "request_too_large", "POST", BATCHES, content=b'{"requests":[' + b" " * 1_000)


async def test_the_list_is_newest_first_and_read_both_ways() -> None:
    async with anthropic_bench() as b:
        ids = [(await b.batch(several(1)))["id"] for _ in range(5)]
        ids.reverse()

        async def page(**query: object) -> Any:
            return await b.ok("GET", BATCHES, params=query)

        whole = await page()
        assert [batch["id"] for batch in whole["data"]] == ids
        assert (whole["has_more"], whole["first_id"], whole["last_id"]) == (False, ids[0], ids[-1])
        behind = await page(limit=2, after_id=ids[1])
        assert ([batch["id"] for batch in behind["data"]], behind["has_more"]) == (ids[2:4], True)
        before = await page(limit=2, before_id=ids[4])
        assert ([batch["id"] for batch in before["data"]], before["has_more"]) == (ids[2:4], True)
        assert await page(after_id=ids[-1]) == {"data": [], "has_more": False, "first_id": None, "last_id": None}
        b.simulator.clock.advance(BATCH_S)
        assert {batch["processing_status"] for batch in (await page())["data"]} == {"ended"}
        for query in ({"limit": 0}, {"limit": 1_001}, {"after_id": "msgbatch_1"}, {"before_id": "msgbatch_1"}):
            await b.error(400, "invalid_request_error", "GET", BATCHES, params=query)


async def test_a_batch_is_cancelled_and_keeps_what_was_done() -> None:
    async with anthropic_bench() as b:
        made = await b.batch(several(10))
        await b.look(made["id"], after_s=BATCH_S * 0.5)
        told = await b.ok("POST", f"{BATCHES}/{made['id']}/cancel")
        assert (told["processing_status"], told["cancel_initiated_at"]) == ("canceling", at(BATCH_S * 0.5))
        assert told["request_counts"] == {**NONE, "processing": 10}
        assert await b.ok("POST", f"{BATCHES}/{made['id']}/cancel") == told
        ended = await b.look(made["id"], after_s=BATCH_S * 0.1)
        assert (ended["processing_status"], ended["cancel_initiated_at"]) == ("ended", told["cancel_initiated_at"])
        assert ended["request_counts"] == {**NONE, "succeeded": 5, "canceled": 5}
        lines = sorted(await b.results(made["id"]), key=lambda line: str(line["custom_id"]))
        assert kinds(lines) == ["succeeded"] * 5 + ["canceled"] * 5
        assert lines[-1] == {"custom_id": "r-9", "result": {"type": "canceled"}}
        await b.error(400, "invalid_request_error", "POST", f"{BATCHES}/{made['id']}/cancel")


async def test_a_batch_that_takes_a_day_expires() -> None:
    async with anthropic_bench() as b:
        await b.bench.arm("stuck", done=0.3)
        made = await b.batch(several(10))
        assert (await b.look(made["id"], after_s=BATCH_S))["processing_status"] == "in_progress"
        ended = await b.look(made["id"], after_s=DAY_S)
        assert (ended["processing_status"], ended["ended_at"]) == ("ended", at(DAY_S))
        assert ended["request_counts"] == {**NONE, "succeeded": 3, "expired": 7}
        assert sorted(kinds(await b.results(made["id"]))) == ["expired"] * 7 + ["succeeded"] * 3


async def test_results_are_gone_after_29_days() -> None:
    async with anthropic_bench() as b:
        made = await b.batch(several(1))
        path = f"{BATCHES}/{made['id']}/results"
        await b.error(400, "invalid_request_error", "GET", path)
        assert (await b.look(made["id"], after_s=29 * DAY_S - 1))["results_url"]
        archived = await b.look(made["id"], after_s=1)
        assert (archived["archived_at"], archived["results_url"]) == (at(29 * DAY_S), None)
        await b.error(404, "not_found_error", "GET", path)


async def test_only_a_batch_that_has_ended_is_deleted() -> None:
    async with anthropic_bench() as b:
        made = await b.batch(several(1))
        path = f"{BATCHES}/{made['id']}"
        await b.error(400, "invalid_request_error", "DELETE", path)
        await b.look(made["id"], after_s=BATCH_S)
        assert await b.ok("DELETE", path) == {"id": made["id"], "type": "message_batch_deleted"}
        for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/results")):
            await b.error(404, "not_found_error", method, path + rest)
        assert (await b.ok("GET", BATCHES))["data"] == []
        assert list(b.simulator.directory.joinpath("files").iterdir()) == []


async def test_the_account_shows_what_was_bought_twice() -> None:
    async with anthropic_bench() as b:
        b.simulator.faults.arm(ActThenDrop(route=f"POST /anthropic{BATCHES}"))
        with pytest.raises(Exception, match="disconnected"):
            await b.batch(several(3))
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.provider, purchase.kind, purchase.units) == ("anthropic", "batch", 3)
        assert (purchase.identity, b.simulator.account.bought_twice()) == ("r-0..r-2", [])
        await b.batch([asked("r-0")])
        assert b.simulator.account.bought_twice() == []
        await b.batch(several(3))
        assert len(b.simulator.account.bought_twice()) == 2


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(("fault", "kind"), [("expire_now", "expired"), ("cancelled", "canceled")])
@pytest.mark.parametrize("exists", [True, False])
async def test_a_batch_can_be_ended_early(fault: str, kind: str, exists: bool) -> None:
    async with anthropic_bench() as b:
        if not exists:
            await b.bench.arm(fault)
        made = await b.batch(several(10))
        await b.look(made["id"], after_s=BATCH_S * 0.5)
        if exists:
            await b.bench.arm(fault, batch=made["id"], done=0.4)
        ended = await b.look(made["id"], after_s=BATCH_S * 0.1)
        done = 4 if exists else 5
        assert ended["request_counts"] == {**NONE, "succeeded": done, kind: 10 - done}
        assert (ended["cancel_initiated_at"] is not None) is (fault == "cancelled")


async def test_requests_can_fail() -> None:
    async with anthropic_bench() as b:
        await b.bench.arm("fail_lines", lines=2, status=529)
        ended, lines = await b.finished(several(5))
        assert ended["request_counts"] == {**NONE, "succeeded": 3, "errored": 2}
        types = [line["result"]["error"]["error"]["type"] for line in lines if line["result"]["type"] == "errored"]
        assert types == ["overloaded_error"] * 2
        await b.bench.arm("only_error_file")
        assert (await b.finished(several(3)))[0]["request_counts"] == {**NONE, "errored": 3}
        await b.bench.arm("fail_validation", code="spend_limit", message="too much")
        ended, lines = await b.finished(several(2))
        assert ended["processing_status"] == "ended"
        assert ended["request_counts"] == {**NONE, "errored": 2}
        assert lines[0]["result"]["error"]["error"] == {
            "type": "invalid_request_error",
            "message": "too much",
            "details": {"error_code": "spend_limit"},
        }


async def test_results_can_be_missing_double_foreign_and_garbled() -> None:
    async with anthropic_bench() as b:
        await b.bench.arm("missing", lines=2)
        ended, lines = await b.finished(several(5))
        assert (ended["request_counts"]["succeeded"], len(lines)) == (5, 3)
        await b.bench.arm("missing", lines=5)
        assert (await b.finished(several(5)))[1] == []
        await b.bench.arm("duplicate", lines=2)
        ended, lines = await b.finished(several(5))
        assert (ended["request_counts"]["succeeded"], len(lines)) == (5, 7)
        assert len({line["result"]["message"]["id"] for line in lines}) == 7
        assert len({line["result"]["message"]["content"][0]["text"] for line in lines}) == 7
        await b.bench.arm("extra", lines=2)
        _, lines = await b.finished(several(1))
        assert [line["custom_id"] for line in lines] == ["extra-1", "extra-2", "r-0"]
        await b.bench.arm("garbled")
        made = await b.batch(several(3))
        await b.look(made["id"], after_s=BATCH_S)
        content = (await b.call("GET", f"{BATCHES}/{made['id']}/results")).content.splitlines()
        assert [line.endswith(b"}") for line in content].count(False) == 1


async def test_results_can_be_nowhere() -> None:
    async with anthropic_bench() as b:
        await b.bench.arm("completed_without_file")
        await b.bench.arm("empty_ids")
        made = await b.batch(several(2))
        assert made["results_url"] == ""
        ended = await b.look(made["id"], after_s=BATCH_S)
        assert (ended["processing_status"], ended["results_url"]) == ("ended", "")
        await b.error(404, "not_found_error", "GET", f"{BATCHES}/{made['id']}/results")


async def test_a_batch_can_be_unseen_or_unlisted_at_first() -> None:
    async with anthropic_bench() as b:
        await b.bench.arm("unseen", for_s=5)
        made = await b.batch(several(1))
        path = f"{BATCHES}/{made['id']}"
        for method, rest in (("GET", ""), ("POST", "/cancel"), ("GET", "/results")):
            await b.error(404, "not_found_error", method, path + rest)
        assert [batch["id"] for batch in (await b.ok("GET", BATCHES))["data"]] == [made["id"]]
        assert await b.look(made["id"], after_s=5) == made
        await b.bench.arm("unlisted", for_s=5)
        late = await b.batch(several(1))
        assert len((await b.ok("GET", BATCHES))["data"]) == 1
        await b.look(late["id"], after_s=5)
        assert len((await b.ok("GET", BATCHES))["data"]) == 2
        for fault in ("unseen", "unlisted"):
            answer = await b.bench.http.post("/_sim/faults", json={"fault": fault, "for_s": 5, "batch": late["id"]})
            assert answer.status_code == 400


async def test_a_batch_that_has_ended_cannot_be_struck() -> None:
    async with anthropic_bench() as b:
        ended, _ = await b.finished(several(1))
        answer = await b.bench.http.post("/_sim/faults", json={"fault": "stuck", "batch": ended["id"]})
        assert "has ended" in answer.json()["error"]["message"]
        working = await b.batch(several(1))
        await b.look(working["id"], after_s=BATCH_S * 0.5)
        answer = await b.bench.http.post("/_sim/faults", json={"fault": "fail_validation", "batch": working["id"]})
        assert "is being worked on" in answer.json()["error"]["message"]


async def test_batches_and_results_outlive_the_simulator(tmp_path: Path) -> None:
    async with anthropic_bench(data=tmp_path) as b:
        done, lines = await b.finished(several(2))
        working = await b.batch(several(3))
    async with anthropic_bench(data=tmp_path) as b:
        again = await b.look(done["id"], after_s=BATCH_S)
        assert again == done | {"results_url": again["results_url"]}
        assert sorted(await b.results(done["id"]), key=lambda line: str(line["custom_id"])) == lines
        ended = await b.look(working["id"], after_s=2 * BATCH_S)
        assert ended["request_counts"] == {**NONE, "succeeded": 3}


async def test_a_batch_that_takes_no_time_has_ended_when_it_is_looked_at() -> None:
    async with anthropic_bench(batch_s=0.0) as b:
        made = await b.batch(several(1))
        assert made["processing_status"] == "in_progress"
        assert kinds(await b.results(made["id"])) == ["succeeded"]
