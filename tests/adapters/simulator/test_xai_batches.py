"""xAI's batch routes: how a batch stands, its results page by page, what is wrong with its input, and its faults."""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from perdure.adapters.simulator import XAI_PREFIX
from tests.adapters.simulator.bench import BATCH_S, T0, Bench, bench, jsonl, prompts

pytestmark = pytest.mark.trio

DAY_S = 86_400
CHAT = "/v1/chat/completions"


async def ok(b: Bench, method: str, path: str, **options: Any) -> Any:
    answer = await b.http.request(method, XAI_PREFIX + path, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-trace-id"]
    return answer.json()


async def refused(b: Bench, status: int, method: str, path: str, **options: Any) -> str:
    answer = await b.http.request(method, XAI_PREFIX + path, **options)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "error"}
    return str(answer.json()["error"])


async def upload(b: Bench, data: bytes) -> str:
    return str((await ok(b, "POST", "/files", files={"file": ("in.jsonl", data)}))["id"])


async def make(b: Bench, data: bytes, name: str = "log-1") -> Any:
    return await ok(b, "POST", "/batches", json={"name": name, "input_file_id": await upload(b, data)})


async def look(b: Bench, id_: str, *, after_s: float = 0.0) -> Any:
    b.simulator.clock.advance(after_s)
    return await ok(b, "GET", f"/batches/{id_}")


async def results(b: Bench, id_: str, *, limit: int = 1_000) -> list[Any]:
    found: list[Any] = []
    query: dict[str, str] = {"limit": str(limit)}
    while True:
        page = await ok(b, "GET", f"/batches/{id_}/results", params=query)
        assert len(page["results"]) <= limit
        found += page["results"]
        if not page["pagination_token"]:
            return found
        query["pagination_token"] = page["pagination_token"]


async def finished(b: Bench, data: bytes) -> tuple[Any, list[Any]]:
    made = await make(b, data)
    return await look(b, made["batch_id"], after_s=BATCH_S), await results(b, made["batch_id"])


def counts(batch: Any) -> list[int]:
    """Requests, pending, successes, errors, cancelled."""
    state = batch["state"]
    return [state[f"num_{name}"] for name in ("requests", "pending", "success", "error", "cancelled")]


def ids(lines: Sequence[Any]) -> list[str]:
    return [line["batch_request_id"] for line in lines]


async def test_a_sealed_batch_has_no_status_and_shows_no_requests_until_its_file_was_read() -> None:
    async with bench() as b:
        made = await make(b, prompts(10))
        assert made == {
            "batch_id": made["batch_id"],
            "name": "log-1",
            "create_time": "2026-11-18T11:06:40.000000Z",
            "expire_time": "2026-11-19T11:06:40.000000Z",
            "cancel_time": None,
            "cancel_by_xai_message": None,
            "state": {"num_requests": 0, "num_pending": 0, "num_success": 0, "num_error": 0, "num_cancelled": 0},
            "cost_breakdown": {"total_cost_usd_ticks": 0},
        }
        working = await look(b, made["batch_id"], after_s=50)
        assert counts(working) == [10, 5, 5, 0, 0]
        assert counts(await look(b, made["batch_id"], after_s=45)) == [10, 1, 9, 0, 0], "not before there are results"
        assert await results(b, made["batch_id"]) == []
        done = await look(b, made["batch_id"], after_s=5)
        assert counts(done) == [10, 0, 10, 0, 0]
        lines = await results(b, made["batch_id"], limit=3)
        assert ids(lines) == [f"r{n}" for n in range(10)]
        ticks = [
            line["batch_result"]["response"]["chat_get_completion"]["usage"]["cost_in_usd_ticks"] for line in lines
        ]
        assert sum(ticks) == done["cost_breakdown"]["total_cost_usd_ticks"] > 0


