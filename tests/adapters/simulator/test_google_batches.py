"""Google's simulated batches: what is asked and answered, and each fault that a batch can meet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import json

from perdure.adapters.simulator import GOOGLE_PREFIX
from perdure.adapters.simulator.google.batches import MAX_CALL_BYTES
from tests.adapters.simulator.google_bench import GoogleBench, google_bench

pytestmark = pytest.mark.trio

CREATE = "/v1/models/gemini-x:batchGenerateContent"
BATCH_S = 100.0
DAY_S = 86_400


def request(text: str) -> dict[str, Any]:
    """A request of `:generateContent`."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def inline(*texts: str, name: str = "job") -> dict[str, Any]:
    """The body of a call with a request for each text; their keys are `k0`, `k1` and so on."""
    requests = [{"request": request(text), "metadata": {"key": f"k{n}"}} for n, text in enumerate(texts)]
    return {"batch": {"displayName": name, "inputConfig": {"requests": {"requests": requests}}}}


def words(count: int) -> list[str]:
    """Some prompts."""
    return [f"word {n}" for n in range(count)]


def lines(texts: Sequence[str]) -> bytes:
    """An input file."""
    return b"".join(json.encode({"key": f"k{n}", "request": request(text)}) + b"\n" for n, text in enumerate(texts))


async def arm(bench: GoogleBench, fault: str, **fields: object) -> None:
    answer = await bench.http.post("/_sim/faults", json={"fault": fault, **fields})
    assert answer.status_code == 200, answer.text


async def over_file(bench: GoogleBench, data: bytes, mime_type: str = "application/jsonl") -> Any:
    """A batch over an input file."""
    file = await bench.upload(data, mime_type)
    body = {"batch": {"displayName": "job", "inputConfig": {"fileName": file["name"]}}}
    return await bench.ok("POST", CREATE, json=body)


async def look(bench: GoogleBench, made: Any, *, after_s: float = BATCH_S) -> Any:
    """The batch some time later."""
    bench.simulator.clock.advance(after_s)
    return await bench.ok("GET", f"/v1/{made['name']}")


async def read(bench: GoogleBench, ended: Any) -> list[Any]:
    """The responses of a batch that ended."""
    output = ended["metadata"].get("output", {})
    if "responsesFile" not in output:
        return list(output.get("inlinedResponses", {}).get("inlinedResponses", []))
    answer = await bench.call("GET", f"/download/v1/{output['responsesFile']}:download", params={"alt": "media"})
    assert answer.status_code == 200
    return [json.decode(line) for line in answer.content.splitlines()]


def key(item: Any) -> str:
    """The key of a response."""
    return str(item["metadata"]["key"] if "metadata" in item else item["key"])


async def test_a_batch_in_the_call_goes_through_its_states_and_answers_in_place() -> None:
    async with google_bench(batch_s=BATCH_S) as b:
        made = await b.ok("POST", CREATE, json=inline("one", "two"))
        assert set(made) == {"name", "metadata", "done"}
        assert made["done"] is False
        metadata = made["metadata"]
        assert metadata["@type"].endswith("GenerateContentBatch")
        assert (metadata["model"], metadata["displayName"]) == ("models/gemini-x", "job")
        assert metadata["state"] == "BATCH_STATE_PENDING"
        assert metadata["batchStats"] == {"requestCount": "2", "pendingRequestCount": "2"}
        running = await look(b, made, after_s=60)
        assert running["metadata"]["state"] == "BATCH_STATE_RUNNING"
        assert running["metadata"]["batchStats"]["successfulRequestCount"] == "1"
        assert "output" not in running["metadata"]
        ended = await look(b, made, after_s=40)
        assert (ended["done"], ended["metadata"]["state"]) == (True, "BATCH_STATE_SUCCEEDED")
        assert ended["metadata"]["batchStats"] == {"requestCount": "2", "successfulRequestCount": "2"}
        assert ended["metadata"]["endTime"].endswith("Z")
        assert ended["response"]["inlinedResponses"] == ended["metadata"]["output"]["inlinedResponses"]
        items = await read(b, ended)
        assert [item["metadata"] for item in items] == [{"key": "k0"}, {"key": "k1"}]
        texts = [item["response"]["candidates"][0]["content"]["parts"][0]["text"] for item in items]
        assert [text.partition("] ")[2] for text in texts] == ["one", "two"]
        assert all("usageMetadata" in item["response"] for item in items)


