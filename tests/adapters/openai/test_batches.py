"""Batches over a fake `Fetch`: what is asked for, and what each answer means."""

from __future__ import annotations

import json

import pytest

from perdure.actors.batch.ports import BatchProvider, InputProblem
from perdure.actors.fetch import HttpRequest, Refused, Unknown
from perdure.adapters.openai import OpenAIBatches
from perdure.adapters.openai.batches import IDENTITY_KEY
from tests.adapters.openai.fake import FakeFetch, Reply, batch, page, reply
from tests.adapters.parts import over, sought

BATCHES: BatchProvider = OpenAIBatches()

AT_S = 1_795_190_000
AT = AT_S * 1_000_000


@pytest.mark.trio
async def test_create_plants_the_identity_and_is_a_create() -> None:
    fetch = FakeFetch(reply(batch(metadata={IDENTITY_KEY: "log-b-0"}), openai_poll_after_ms="1500"))
    created = await BATCHES.create(fetch, over("file-1"), endpoint="/v1/responses", identity="log-b-0")
    (request,) = fetch.requests
    assert (request.method, request.path, request.safety) == ("POST", "/batches", "create")
    assert isinstance(request.body, bytes)
    assert json.loads(request.body) == {
        "input_file_id": "file-1",
        "endpoint": "/v1/responses",
        "completion_window": "24h",
        "metadata": {IDENTITY_KEY: "log-b-0"},
    }
    assert (created.id, created.status, created.created_at) == ("batch_1", "processing", AT)
    assert (created.identity, created.poll_after_s) == ("log-b-0", 1.5)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("validating", "pending"),
        ("in_progress", "processing"),
        ("finalizing", "processing"),
        ("cancelling", "processing"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("expired", "expired"),
        ("cancelled", "cancelled"),
        ("pondering", "pending"),
        ("", "pending"),
        (None, "pending"),
    ],
)
async def test_b34_each_status_word(word: str | None, status: str) -> None:
    fetch = FakeFetch(reply(batch(status=word, request_counts={"total": 10, "completed": 7, "failed": 2})))
    seen = await BATCHES.status(fetch, "batch_1")
    assert (seen.status, seen.total, seen.completed, seen.failed) == (status, 10, 7, 2)
    assert [(request.method, request.path, request.safety) for request in fetch.requests] == [
        ("GET", "/batches/batch_1", "read")
    ]


@pytest.mark.trio
@pytest.mark.parametrize("counts", [None, {}, {"total": None}], ids=["null", "empty", "null inside"])
async def test_b34_counts_may_be_missing(counts: object) -> None:
    seen = await BATCHES.status(FakeFetch(reply(batch(request_counts=counts))), "batch_1")
    assert (seen.total, seen.completed, seen.failed) == (0, 0, 0)


@pytest.mark.trio
@pytest.mark.parametrize("status", ["completed", "expired", "cancelled"])
@pytest.mark.parametrize(
    ("files", "sources"),
    [
        ({"output_file_id": "file-o", "error_file_id": "file-e"}, ("file-o", "file-e")),
        ({"output_file_id": "file-o", "error_file_id": None}, ("file-o",)),
        ({"output_file_id": None, "error_file_id": "file-e"}, ("file-e",)),
        ({"output_file_id": "", "error_file_id": "file-e"}, ("file-e",)),
        ({"output_file_id": "file-o", "error_file_id": ""}, ("file-o",)),
        ({"output_file_id": "", "error_file_id": ""}, ()),
        ({}, ()),
    ],
    ids=["both", "output", "error", "error, empty output", "output, empty error", "both empty", "both absent"],
)
async def test_b34_w8_result_files_of_every_end(
    status: str, files: dict[str, object], sources: tuple[str, ...]
) -> None:
    seen = await BATCHES.status(FakeFetch(reply(batch("batch_1", status=status, **files))), "batch_1")
    assert tuple(seen.sources) == sources


@pytest.mark.trio
async def test_b34_failed_with_errors() -> None:
    errors = {
        "object": "list",
        "data": [
            {"code": "invalid_json_line", "line": 3, "message": "No JSON.", "param": None},
            {"code": 17, "line": None, "message": None},
            {"message": "Too much."},
        ],
    }
    seen = await BATCHES.status(FakeFetch(reply(batch(status="failed", errors=errors))), "batch_1")
    assert seen.status == "failed"
    assert list(seen.problems) == [
        InputProblem("invalid_json_line", "No JSON.", 3),
        InputProblem("17", "the provider gave no reason", None),
        InputProblem("invalid_input", "Too much.", None),
    ]


