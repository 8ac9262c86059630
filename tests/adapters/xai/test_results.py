"""xAI's results: what each of them says, and reading them page by page from any place on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.batch.ports import BatchProvider
from perdure.actors.fetch import HttpRequest, Refused, Unknown
from perdure.adapters.xai import XaiBatches
from perdure.events.requests import Answer, LineError
from tests.adapters.openai.fake import FakeFetch, Reply, reply

BATCHES: BatchProvider = XaiBatches()

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost_in_usd_ticks": 37_500_000}
CHAT = {"model": "grok-5", "choices": [{"message": {"content": "Geiranger"}, "finish_reason": "stop"}], "usage": USAGE}
NO_ERROR = {"code": 0, "message": ""}


def result(batch_result: object, **fields: object) -> bytes:
    return json.dumps({"batch_request_id": "b-1", "batch_result": batch_result, **fields}).encode()


def chat(body: object = CHAT) -> dict[str, object]:
    return {"chat_get_completion": body}


ANSWERS = {
    "an answer": result({"response": chat()}),
    "with an error that says nothing": result({"response": chat(), "error": NO_ERROR}, error_message=""),
    "with a null error": result({"response": chat(), "error": None}, error_message=None),
    "with fields that nobody knows": result({"response": chat(), "more": 1}, more=2),
    "beside a null variant": result({"response": {"image_generation": None, **chat()}}),
    "under a new name": result({"response": {"chat_get_answer": CHAT}}),
}


@pytest.mark.parametrize("raw", ANSWERS.values(), ids=ANSWERS)
def test_b34_a_text_in_the_form_of_a_chat_completion(raw: bytes) -> None:
    line = BATCHES.parse_line(raw)
    assert line is not None
    assert (line.line_id, line.ok, line.raw) == ("b-1", True, raw)
    for endpoint in BATCHES.endpoints:
        said = BATCHES.answer(endpoint, raw)
        assert isinstance(said, Answer)
        assert (said.text, said.finish_reason, said.model) == ("Geiranger", "stop", "grok-5")
        assert said.body()["usage"]["cost_in_usd_ticks"] == 37_500_000
        assert said.usage is not None
        assert said.usage.total_tokens == 5


def test_b34_images() -> None:
    images = {"data": [{"url": "https://example.org/a.jpg", "respect_moderation": True}], "usage": USAGE}
    raw = result({"response": {"image_generation": images}})
    line = BATCHES.parse_line(raw)
    assert line is not None
    assert line.ok
    said = BATCHES.answer("/v1/images/generations", raw)
    assert isinstance(said, Answer)
    assert said.body()["data"][0]["url"] == "https://example.org/a.jpg"


ERRORS = {
    "code and message": (result({"error": {"code": 5, "message": "No such model."}}), "5", "No such model."),
    "a word for a code": (result({"error": {"code": "not-found", "message": "Gone."}}), "not-found", "Gone."),
    "a message alone": (result({"error": {"code": 0, "message": "Gone."}}), "request_failed", "Gone."),
    "a code alone": (result({"error": {"code": 13}}, error_message="Broken."), "13", "Broken."),
    "no more than a code": (result({"error": {"code": 13}}), "13", "the provider gave no reason"),
    "outside of the result": (result({}, error_message="Broken."), "request_failed", "Broken."),
    "no result": (result(None, error_message="Broken."), "request_failed", "Broken."),
    "beside a response": (result({"response": chat(), "error": {"code": 8, "message": "Slow."}}), "8", "Slow."),
    "neither": (result({}), "unreadable_answer", "the result has neither a response nor an error"),
    "nothing": (result(None), "unreadable_answer", "the result has neither a response nor an error"),
    "an empty response": (result({"response": {}}), "unreadable_answer", "neither a response nor an error"),
    "a null response": (result({"response": chat(None), "error": NO_ERROR}), "unreadable_answer", "neither"),
    "no choices": (result({"response": chat({"choices": []})}), "unreadable_answer", "nothing in it"),
    "a text for a body": (result({"response": chat("half an ans")}), "unreadable_answer", "cannot be read"),
}


@pytest.mark.parametrize(("raw", "code", "message"), ERRORS.values(), ids=ERRORS)
def test_b34_w25_a_result_without_an_answer(raw: bytes, code: str, message: str) -> None:
    line = BATCHES.parse_line(raw)
    assert line is not None
    assert (line.line_id, line.ok) == ("b-1", False)
    said = BATCHES.answer("/v1/responses", raw)
    assert isinstance(said, LineError)
    assert said.code == code
    assert message in said.message


@pytest.mark.parametrize(
    ("code", "unfinished"),
    [(1, True), ("1", True), ("CANCELLED", True), ("canceled", True), (4, True), (3, False), (8, False), (13, False)],
)
def test_b34_an_error_that_says_that_a_request_was_not_run(code: int | str, unfinished: bool) -> None:
    line = BATCHES.parse_line(result({"error": {"code": code, "message": "It ended."}}))
    assert line is not None
    assert (line.ok, line.unfinished) == (False, unfinished)
    beside = BATCHES.parse_line(result({"response": chat(), "error": {"code": code, "message": "It ended."}}))
    assert beside is not None
    assert (beside.ok, beside.unfinished) == (False, unfinished), "both readings agree"


@pytest.mark.parametrize("error", [None, NO_ERROR], ids=["none", "one that says nothing"])
def test_b34_an_answer_is_finished(error: object) -> None:
    line = BATCHES.parse_line(result({"response": chat(), "error": error}))
    assert line is not None
    assert (line.ok, line.unfinished) == (True, False)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'{"batch_request_id":7}', b"\xff", b'{"batch_result":{}}', b"[" * 100_000]
)
def test_w25_a_result_that_cannot_be_read_never_raises(raw: bytes) -> None:
    assert BATCHES.parse_line(raw) is None
    said = BATCHES.answer("/v1/responses", raw)
    assert isinstance(said, LineError)
    assert said.code == "unreadable_answer"


NAMES = [
    "chat_get_completion",
    "image_generation",
    "response",
    "error",
    "code",
    "message",
    "choices",
    "data",
    "content",
    "text",
    "finish_reason",
    "output",
    "status",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON, JSON)
def test_w25_both_readings_of_a_result_agree_on_any_result(response: object, error: object, message: object) -> None:
    raw = result({"response": response, "error": error}, error_message=message)
    line = BATCHES.parse_line(raw)
    said = BATCHES.answer("/v1/responses", raw)
    assert (line is not None and line.ok) == isinstance(said, Answer)


@given(st.binary(max_size=200))
def test_w25_any_bytes_are_judged(raw: bytes) -> None:
    line = BATCHES.parse_line(raw)
    assert line is None or line.ok == isinstance(BATCHES.answer("/v1/responses", raw), Answer)


# ---------------------------------------------------------------- pages


LINES = [result({"response": chat({"choices": [], "n": "x" * (n % 7)})}, n=n) for n in range(250)]


def listing(lines: list[bytes]) -> FakeFetch:
    """A list that pages as xAI's does."""

    def script(request: HttpRequest) -> Reply:
        assert (request.method, request.path, request.safety) == ("GET", "/batches/b1/results", "read")
        start = int(request.query.get("pagination_token", 0))
        end = start + int(request.query["limit"])
        token = b'"%d"' % end if end < len(lines) else b"null"
        return Reply(b'{"results": [%b], "pagination_token": %b}' % (b" , ".join(lines[start:end]), token))

    return FakeFetch(script)