async def test_a_batch_over_a_file_answers_in_a_file_that_lives_48_hours() -> None:
    async with google_bench(batch_s=BATCH_S) as b:
        file = await b.upload(lines(words(3)), "application/jsonl")
        body = {"batch": {"displayName": "job", "inputConfig": {"fileName": file["name"]}}}
        made = await b.ok("POST", CREATE, json=body)
        assert made["metadata"]["batchStats"] == {}
        await b.ok("DELETE", f"/v1/{file['name']}")
        ended = await look(b, made)
        assert ended["metadata"]["output"] == {"responsesFile": ended["response"]["responsesFile"]}
        assert [key(item) for item in await read(b, ended)] == ["k0", "k1", "k2"]
        name = ended["metadata"]["output"]["responsesFile"]
        shown = await b.ok("GET", f"/v1/{name}")
        assert (shown["source"], shown["state"]) == ("GENERATED", "ACTIVE")
        content = (await b.call("GET", shown["downloadUri"])).content
        assert len(content) == int(shown["sizeBytes"])
        part = await b.call("GET", f"/v1/{name}:download?alt=media", headers={"range": "bytes=10-"})
        assert (part.status_code, part.content) == (206, content[10:])
        await b.error(400, "INVALID_ARGUMENT", "GET", f"/v1/{name}:download")
        b.simulator.clock.advance(2 * DAY_S)
        await b.error(403, "PERMISSION_DENIED", "GET", f"/v1/{name}:download?alt=media")


async def test_what_was_uploaded_cannot_be_downloaded() -> None:
    async with google_bench() as b:
        file = await b.upload(b"x")
        await b.error(400, "INVALID_ARGUMENT", "GET", f"/v1/{file['name']}:download?alt=media")


async def test_names_may_be_in_snake_case_and_metadata_come_back_whole() -> None:
    async with google_bench(batch_s=0.0) as b:
        requests = [{"request": request("x"), "metadata": {"key": "a", "more": "b"}}, {"request": request("y")}]
        body = {"batch": {"display_name": "s", "input_config": {"requests": {"requests": requests}}}}
        made = await b.ok("POST", CREATE, json=body)
        assert made["metadata"]["displayName"] == "s"
        first, second = await read(b, await look(b, made))
        assert first["metadata"] == {"key": "a", "more": "b"}
        assert "metadata" not in second


SENSELESS: list[tuple[object, str]] = [
    ({}, "requests or a file"),
    ({"batch": {"displayName": "x"}}, "requests or a file"),
    ({"batch": {"inputConfig": {"requests": {"requests": []}}}}, "requests or a file"),
    ({"batch": {"inputConfig": {"fileName": "files/a", "requests": {"requests": [{"request": {}}]}}}}, "or a file"),
    ({"batch": {"inputConfig": {"requests": {"requests": [{"key": "a"}]}}}}, "Invalid JSON payload"),
    ({"batch": {"inputConfig": {"requests": {"requests": [{"request": 7}]}}}}, "has a 'request'"),
    ({"batch": {"inputConfig": []}}, "Invalid JSON payload"),
    (inline("x", name="n" * 513), "512 characters"),
]


@pytest.mark.parametrize(("body", "says"), SENSELESS)
async def test_a_call_that_makes_no_sense_is_refused(body: object, says: str) -> None:
    async with google_bench() as b:
        error = await b.error(400, "INVALID_ARGUMENT", "POST", CREATE, json=body)
        assert says in error["message"]
        assert b.simulator.account.purchases() == []


async def test_a_call_of_more_than_20_mb_is_refused() -> None:
    async with google_bench() as b:
        error = await b.error(400, "INVALID_ARGUMENT", "POST", CREATE, json=inline("x" * MAX_CALL_BYTES))
        assert "payload size exceeds the limit" in error["message"]