async def test_text_comes_in_the_form_of_chat_completions_whatever_was_asked() -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    mixed = prompts(1) + jsonl([chat], url=CHAT, prefix="c")
    async with bench() as b:
        _, lines = await finished(b, mixed)
        assert ids(lines) == ["r0", "c0"]
        for line, said in zip(lines, ("prompt 0", "hello"), strict=True):
            assert set(line) == {"batch_request_id", "batch_result", "error_message"}
            assert line["batch_result"]["error"] == {"code": 0, "message": ""}
            body = line["batch_result"]["response"]["chat_get_completion"]
            assert (body["object"], line["error_message"]) == ("chat.completion", "")
            assert body["choices"][0]["message"]["content"].endswith(f"] {said}")


async def test_a_request_that_fails_says_so_in_its_own_result() -> None:
    bodies = [{"model": "nope" if n == 1 else "m", "input": "x"} for n in range(3)]
    async with bench() as b:
        batch, lines = await finished(b, jsonl(bodies))
        assert counts(batch) == [3, 0, 2, 1, 0]
        failed = lines[1]
        assert failed["batch_result"]["error"]["code"] == 5
        assert "response" not in failed["batch_result"]
        assert failed["error_message"] == failed["batch_result"]["error"]["message"] != ""


async def test_a_batch_is_bought_once_under_its_name() -> None:
    async with bench() as b:
        file = await upload(b, prompts(3))
        first, second = [
            await ok(b, "POST", "/batches", json={"name": name, "input_file_id": file}) for name in ("log-1", "log-2")
        ]
        one, two = b.simulator.account.purchases(kind="batch")
        assert (one.provider, one.id, one.identity, one.units) == ("xai", first["batch_id"], "log-1", 3)
        assert (two.id, two.identity) == (second["batch_id"], "log-2")
        assert b.simulator.account.bought_twice() == [f"batch payload={one.payload}"]


def added(*names: str, variant: str = "responses", text: str = "hello") -> Any:
    body = {"model": "m", "input": text} if variant == "responses" else {"model": "m", "messages": [{"content": text}]}
    return {"batch_requests": [{"batch_request_id": name, "batch_request": {variant: body}} for name in names]}


async def test_an_unsealed_batch_without_requests_waits_for_some() -> None:
    async with bench() as b:
        id_ = (await ok(b, "POST", "/batches", json={"name": "log-1"}))["batch_id"]
        empty = await look(b, id_, after_s=10 * BATCH_S)
        assert (counts(empty), empty["cancel_time"]) == ([0, 0, 0, 0, 0], None)
        assert b.simulator.account.purchases() == []
        await ok(b, "POST", f"/batches/{id_}/requests", json=added("a", "b"))
        await ok(b, "POST", f"/batches/{id_}/requests", json=added("c", variant="chat_get_completion"))
        assert counts(await look(b, id_)) == [3, 3, 0, 0, 0]
        assert counts(await look(b, id_, after_s=BATCH_S)) == [3, 0, 3, 0, 0]
        lines = await results(b, id_)
        assert ids(lines) == ["a", "b", "c"]
        assert "takes no more" in await refused(b, 400, "POST", f"/batches/{id_}/requests", json=added("d"))
        bought = b.simulator.account.purchases()
        assert [(purchase.identity, purchase.units) for purchase in bought] == [
            ("log-1/a", 1),
            ("log-1/b", 1),
            ("log-1/c", 1),
        ]


async def test_requests_that_are_added_twice_show_on_the_account() -> None:
    async with bench() as b:
        for _ in range(2):
            id_ = (await ok(b, "POST", "/batches", json={"name": "log-1"}))["batch_id"]
            await ok(b, "POST", f"/batches/{id_}/requests", json=added("a"))
        assert len(b.simulator.account.bought_twice()) == 2


async def test_an_empty_batch_expires() -> None:
    async with bench() as b:
        id_ = (await ok(b, "POST", "/batches", json={"name": "log-1"}))["batch_id"]
        await look(b, id_, after_s=DAY_S)
        assert "takes no more" in await refused(b, 400, "POST", f"/batches/{id_}/requests", json=added("a"))