@pytest.mark.trio
@pytest.mark.parametrize("errors", [None, {}, {"data": None}, {"data": []}])
async def test_b34_failed_without_a_reason(errors: object) -> None:
    seen = await BATCHES.status(FakeFetch(reply(batch(status="failed", errors=errors))), "batch_1")
    assert list(seen.problems) == []


@pytest.mark.trio
@pytest.mark.parametrize(
    ("header", "seconds"),
    [("1500", 1.5), ("0", None), ("-5", None), ("soon", None), ("nan", None), ("inf", None), ("", None)],
)
async def test_poll_hint(header: str, seconds: float | None) -> None:
    seen = await BATCHES.status(FakeFetch(reply(batch(), openai_poll_after_ms=header)), "batch_1")
    assert seen.poll_after_s == seconds


UNREADABLE = [
    Reply(b"<html>", 200, {"content-type": "text/html"}),
    Reply(json.dumps(batch()).encode(), 200, {"content-type": "text/html; charset=utf-8"}),
    Reply(b'{"id":"batch_1","sta'),
    Reply(b""),
    Reply(b"\xff\xfe"),
    Reply(b'{"id":"batch_1","other":' + b"[" * 100_000),
    reply({"object": "batch"}),
    reply({"id": ""}),
    reply([]),
]
UNREADABLE_IDS = ["page", "JSON as page", "cut", "empty", "no text", "nested without end", "no id", "empty id", "list"]


@pytest.mark.trio
@pytest.mark.parametrize("answer", UNREADABLE, ids=UNREADABLE_IDS)
async def test_w23_a_created_batch_whose_answer_cannot_be_read_is_unknown(answer: Reply) -> None:
    with pytest.raises(Unknown):
        await BATCHES.create(FakeFetch(answer), over("file-1"), endpoint="/v1/responses", identity="i")


@pytest.mark.trio
@pytest.mark.parametrize("answer", UNREADABLE, ids=UNREADABLE_IDS)
async def test_a_status_that_cannot_be_read_may_be_asked_again(answer: Reply) -> None:
    with pytest.raises(Refused) as caught:
        await BATCHES.status(FakeFetch(answer), "batch_1")
    assert (caught.value.kind, caught.value.retryable) == ("server_error", True)


@pytest.mark.trio
@pytest.mark.parametrize("kind", ["", "text/plain", "application/json; charset=utf-8", "application/problem+json"])
async def test_content_types_that_may_hold_json(kind: str) -> None:
    answer = Reply(json.dumps(batch()).encode(), 200, {"content-type": kind} if kind else {})
    assert (await BATCHES.status(FakeFetch(answer), "batch_1")).id == "batch_1"


@pytest.mark.trio
async def test_an_id_cannot_leave_its_path() -> None:
    fetch = FakeFetch(reply(batch()))
    await BATCHES.status(fetch, "../files?x=/")
    assert fetch.requests[0].path == "/batches/..%2Ffiles%3Fx%3D%2F"


# ---------------------------------------------------------------- finding again


def _history(count: int, *, newest_s: int = AT_S) -> list[dict[str, object]]:
    """Batches, newest first, one a second, each with an identity of its own; every tenth with none."""
    return [
        batch(
            f"batch_{n}", created_at=newest_s - n, metadata=None if n % 10 == 0 else {IDENTITY_KEY: f"i-{n}", "mine": 1}
        )
        for n in range(count)
    ]


def _listing(objects: list[dict[str, object]], *, has_more: bool | None = True) -> FakeFetch:
    """A list that pages as OpenAI's does; `has_more` None leaves it out."""

    def script(request: HttpRequest) -> Reply:
        assert (request.method, request.path, request.safety) == ("GET", "/batches", "read")
        ids = [item["id"] for item in objects]
        start = ids.index(request.query["after"]) + 1 if "after" in request.query else 0
        end = start + int(request.query["limit"])
        return page(objects[start:end], has_more=None if has_more is None else end < len(objects))

    return FakeFetch(script)