async def read(fetch: FakeFetch, skip_bytes: int = 0) -> list[bytes]:
    found: list[bytes] = []
    async with BATCHES.results(fetch, "b1", skip_bytes=skip_bytes) as runs:
        async for run in runs:
            assert 0 < len(run) <= 100
            found += run
    return found


@pytest.mark.trio
async def test_w22_every_result_is_a_line_as_xai_wrote_it() -> None:
    fetch = listing(LINES)
    assert await read(fetch) == LINES
    assert [request.query for request in fetch.requests] == [
        {"limit": "100"},
        {"limit": "100", "pagination_token": "100"},
        {"limit": "100", "pagination_token": "200"},
    ]
    assert await read(listing([])) == []


@pytest.mark.trio
@pytest.mark.parametrize("known", [0, 1, 99, 100, 101, 200, 249, 250])
async def test_w22_reading_on_behind_any_line_gives_the_rest(known: int) -> None:
    skip_bytes = sum(len(line) + 1 for line in LINES[:known])
    assert await read(listing(LINES), skip_bytes) == LINES[known:]


@pytest.mark.trio
async def test_w22_a_list_that_is_not_the_one_that_was_read_is_given_whole() -> None:
    assert await read(listing(LINES), len(LINES[0]) + 2) == LINES


@pytest.mark.trio
async def test_w22_a_list_that_ends_early_is_unknown() -> None:
    skip_bytes = sum(len(line) + 1 for line in LINES)
    with pytest.raises(Unknown) as caught:
        await read(listing(LINES[:200]), skip_bytes)
    assert caught.value.retryable


@pytest.mark.trio
async def test_pretty_printed_results_come_on_one_line_of_the_same_length() -> None:
    pretty = b'{\n  "batch_request_id": "b-1",\r\n  "batch_result": {}\n}'
    (line,) = await read(listing([pretty]))
    assert b"\n" not in line
    assert (len(line), json.loads(line)) == (len(pretty), json.loads(pretty))


@pytest.mark.trio
@pytest.mark.parametrize(
    "pages",
    [
        [Reply(b"<html>", 200, {"content-type": "text/html"})],
        [Reply(b'{"results": [{"batch_request_id": "b-')],
        [reply({"pagination_token": None})],
        [reply({"results": [], "pagination_token": "t"})],
        [reply({"results": [1], "pagination_token": "t"}), reply({"results": [2], "pagination_token": "t"})],
    ],
    ids=["a web page", "cut", "no list", "more, but none there", "the same page again"],
)
async def test_w22_pages_that_do_not_go_on_are_asked_for_again(pages: list[Reply]) -> None:
    with pytest.raises(Refused) as caught:
        await read(FakeFetch(pages))
    assert (caught.value.kind, caught.value.retryable) == ("server_error", True)