def adding(**fields: object) -> Any:
    return {"batch_requests": [fields]}


NO_BODY: dict[str, object] = {}
WRONG_ADDITIONS: dict[str, Any] = {
    "twice": added("a", "a"),
    "no variant": adding(batch_request_id="a", batch_request=NO_BODY),
    "two variants": adding(batch_request_id="a", batch_request={"responses": NO_BODY, "chat_get_completion": NO_BODY}),
    "an unknown variant": adding(batch_request_id="a", batch_request={"embeddings": NO_BODY}),
    "no id": adding(batch_request={"responses": NO_BODY}),
    "an unknown field": {"requests": [NO_BODY]},
}


@pytest.mark.parametrize("body", WRONG_ADDITIONS.values(), ids=WRONG_ADDITIONS)
async def test_wrong_additions_are_refused_and_not_bought(body: object) -> None:
    async with bench() as b:
        id_ = (await ok(b, "POST", "/batches", json={"name": "log-1"}))["batch_id"]
        await refused(b, 400, "POST", f"/batches/{id_}/requests", json=body)
        assert counts(await look(b, id_)) == [0, 0, 0, 0, 0]
        assert b.simulator.account.purchases() == []


async def test_a_sealed_batch_takes_no_more_requests() -> None:
    async with bench() as b:
        made = await make(b, prompts(1))
        await refused(b, 400, "POST", f"/batches/{made['batch_id']}/requests", json=added("a"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no lines"),
        (prompts(1) + b"{nonsense\n", "Line 2 cannot be read"),
        (prompts(1) + prompts(1), "Line 2: 'r0' was used before"),
        (jsonl([{"model": "m"}], url="/v1/embeddings"), "no endpoint '/v1/embeddings'"),
        (jsonl([{"model": "m"}], url="/v1/images/generations"), "plays no batches"),
        (b'{"custom_id":"a","method":"GET","url":"/v1/responses","body":{}}\n', "Line 1 cannot be read"),
    ],
    ids=["empty", "no JSON", "twice", "endpoint", "not played", "method"],
)
async def test_wrong_input_is_refused_and_not_bought(data: bytes, said: str) -> None:
    async with bench() as b:
        file = await upload(b, data)
        assert said in await refused(b, 400, "POST", "/batches", json={"name": "log-1", "input_file_id": file})
        assert b.simulator.account.purchases(kind="batch") == []


async def test_a_wrong_batch_is_refused() -> None:
    async with bench() as b:
        await refused(b, 400, "POST", "/batches", json={"input_file_id": "file_unknown"})
        await refused(b, 400, "POST", "/batches", json={"name": "a", "input_file_id": "file_unknown"})
        await refused(b, 400, "POST", "/batches", json={"name": "a", "priority": 1})
        for method, path in (("GET", ""), ("POST", ":cancel"), ("GET", "/results"), ("POST", "/requests")):
            body = added("a") if path == "/requests" else None
            await refused(b, 404, method, f"/batches/batch_unknown{path}", json=body)


async def test_deleting_the_file_does_not_pull_it_away_from_its_batch() -> None:
    async with bench() as b:
        file = await upload(b, prompts(2))
        made = await ok(b, "POST", "/batches", json={"name": "log-1", "input_file_id": file})
        await ok(b, "DELETE", f"/files/{file}")
        assert counts(await look(b, made["batch_id"], after_s=BATCH_S)) == [2, 0, 2, 0, 0]


async def test_the_list_is_paged_by_token() -> None:
    async with bench() as b:
        names = [(await make(b, prompts(1), f"log-{n}"))["batch_id"] for n in range(5)][::-1]
        seen: list[str] = []
        query = {"limit": "2"}
        while True:
            page = await ok(b, "GET", "/batches", params=query)
            assert set(page) == {"batches", "pagination_token"}
            seen += [batch["batch_id"] for batch in page["batches"]]
            if page["pagination_token"] is None:
                break
            query["pagination_token"] = page["pagination_token"]
        assert seen == names
        b.simulator.clock.advance(BATCH_S)
        assert {batch["state"]["num_success"] for batch in (await ok(b, "GET", "/batches"))["batches"]} == {1}
        for wrong in ({"limit": "0"}, {"limit": "101"}, {"pagination_token": "batch_unknown"}):
            await refused(b, 400, "GET", "/batches", params=wrong)