async def test_the_input_file_must_be_there_and_be_ready() -> None:
    async with google_bench() as b:
        body = {"batch": {"inputConfig": {"fileName": "files/nowhere"}}}
        await b.error(403, "PERMISSION_DENIED", "POST", CREATE, json=body)
        file = await b.upload(lines(words(1)), "video/mp4")
        body = {"batch": {"inputConfig": {"fileName": file["name"]}}}
        await b.error(400, "FAILED_PRECONDITION", "POST", CREATE, json=body)
        await b.error(404, "NOT_FOUND", "POST", "/v1/models/nope:batchGenerateContent", json=inline("x"))
        await b.error(404, "NOT_FOUND", "GET", "/v1/batches/nowhere")
        await b.error(404, "NOT_FOUND", "POST", "/v1/batches/nowhere:cancel")
        await b.error(404, "NOT_FOUND", "DELETE", "/v1/batches/nowhere")


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"", "no lines"), (b'{"key":"a","request":{}}\nnonsense\n', "Line 2"), (b'{"key":"a"}\n', "Line 1")],
)
async def test_an_input_file_that_cannot_be_read_fails_the_batch(data: bytes, says: str) -> None:
    async with google_bench(batch_s=BATCH_S) as b:
        ended = await look(b, await over_file(b, data))
        assert (ended["done"], ended["metadata"]["state"]) == (True, "BATCH_STATE_FAILED")
        assert ended["error"]["code"] == 3
        assert says in ended["error"]["message"]
        assert "response" not in ended
        assert "output" not in ended["metadata"]


