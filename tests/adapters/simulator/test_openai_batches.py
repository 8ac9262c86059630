"""OpenAI's batch routes: the way of a batch, what is wrong with its input, paging, cancelling."""

from __future__ import annotations

import pytest

from perdure.adapters.simulator.openai.lines import MAX_LINES
from tests.adapters.simulator.bench import BATCH_S, RESPONSES, T0, bench, ids, jsonl, prompts

pytestmark = pytest.mark.trio


async def test_a_batch_goes_from_validating_to_completed() -> None:
    async with bench() as b:
        made = await b.batch(prompts(10), metadata={"perdure_identity": "log-1", "other": "x"})
        assert (made["object"], made["status"], made["endpoint"]) == ("batch", "validating", RESPONSES)
        assert (made["created_at"], made["expires_at"]) == (int(T0), int(T0) + 86_400)
        assert made["metadata"] == {"perdure_identity": "log-1", "other": "x"}
        assert made["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
        assert (made["output_file_id"], made["error_file_id"], made["errors"]) == (None, None, None)
        working = await b.look(made["id"], after_s=50)
        assert (working["status"], working["model"]) == ("in_progress", "gpt-6-astra")
        assert working["request_counts"] == {"total": 10, "completed": 5, "failed": 0}
        assert (await b.look(made["id"], after_s=45))["status"] == "finalizing"
        done = await b.look(made["id"], after_s=5)
        assert (done["status"], done["error_file_id"]) == ("completed", None)
        assert (done["in_progress_at"], done["completed_at"]) == (int(T0) + 10, int(T0) + 100)
        assert done["request_counts"] == {"total": 10, "completed": 10, "failed": 0}
        lines = await b.lines(done["output_file_id"])
        assert ids(lines) == [f"r{n}" for n in range(10)]
        assert done["usage"]["total_tokens"] == sum(line["response"]["body"]["usage"]["total_tokens"] for line in lines)
        assert (await b.ok("GET", f"/files/{done['output_file_id']}"))["purpose"] == "batch_output"


async def test_a_batch_is_bought_once_under_its_planted_identity() -> None:
    async with bench() as b:
        marked = await b.batch(prompts(3), metadata={"perdure_identity": "log-7"})
        await b.look(marked["id"], after_s=BATCH_S)
        unmarked = await b.create_batch(marked["input_file_id"])
        one, two = [purchase for purchase in b.simulator.account.purchases() if purchase.kind == "batch"]
        assert (one.id, one.identity, one.units) == (marked["id"], "log-7", 3)
        assert (two.id, two.identity, two.units) == (unmarked["id"], marked["input_file_id"], 3)
        assert b.simulator.account.bought_twice() == [f"batch payload={one.payload}"]


async def test_a_line_of_output_has_the_endpoints_own_answer() -> None:
    async with bench() as b:
        _, output, _ = await b.finished(prompts(1))
        (line,) = output
        assert set(line) == {"id", "custom_id", "response", "error"}
        assert line["error"] is None
        assert line["response"]["status_code"] == 200
        assert line["response"]["request_id"]
        body = line["response"]["body"]
        assert (body["object"], body["status"]) == ("response", "completed")
        assert body["output"][0]["content"][0]["text"].endswith("] prompt 0")


async def test_chat_completions_and_embeddings_can_be_batched_too() -> None:
    async with bench() as b:
        chat = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        embed = {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 4}
        for url, body in (("/v1/chat/completions", chat), ("/v1/embeddings", embed)):
            made = await b.batch(jsonl([body], url=url), endpoint=url)
            done = await b.look(made["id"], after_s=BATCH_S)
            (line,) = await b.lines(done["output_file_id"])
            answer = line["response"]["body"]
            if url.endswith("embeddings"):
                assert [len(item["embedding"]) for item in answer["data"]] == [4, 4]
            else:
                assert answer["choices"][0]["message"]["content"].endswith("] hello")


async def test_lines_for_the_model_nope_fail_alone() -> None:
    async with bench() as b:
        bodies = [{"model": "nope" if n == 1 else "m", "input": "x"} for n in range(3)]
        batch, output, errors = await b.finished(jsonl(bodies))
        assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
        assert (ids(output), ids(errors)) == (["r0", "r2"], ["r1"])
        assert errors[0]["response"]["status_code"] == 404
        assert errors[0]["response"]["body"]["error"]["code"] == "model_not_found"


async def test_a_batch_of_failures_is_completed_without_an_output_file() -> None:
    async with bench() as b:
        batch, output, errors = await b.finished(prompts(2, model="nope"))
        assert (batch["status"], batch["output_file_id"]) == ("completed", None)
        assert (output, len(errors)) == ([], 2)


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (b"", "empty_file", None),
        (prompts(1) + b"{nonsense\n", "invalid_json_line", 2),
        (prompts(1) + b"\n" + jsonl([{"model": "nope"}], prefix="s"), "invalid_json_line", 2),
        (b'{"custom_id": 7, "method": "POST", "url": "/v1/responses", "body": {}}\n', "invalid_json_line", 1),
        (b'\xff\xfe{"custom_id"\n', "invalid_json_line", 1),
        (b'{"custom_id": "a", "method": "GET", "url": "/v1/responses", "body": {}}\n', "invalid_json_line", 1),
        (prompts(1) + prompts(1), "duplicate_custom_id", 2),
        (jsonl([{"model": "m", "input": "x"}], url="/v1/embeddings"), "url_mismatch", 1),
        (jsonl([{"model": "a", "input": "x"}, {"model": "b", "input": "x"}]), "model_mismatch", 2),
        (prompts(MAX_LINES + 1), "too_many_tasks", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_wrong_input_is_taken_and_fails_later(data: bytes, code: str, line: int | None) -> None:
    async with bench() as b:
        made = await b.batch(data)
        assert made["status"] == "validating"
        failed = await b.look(made["id"], after_s=10)
        assert (failed["status"], failed["failed_at"]) == ("failed", int(T0) + 10)
        assert failed["errors"]["object"] == "list"
        (error,) = failed["errors"]["data"]
        assert (error["code"], error["line"]) == (code, line)
        assert (failed["output_file_id"], failed["error_file_id"]) == (None, None)


async def test_deleting_the_input_file_does_not_pull_it_away_from_its_batch() -> None:
    async with bench() as b:
        made = await b.batch(prompts(2))
        await b.ok("DELETE", f"/files/{made['input_file_id']}")
        done = await b.look(made["id"], after_s=BATCH_S)
        assert (done["status"], done["request_counts"]["completed"]) == ("completed", 2)


async def test_the_list_is_newest_first_with_twenty_on_a_page() -> None:
    async with bench() as b:
        file = await b.upload(prompts(1))
        names = [(await b.create_batch(file["id"]))["id"] for _ in range(25)]
        first = await b.ok("GET", "/batches")
        assert [batch["id"] for batch in first["data"]] == names[:4:-1]
        assert first["has_more"] is True
        rest = await b.ok("GET", "/batches", params={"after": first["last_id"], "limit": "100"})
        assert [batch["id"] for batch in rest["data"]] == names[4::-1]
        assert rest["has_more"] is False
        b.simulator.clock.advance(BATCH_S)
        ended = await b.ok("GET", "/batches", params={"limit": "1"})
        assert ended["data"] == [await b.look(names[-1])]
        assert ended["data"][0]["output_file_id"]


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "101"}, {"after": "batch_unknown"}], ids=str)
async def test_a_wrong_page_is_refused(query: dict[str, str]) -> None:
    async with bench() as b:
        assert (await b.error(400, "GET", "/batches", params=query))["param"] in query