@pytest.mark.parametrize("wrong", [{"limit": "0"}, {"limit": "1001"}, {"pagination_token": "x"}], ids=str)
async def test_a_wrong_page_of_results_is_refused(wrong: dict[str, str]) -> None:
    async with bench() as b:
        made = await make(b, prompts(1))
        await refused(b, 400, "GET", f"/batches/{made['batch_id']}/results", params=wrong)


async def test_a_cancelled_batch_hands_out_what_was_done() -> None:
    async with bench() as b:
        made = await make(b, prompts(10))
        b.simulator.clock.advance(50)
        cancelling = await ok(b, "POST", f"/batches/{made['batch_id']}:cancel")
        assert (cancelling["cancel_time"], counts(cancelling)) == ("2026-11-18T11:07:30.000000Z", [10, 5, 5, 0, 0])
        assert cancelling["cancel_by_xai_message"] is None
        await ok(b, "POST", f"/batches/{made['batch_id']}:cancel")
        assert counts(await look(b, made["batch_id"], after_s=10)) == [10, 0, 5, 0, 5]
        assert ids(await results(b, made["batch_id"])) == [f"r{n}" for n in range(5)]
        assert "has ended" in await refused(b, 400, "POST", f"/batches/{made['batch_id']}:cancel")


async def test_a_batch_that_expired_has_what_was_not_done_pending_for_ever() -> None:
    async with bench() as b:
        await b.arm("stuck", done=0.3)
        made = await make(b, prompts(10))
        assert counts(await look(b, made["batch_id"], after_s=BATCH_S)) == [10, 7, 3, 0, 0]
        answer = await b.http.get(f"{XAI_PREFIX}/batches/{made['batch_id']}")
        assert parsedate_to_datetime(answer.headers["date"]).timestamp() == T0 + BATCH_S
        assert counts(await look(b, made["batch_id"], after_s=DAY_S)) == [10, 7, 3, 0, 0]
        assert len(await results(b, made["batch_id"])) == 3


@pytest.mark.parametrize("exists", [True, False], ids=["one that exists", "the next one"])
@pytest.mark.parametrize(("fault", "counted"), [("expire_now", [10, 6, 4, 0, 0]), ("cancelled", [10, 0, 4, 0, 6])])
async def test_a_batch_can_be_ended(fault: str, counted: list[int], exists: bool) -> None:
    async with bench() as b:
        if not exists:
            await b.arm(fault, done=0.4)
        made = await make(b, prompts(10))
        if exists:
            await look(b, made["batch_id"], after_s=50)
            await b.arm(fault, batch=made["batch_id"], done=0.4)
        ended = await look(b, made["batch_id"], after_s=10 if exists else 60)
        assert counts(ended) == counted
        if fault == "expire_now":
            assert ended["expire_time"] == "2026-11-18T11:07:30.000000Z"
        else:
            assert ended["cancel_time"] == "2026-11-18T11:07:30.000000Z"
        assert len(await results(b, made["batch_id"])) == 4


async def test_input_that_fails_later_fails_every_request() -> None:
    async with bench() as b:
        await b.arm("fail_validation", code="token_limit_exceeded", message="too much")
        batch, lines = await finished(b, prompts(3))
        assert counts(batch) == [3, 0, 0, 3, 0]
        assert {line["error_message"] for line in lines} == {"token_limit_exceeded: too much"}