async def test_requests_fail_alone() -> None:
    async with google_bench(batch_s=0.0) as b:
        requests = [
            {"request": request("fine"), "metadata": {"key": "a"}},
            {"request": {}, "metadata": {"key": "b"}},
            {"request": {"contents": [{"parts": [{"fileData": {"fileUri": "files/no"}}]}]}, "metadata": {"key": "c"}},
            {"request": request("!block this"), "metadata": {"key": "d"}},
        ]
        made = await b.ok("POST", CREATE, json={"batch": {"inputConfig": {"requests": {"requests": requests}}}})
        ended = await look(b, made)
        assert ended["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
        assert ended["metadata"]["batchStats"]["failedRequestCount"] == "2"
        fine, empty, lost, blocked = await read(b, ended)
        assert "response" in fine
        assert (empty["error"]["code"], lost["error"]["code"]) == (3, 7)
        assert blocked["response"]["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"


async def test_batches_are_listed_newest_first_over_pages_and_deleted() -> None:
    async with google_bench(batch_s=0.0) as b:
        assert await b.ok("GET", "/v1/batches") == {}
        made = [await b.ok("POST", CREATE, json=inline("x", name=f"n{n}")) for n in range(5)]
        names: list[str] = []
        page = await b.ok("GET", "/v1/batches?pageSize=2")
        while True:
            names += [one["metadata"]["displayName"] for one in page["operations"]]
            assert all(one["metadata"]["state"] == "BATCH_STATE_SUCCEEDED" for one in page["operations"])
            if "nextPageToken" not in page:
                break
            page = await b.ok("GET", f"/v1/batches?pageSize=2&pageToken={page['nextPageToken']}")
        assert names == ["n4", "n3", "n2", "n1", "n0"]
        assert await b.ok("DELETE", f"/v1/{made[4]['name']}") == {}
        await b.error(404, "NOT_FOUND", "GET", f"/v1/{made[4]['name']}")
        left = await b.ok("GET", "/v1/batches")
        assert len(left["operations"]) == 4
        assert len(list(b.simulator.directory.glob("files/google-*"))) == 4


async def test_a_cancelled_batch_hands_out_what_was_done() -> None:
    async with google_bench(batch_s=BATCH_S) as b:
        made = await b.ok("POST", CREATE, json=inline(*words(10)))
        await look(b, made, after_s=50)
        for _ in range(2):
            assert await b.ok("POST", f"/v1/{made['name']}:cancel") == {}
        assert (await look(b, made, after_s=0))["metadata"]["state"] == "BATCH_STATE_RUNNING"
        ended = await look(b, made, after_s=20)
        assert (ended["done"], ended["metadata"]["state"]) == (True, "BATCH_STATE_CANCELLED")
        assert "response" not in ended
        assert [key(item) for item in await read(b, ended)] == ["k0", "k1", "k2", "k3", "k4"]
        assert await b.ok("POST", f"/v1/{made['name']}:cancel") == {}


async def test_a_batch_stuck_in_pending_expires_after_48_hours() -> None:
    async with google_bench(batch_s=BATCH_S) as b:
        await arm(b, "stuck", status="validating")
        made = await b.ok("POST", CREATE, json=inline("x"))
        pending = await look(b, made, after_s=2 * DAY_S - 1)
        assert pending["metadata"]["state"] == "BATCH_STATE_PENDING"
        expired = await look(b, made, after_s=1)
        assert (expired["done"], expired["metadata"]["state"]) == (True, "BATCH_STATE_EXPIRED")
        assert await read(b, expired) == []


async def test_a_batch_that_exists_can_be_made_to_expire_with_a_part_of_its_results() -> None:
    async with google_bench(batch_s=BATCH_S) as b:
        made = await over_file(b, lines(words(10)))
        await look(b, made, after_s=60)
        await arm(b, "expire_now", batch=made["name"], done=0.3)
        expired = await look(b, made, after_s=0)
        assert expired["metadata"]["state"] == "BATCH_STATE_EXPIRED"
        assert [key(item) for item in await read(b, expired)] == ["k0", "k1", "k2"]


async def test_a_batch_can_be_made_to_fail() -> None:
    async with google_bench(batch_s=0.0) as b:
        await arm(b, "fail_validation", code="RESOURCE_EXHAUSTED", message="too much")
        failed = await look(b, await b.ok("POST", CREATE, json=inline("x")))
        assert failed["metadata"]["state"] == "BATCH_STATE_FAILED"
        assert failed["error"] == {"code": 8, "message": "too much"}


@pytest.mark.parametrize("way", ["in place", "in a file"])
async def test_results_are_spoilt_as_told(way: str) -> None:
    async with google_bench(batch_s=0.0) as b:

        async def results(fault: str, **fields: object) -> list[str]:
            await arm(b, fault, **fields)
            made = await b.ok("POST", CREATE, json=inline(*words(8))) if way == "in place" else None
            made = made or await over_file(b, lines(words(8)))
            return [key(item) for item in await read(b, await look(b, made))]

        everything = [f"k{n}" for n in range(8)]
        assert len(await results("missing", lines=3)) == 5
        doubled = await results("duplicate", lines=2)
        assert sorted(set(doubled)) == everything
        assert len(doubled) == 10
        assert sum(one == other for one, other in pairwise(doubled)) == 2
        assert await results("extra", lines=2) == [*everything, "extra-1", "extra-2"]
        shuffled = await results("shuffled")
        assert sorted(shuffled) == everything
        assert shuffled != everything
        assert await results("completed_without_file") == []


async def test_every_request_can_be_made_to_fail() -> None:
    async with google_bench(batch_s=0.0) as b:
        await arm(b, "only_error_file")
        ended = await look(b, await b.ok("POST", CREATE, json=inline("x", "y")))
        assert ended["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
        assert [item["error"]["code"] for item in await read(b, ended)] == [13, 13]
        await arm(b, "fail_lines", lines=1, status=429)
        ended = await look(b, await b.ok("POST", CREATE, json=inline("x", "y")))
        assert sorted(item.get("error", {}).get("code", 0) for item in await read(b, ended)) == [0, 8]


async def test_garbled_results_are_half_a_line_or_neither_answer_nor_error() -> None:
    async with google_bench(batch_s=0.0) as b:
        await arm(b, "garbled", lines=1)
        ended = await look(b, await b.ok("POST", CREATE, json=inline("x", "y")))
        assert sorted(len(item) for item in await read(b, ended)) == [1, 2]
        await arm(b, "garbled", lines=1)
        ended = await look(b, await over_file(b, lines(["x", "y"])))
        name = ended["metadata"]["output"]["responsesFile"]
        content = (await b.call("GET", f"/v1/{name}:download?alt=media")).content
        assert sum(line.endswith(b"}}") for line in content.splitlines()) == 1


async def test_results_in_place_can_be_without_keys_and_file_ids_empty() -> None:
    async with google_bench(batch_s=0.0) as b:
        await arm(b, "keyless")
        ended = await look(b, await b.ok("POST", CREATE, json=inline("x", "y")))
        assert [set(item) for item in await read(b, ended)] == [{"response"}, {"response"}]
        await arm(b, "empty_ids")
        await arm(b, "completed_without_file")
        ended = await look(b, await b.ok("POST", CREATE, json=inline("x")))
        assert ended["metadata"]["output"] == {"responsesFile": ""}


async def test_a_batch_can_be_kept_out_of_lists() -> None:
    async with google_bench() as b:
        await arm(b, "unlisted", for_s=10)
        made = await b.ok("POST", CREATE, json=inline("x"))
        assert await b.ok("GET", "/v1/batches") == {}
        await look(b, made, after_s=10)
        assert len((await b.ok("GET", "/v1/batches"))["operations"]) == 1


async def test_what_was_bought_shows_by_name_and_by_requests_however_they_came() -> None:
    async with google_bench() as b:
        made = await b.ok("POST", CREATE, json=inline("one", "two"))
        (bought,) = b.simulator.account.purchases()
        assert (bought.provider, bought.kind, bought.id) == ("google", "batch", made["name"])
        assert (bought.identity, bought.units) == ("job", 2)
        assert b.simulator.account.bought_twice() == []
        file = await b.upload(lines(["one", "two"]), "application/jsonl")
        body = {"batch": {"displayName": "other", "inputConfig": {"fileName": file["name"]}}}
        await b.ok("POST", CREATE, json=body)
        assert b.simulator.account.bought_twice() == [f"batch payload={bought.payload}"]
        await b.ok("POST", CREATE, json=inline("three"))
        assert "batch identity=job" in b.simulator.account.bought_twice()


async def test_a_batch_that_was_taken_before_its_answer_was_dropped_is_there() -> None:
    async with google_bench() as b:
        await arm(b, "act_then_drop", route=f"POST {GOOGLE_PREFIX}/v1/models/*:batchGenerateContent")
        with pytest.raises(httpx.RemoteProtocolError):
            await b.call("POST", CREATE, json=inline("x"))
        (listed,) = (await b.ok("GET", "/v1/batches"))["operations"]
        assert listed["metadata"]["displayName"] == "job"
        assert len(b.simulator.account.purchases()) == 1


async def test_batches_and_their_responses_outlive_the_simulator(tmp_path: Path) -> None:
    async with google_bench(batch_s=0.0, data=tmp_path) as b:
        await arm(b, "stuck", status="validating")
        waiting = await b.ok("POST", CREATE, json=inline("later"))
        in_place = await b.ok("POST", CREATE, json=inline("x"))
        in_a_file = await over_file(b, lines(words(2)))
        before = [await read(b, await look(b, one, after_s=0)) for one in (in_place, in_a_file)]
    async with google_bench(batch_s=0.0, data=tmp_path) as b:
        assert [await read(b, await look(b, one, after_s=0)) for one in (in_place, in_a_file)] == before
        assert await b.ok("POST", f"/v1/{waiting['name']}:cancel") == {}
        ended = await look(b, waiting, after_s=0)
        assert (ended["metadata"]["state"], ended["metadata"]["batchStats"]["requestCount"]) == (
            "BATCH_STATE_CANCELLED",
            "1",
        )


async def test_fifty_thousand_requests_are_answered_and_counted() -> None:
    async with google_bench(batch_s=0.0) as b:
        body = json.encode(inline(*words(50_000)))
        made = json.decode((await b.call("POST", CREATE, content=body)).content)
        ended = await look(b, made)
        assert ended["metadata"]["batchStats"] == {"requestCount": "50000", "successfulRequestCount": "50000"}
        items = await read(b, ended)
        assert (len(items), key(items[0]), key(items[-1])) == (50_000, "k0", "k49999")