async def test_a_cancelled_batch_hands_out_what_was_done() -> None:
    async with bench() as b:
        made = await b.batch(prompts(10))
        b.simulator.clock.advance(50)
        cancelling = await b.ok("POST", f"/batches/{made['id']}/cancel")
        assert (cancelling["status"], cancelling["cancelling_at"]) == ("cancelling", int(T0) + 50)
        again = await b.ok("POST", f"/batches/{made['id']}/cancel")
        assert again["status"] == "cancelling"
        cancelled = await b.look(made["id"], after_s=10)
        assert (cancelled["status"], cancelled["cancelled_at"]) == ("cancelled", int(T0) + 60)
        assert ids(await b.lines(cancelled["output_file_id"])) == [f"r{n}" for n in range(5)]
        left = await b.lines(cancelled["error_file_id"])
        assert ids(left) == [f"r{n}" for n in range(5, 10)]
        assert {(line["response"], line["error"]["code"]) for line in left} == {(None, "batch_cancelled")}
        assert (await b.error(409, "POST", f"/batches/{made['id']}/cancel"))["message"]


async def test_an_unknown_batch_is_refused() -> None:
    async with bench() as b:
        await b.error(404, "GET", "/batches/batch_unknown")
        await b.error(404, "POST", "/batches/batch_unknown/cancel")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"endpoint": "/v1/files"}, "endpoint", "invalid_value"),
        ({"endpoint": "/v1/images/generations"}, "endpoint", "unsupported_value"),
        ({"completion_window": "1h"}, "completion_window", "invalid_value"),
        ({"input_file_id": "file-unknown"}, "input_file_id", "invalid_value"),
        ({"metadata": {f"k{n}": "v" for n in range(17)}}, "metadata", "invalid_value"),
        ({"metadata": {"k" * 65: "v"}}, "metadata", "invalid_value"),
        ({"metadata": {"k": "v" * 513}}, "metadata", "invalid_value"),
        ({"metadata": {"k": 1}}, "metadata[...]", "invalid_type"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 10}},
            "output_expires_after.seconds",
            "integer_out_of_range",
        ),
        ({"priority": "high"}, "priority", "unknown_parameter"),
    ],
)
async def test_a_wrong_batch_is_refused_and_not_bought(fields: dict[str, object], param: str, code: str) -> None:
    async with bench() as b:
        file = await b.upload(prompts(1))
        body = {"input_file_id": file["id"], "endpoint": RESPONSES, "completion_window": "24h", **fields}
        error = await b.error(400, "POST", "/batches", json=body)
        assert (error["param"], error["code"]) == (param, code)
        assert b.units("batch") == []