@pytest.mark.trio
@pytest.mark.parametrize("has_more", [True, None], ids=["told", "not told"])
async def test_w4_find_reads_all_pages(has_more: bool | None) -> None:
    fetch = _listing(_history(255), has_more=has_more)
    found = await BATCHES.find(fetch, sought("i-251", AT - 3_600_000_000))
    assert [seen.id for seen in found] == ["batch_251"]
    assert [request.query.get("after") for request in fetch.requests][:3] == [None, "batch_99", "batch_199"]
    assert {request.query["limit"] for request in fetch.requests} == {"100"}
    assert len(fetch.requests) == (3 if has_more else 4)


@pytest.mark.trio
async def test_w4_find_stops_behind_the_time_of_the_intent() -> None:
    fetch = _listing(_history(2_000))
    assert list(await BATCHES.find(fetch, sought("nobody", AT - 50_000_000))) == []
    assert len(fetch.requests) == 4, "350 s back: the 50 asked for, and the margin for clocks that differ"


@pytest.mark.trio
async def test_w4_find_gives_the_oldest_first() -> None:
    several = [batch(f"batch_{n}", created_at=AT_S - n // 2, metadata={IDENTITY_KEY: "same"}) for n in range(4)]
    found = await BATCHES.find(_listing(several), sought("same", AT))
    assert [seen.id for seen in found] == ["batch_3", "batch_2", "batch_1", "batch_0"]


@pytest.mark.trio
async def test_w4_find_in_an_empty_account() -> None:
    assert list(await BATCHES.find(_listing([]), sought("i", AT))) == []


@pytest.mark.trio
@pytest.mark.parametrize(
    "pages",
    [
        [page([batch("batch_1")], has_more=True), page([], has_more=True)],
        [page([batch("batch_1")], has_more=True), page([batch("batch_1")], has_more=True)],
        [page([batch("batch_1")], has_more=True), Reply(b"<html>", 200, {"content-type": "text/html"})],
        [page([batch("batch_1")], has_more=True), page([{"object": "batch"}])],
        [reply({"object": "list"})],
    ],
    ids=["more, but none there", "the same page again", "a web page", "an object without an id", "no list"],
)
async def test_w4_an_incomplete_list_is_never_taken_for_absence(pages: list[Reply]) -> None:
    with pytest.raises(Refused) as caught:
        await BATCHES.find(FakeFetch(pages), sought("i", AT))
    assert caught.value.retryable


# ---------------------------------------------------------------- cancelling


@pytest.mark.trio
async def test_cancel() -> None:
    fetch = FakeFetch(reply(batch(status="cancelling")))
    await BATCHES.cancel(fetch, "batch_1")
    assert [(request.method, request.path, request.safety) for request in fetch.requests] == [
        ("POST", "/batches/batch_1/cancel", "idempotent")
    ]


@pytest.mark.trio
@pytest.mark.parametrize("refusal", [400, 409])
@pytest.mark.parametrize("word", ["completed", "failed", "expired", "cancelled", "cancelling"])
async def test_w70_cancelling_what_has_ended_is_an_expected_answer(refusal: int, word: str) -> None:
    fetch = FakeFetch([reply({"error": {"message": "It has ended."}}, refusal), reply(batch(status=word))])
    await BATCHES.cancel(fetch, "batch_1")
    assert fetch.requests[0].expected >= {400, 409}


@pytest.mark.trio
async def test_w70_a_refused_cancel_of_what_goes_on_is_an_error() -> None:
    refusal = reply({"error": {"message": "Not while validating.", "code": 12}}, 409)
    with pytest.raises(Refused, match="Not while validating") as caught:
        await BATCHES.cancel(FakeFetch([refusal, reply(batch(status="validating"))]), "batch_1")
    assert (caught.value.status, caught.value.provider_code, caught.value.retryable) == (409, "12", True)


@pytest.mark.trio
async def test_a_cancel_that_nobody_confirms_may_be_asked_again() -> None:
    with pytest.raises(Refused) as caught:
        await BATCHES.cancel(FakeFetch(Reply(b"<html>", 200, {"content-type": "text/html"})), "batch_1")
    assert caught.value.retryable