@pytest.mark.parametrize(
    ("fault", "fields", "counted", "lines"),
    [
        ("fail_lines", {"lines": 2, "status": 503}, [5, 0, 3, 2, 0], 5),
        ("only_error_file", {}, [5, 0, 0, 5, 0], 5),
        ("completed_without_file", {}, [5, 0, 5, 0, 0], 0),
        ("missing", {"lines": 2}, [5, 0, 5, 0, 0], 3),
        ("duplicate", {"lines": 2}, [5, 0, 5, 0, 0], 7),
        ("extra", {"lines": 2}, [5, 0, 5, 0, 0], 7),
    ],
)
async def test_results_can_be_spoilt(fault: str, fields: dict[str, object], counted: list[int], lines: int) -> None:
    async with bench() as b:
        await b.arm(fault, **fields)
        batch, found = await finished(b, prompts(5))
        assert (counts(batch), len(found)) == (counted, lines)
        assert len([line for line in found if "response" not in line["batch_result"]]) == counted[3]


async def test_results_can_be_shuffled_garbled_and_end_without_a_null() -> None:
    async with bench() as b:
        for fault in ("shuffled", "garbled", "empty_ids"):
            await b.arm(fault)
        batch, found = await finished(b, prompts(20))
        assert len([line for line in found if isinstance(line["batch_result"], str)]) == 1
        good = [line["batch_request_id"] for line in found if isinstance(line["batch_request_id"], str)]
        assert len(good) == 19
        assert good != sorted(good, key=lambda name: int(name[1:]))
        page = await ok(b, "GET", f"/batches/{batch['batch_id']}/results")
        assert (page["pagination_token"], batch["cancel_time"]) == ("", "")


async def test_a_batch_that_is_unlisted_can_be_read_by_id() -> None:
    async with bench() as b:
        await b.arm("unlisted", for_s=5)
        made = await make(b, prompts(1))
        assert (await ok(b, "GET", "/batches"))["batches"] == []
        await look(b, made["batch_id"], after_s=5)
        assert len((await ok(b, "GET", "/batches"))["batches"]) == 1


async def test_a_create_that_was_dropped_was_bought() -> None:
    async with bench() as b:
        file = await upload(b, prompts(2))
        await b.arm("act_then_drop", route="POST /xai/v1/batches")
        with pytest.raises(httpx.TransportError):
            await ok(b, "POST", "/batches", json={"name": "log-1", "input_file_id": file})
        (found,) = (await ok(b, "GET", "/batches"))["batches"]
        assert found["name"] == "log-1"
        assert b.units("batch") == [2]


async def test_batches_are_there_after_a_restart(tmp_path: Path) -> None:
    async with bench(data=tmp_path) as b:
        made = await make(b, prompts(3))
        unsealed = (await ok(b, "POST", "/batches", json={"name": "log-2"}))["batch_id"]
        await ok(b, "POST", f"/batches/{unsealed}/requests", json=added("a"))
    async with bench(data=tmp_path) as b:
        assert counts(await look(b, made["batch_id"], after_s=BATCH_S)) == [3, 0, 3, 0, 0]
        assert ids(await results(b, made["batch_id"])) == ["r0", "r1", "r2"]
        assert ids(await results(b, unsealed)) == ["a"]
    async with bench(data=tmp_path) as b:
        assert ids(await results(b, made["batch_id"])) == ["r0", "r1", "r2"]


async def test_the_seed_decides_every_result() -> None:
    async def play(seed: int) -> object:
        async with bench(seed=seed) as b:
            return (await finished(b, prompts(3)))[1]

    assert await play(1) == await play(1) != await play(2)


async def test_fifty_thousand_requests_are_read_page_by_page() -> None:
    async with bench() as b:
        made = await make(b, prompts(50_000))
        assert counts(await look(b, made["batch_id"], after_s=BATCH_S)) == [50_000, 0, 50_000, 0, 0]
        page = await ok(b, "GET", f"/batches/{made['batch_id']}/results")
        assert len(page["results"]) == 1_000
        assert len(json.dumps(page)) < 1_000_000