async def test_a_batch_needs_its_parameters_json_and_a_file_for_batches() -> None:
    async with bench() as b:
        error = await b.error(400, "POST", "/batches", json={"endpoint": RESPONSES, "completion_window": "24h"})
        assert (error["param"], error["code"]) == ("input_file_id", "missing_required_parameter")
        await b.error(400, "POST", "/batches", content=b"{")
        other = await b.upload(b"x", filename="a.txt", purpose="user_data")
        body = {"input_file_id": other["id"], "endpoint": RESPONSES, "completion_window": "24h"}
        assert (await b.error(400, "POST", "/batches", json=body))["param"] == "input_file_id"


async def test_the_output_expires_when_it_was_told_to() -> None:
    async with bench() as b:
        made = await b.batch(prompts(1), output_expires_after={"anchor": "created_at", "seconds": 3600})
        done = await b.look(made["id"], after_s=BATCH_S)
        file = await b.ok("GET", f"/files/{done['output_file_id']}")
        assert file["expires_at"] == int(T0 + BATCH_S) + 3600
        b.simulator.clock.advance(3600)
        await b.error(404, "GET", f"/files/{done['output_file_id']}/content")


async def test_a_hint_says_when_to_ask_again() -> None:
    async with bench() as b:
        file = await b.upload(prompts(1))
        body = {"input_file_id": file["id"], "endpoint": RESPONSES, "completion_window": "24h"}
        made = await b.call("POST", "/batches", json=body)
        assert made.headers["openai-poll-after-ms"] == "10000"
        looked = await b.call("GET", f"/batches/{made.json()['id']}")
        assert looked.headers["openai-poll-after-ms"] == "10000"


async def test_a_batch_that_takes_no_time_is_still_validating_when_it_is_made() -> None:
    async with bench(batch_s=0.0) as b:
        made = await b.batch(prompts(1))
        assert made["status"] == "validating"
        assert (await b.look(made["id"]))["output_file_id"]
