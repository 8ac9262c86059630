"""Google's batches over a fake `Fetch`: what is asked for, and how each operation is read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from perdure.actors.batch.ports import BatchInput, BatchProvider, InputProblem, ProviderStatus, Sought
from perdure.actors.fetch import HttpRequest, Refused, Unknown
from perdure.adapters.google import GoogleBatches
from perdure.adapters.google.batches import INLINE_BYTES
from perdure.events.errors import Unsupported
from perdure.events.requests import Prompt
from tests.adapters.openai.fake import FakeFetch, Reply, chunks_of, reply

BATCHES: BatchProvider = GoogleBatches(inline_bytes=1_000)
ENDPOINT = "/v1/models/gemini-x:generateContent"
AT = 1_795_168_800_000_000
CREATED = "2026-11-20T10:00:00Z"


def operation(id_: str = "x", state: str | None = "BATCH_STATE_RUNNING", **fields: Any) -> dict[str, Any]:
    """A batch as Google shows one."""
    metadata: dict[str, Any] = {"displayName": "log-b-0", "createTime": CREATED, **fields.pop("metadata", {})}
    if state is not None:
        metadata["state"] = state
    return {"name": f"batches/{id_}", "metadata": metadata, **fields}


def inline(*items: object) -> dict[str, Any]:
    return {"inlinedResponses": {"inlinedResponses": list(items)}}


def part(*lines: bytes, file: str = "") -> BatchInput:
    """A part of these lines, which come in runs of two."""

    async def runs() -> AsyncIterator[bytes]:
        for start in range(0, len(lines), 2):
            yield b"".join(lines[start : start + 2])

    return BatchInput(model="gemini-x", count=len(lines), size_bytes=sum(map(len, lines)), file=file, lines=runs)


LINES = [BATCHES.encode_line(f"b-{number}", ENDPOINT, b'{"contents":[]}') for number in (0, 1, 4)]


async def sent(request: HttpRequest) -> bytes:
    """The body of a request, as long as it said."""
    if isinstance(request.body, bytes):
        return request.body
    assert request.body is not None
    whole = b"".join([piece async for piece in request.body()])
    assert request.body_bytes == len(whole)
    return whole


def sought(identity: str = "log-b-0") -> Sought:
    return Sought(identity=identity, line_prefix="b-", count=3, first=0, last=4, since=AT)


def test_what_it_says_of_itself() -> None:
    assert (BATCHES.name, BATCHES.searchable, BATCHES.window_s) == ("google", True, 172_800.0)
    assert BATCHES.endpoints[0] == "/v1/models/{model}:generateContent"
    limits = BATCHES.limits(ENDPOINT)
    assert (limits.max_lines, limits.max_bytes) == (50_000, 2_000_000_000)
    assert not GoogleBatches().needs_file(INLINE_BYTES)
    assert GoogleBatches().needs_file(INLINE_BYTES + 1)


def test_the_shortest_lines_of_the_most_bytes_fit_into_a_call() -> None:
    shortest = BATCHES.encode_line("b-0", ENDPOINT, b'{"contents":[{"parts":[{"text":""}]}]}')
    assert INLINE_BYTES * (len(shortest) + 13) / len(shortest) + 1_000 < 20_000_000


def test_prompts_are_rendered_for_the_model_that_the_batch_is_for() -> None:
    for endpoint in (BATCHES.endpoints[1], "/v1beta/models/gemini-x:generateContent"):
        rendered = BATCHES.render(Prompt("a", model="gemini-x"), endpoint)
        assert rendered.url == "/v1beta/models/gemini-x:generateContent"
        assert BATCHES.model_of(rendered.url, {}) == "gemini-x"
    with pytest.raises(Unsupported, match="google has no place for a prompt"):
        BATCHES.render(Prompt("a", model="m"), "/v1/models/m:embedContent")


@pytest.mark.trio
@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_requests_go_into_the_call_with_the_identity_and_their_places(version: str) -> None:
    fetch = FakeFetch(reply(operation(state="BATCH_STATE_PENDING")))
    endpoint = ENDPOINT.replace("v1", version)
    made = await BATCHES.create(fetch, part(*LINES), endpoint=endpoint, identity="log-b-0")
    assert (made.id, made.status, made.identity) == ("batches/x", "pending", "log-b-0")
    (request,) = fetch.requests
    assert (request.method, request.path) == ("POST", f"/{version}/models/gemini-x:batchGenerateContent")
    assert request.safety == "create"
    batch = json.loads(await sent(request))["batch"]
    assert await sent(request) == await sent(request)
    assert batch["displayName"] == "log-b-0 b-0+2,4+1"
    assert batch["inputConfig"]["requests"]["requests"] == [
        {"metadata": {"key": f"b-{number}"}, "request": {"contents": []}} for number in (0, 1, 4)
    ]


@pytest.mark.trio
async def test_a_file_is_named() -> None:
    fetch = FakeFetch(reply(operation()))
    await BATCHES.create(fetch, part(*LINES, file="files/abc"), endpoint=ENDPOINT, identity="log-b-0")
    body = json.loads(await sent(fetch.requests[0]))
    assert body == {"batch": {"displayName": "log-b-0", "inputConfig": {"fileName": "files/abc"}}}


@pytest.mark.trio
@pytest.mark.parametrize("answer", [Reply(b"<html>", 200, {"content-type": "text/html"}), reply({"done": False})])
async def test_w23_an_answer_that_cannot_be_read_proves_nothing(answer: Reply) -> None:
    with pytest.raises(Unknown):
        await BATCHES.create(FakeFetch(answer), part(*LINES), endpoint=ENDPOINT, identity="i")


FILES: dict[str, tuple[int, Reply, str, bool]] = {
    "processing": (400, reply({"name": "files/a", "state": "PROCESSING"}), "server_error", True),
    "failed": (400, reply({"name": "files/a", "state": "FAILED", "error": {"message": "bad"}}), "not_found", False),
    "gone": (
        403,
        reply({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "x"}}, 403),
        "not_found",
        False,
    ),
    "ready": (400, reply({"name": "files/a", "state": "ACTIVE"}), "invalid_request", False),
    "nobody knows": (400, Reply(b"", 503), "invalid_request", False),
}


@pytest.mark.trio
@pytest.mark.parametrize(("status", "file", "kind", "retryable"), FILES.values(), ids=FILES)
async def test_w54_a_refusal_that_comes_from_the_input_file_is_told_apart(
    status: int, file: Reply, kind: str, retryable: bool
) -> None:
    fetch = FakeFetch([Refused("no", kind="invalid_request", status=status), file])
    with pytest.raises(Refused) as refused:
        await BATCHES.create(fetch, part(file="files/a"), endpoint=ENDPOINT, identity="i")
    assert (refused.value.kind, refused.value.retryable) == (kind, retryable)


STATES: list[tuple[str | None, bool | None, bool, ProviderStatus]] = [
    ("BATCH_STATE_PENDING", None, False, "pending"),
    ("BATCH_STATE_RUNNING", False, False, "processing"),
    ("BATCH_STATE_SUCCEEDED", True, False, "completed"),
    ("BATCH_STATE_FAILED", True, True, "failed"),
    ("BATCH_STATE_CANCELLED", True, False, "cancelled"),
    ("BATCH_STATE_CANCELLED", True, True, "cancelled"),
    ("BATCH_STATE_EXPIRED", True, False, "expired"),
    ("BATCH_STATE_SUCCEEDED", None, False, "completed"),
    ("BATCH_STATE_UNSPECIFIED", None, False, "pending"),
    ("BATCH_STATE_OF_TOMORROW", False, False, "pending"),
    ("BATCH_STATE_OF_TOMORROW", True, False, "completed"),
    ("BATCH_STATE_RUNNING", True, False, "completed"),
    ("BATCH_STATE_RUNNING", True, True, "failed"),
    (None, None, False, "pending"),
    (None, True, True, "failed"),
]


@pytest.mark.trio
@pytest.mark.parametrize(("state", "done", "has_error", "status"), STATES)
async def test_b34_every_state(state: str | None, done: bool | None, has_error: bool, status: ProviderStatus) -> None:
    fields: dict[str, Any] = {"done": done} | ({"error": {"code": 3, "message": "bad"}} if has_error else {})
    seen = await BATCHES.status(FakeFetch(reply(operation(state=state, **fields))), "batches/x")
    assert seen.status == status
    assert seen.problems == ((InputProblem("INVALID_ARGUMENT", "bad"),) if has_error else ())


@pytest.mark.trio
async def test_b34_counts_are_text_and_absent_ones_are_zero() -> None:
    stats = {"requestCount": "10", "successfulRequestCount": "7", "pendingRequestCount": "3"}
    fetch = FakeFetch(reply(operation(metadata={"batchStats": stats})))
    seen = await BATCHES.status(fetch, "batches/x")
    assert (seen.total, seen.completed, seen.failed) == (10, 7, 0)
    assert seen.created_at == AT
    assert fetch.requests[0].path == "/v1/batches/x"
    bare = await BATCHES.status(FakeFetch(reply({"name": "batches/x", "new": {"field": 1}})), "batches/x")
    assert (bare.total, bare.created_at, bare.identity, bare.sources) == (0, 0, "", ())


OUTPUTS: dict[str, tuple[str, dict[str, Any], Sequence[str]]] = {
    "a file": ("SUCCEEDED", {"metadata": {"output": {"responsesFile": "files/r"}}}, ("files/r",)),
    "a file in the response alone": ("SUCCEEDED", {"response": {"responsesFile": "files/r"}}, ("files/r",)),
    "an empty file name": ("SUCCEEDED", {"metadata": {"output": {"responsesFile": ""}}}, ()),
    "in place": ("SUCCEEDED", {"metadata": {"output": inline({"response": {}})}}, ("batches/x",)),
    "in the response alone": ("SUCCEEDED", {"response": inline({}, {})}, ("batches/x",)),
    "in place, nothing": ("SUCCEEDED", {"metadata": {"output": inline()}}, ()),
    "no output": ("SUCCEEDED", {"metadata": {"output": None}, "response": None}, ()),
    "failed": ("FAILED", {"error": {"code": 13}}, ()),
    "expired with a part": ("EXPIRED", {"metadata": {"output": {"responsesFile": "files/r"}}}, ("files/r",)),
    "expired with a part in place": ("EXPIRED", {"metadata": {"output": inline({})}}, ("batches/x",)),
    "cancelled with a part": ("CANCELLED", {"metadata": {"output": inline({}, {})}}, ("batches/x",)),
    "as many as there were requests": (
        "SUCCEEDED",
        {"metadata": {"displayName": "log-b-0 b-0+2,4+1", "output": inline({}, {}, {})}},
        ("batches/x#b-0+2,4+1",),
    ),
    "fewer than there were requests": (
        "CANCELLED",
        {"metadata": {"displayName": "log-b-0 b-0+2,4+1", "output": inline({}, {})}},
        ("batches/x",),
    ),
}


@pytest.mark.trio
@pytest.mark.parametrize(("state", "fields", "sources"), OUTPUTS.values(), ids=OUTPUTS)
async def test_b34_where_results_are(state: str, fields: dict[str, Any], sources: Sequence[str]) -> None:
    shown = operation(state=f"BATCH_STATE_{state}", done=True, **fields)
    assert tuple((await BATCHES.status(FakeFetch(reply(shown)), "batches/x")).sources) == tuple(sources)


@pytest.mark.trio
async def test_w10_a_status_that_is_cut_is_asked_for_again() -> None:
    whole = json.dumps(operation(done=True, metadata={"output": inline({"a": 1})})).encode()
    for cut in (10, whole.index(b'"a"'), len(whole) - 1):
        with pytest.raises(Refused) as refused:
            await BATCHES.status(FakeFetch(Reply(whole[:cut])), "batches/x")
        assert (refused.value.kind, refused.value.retryable) == ("server_error", True)


def page(*operations: dict[str, Any], token: str = "") -> Reply:
    return reply(({"operations": operations} if operations else {}) | ({"nextPageToken": token} if token else {}))


def named(id_: str, name: str, at: str = CREATED) -> dict[str, Any]:
    return operation(id_, metadata={"displayName": name, "createTime": at})


@pytest.mark.trio
async def test_w4_a_batch_is_found_by_its_name_over_all_pages_oldest_first() -> None:
    fetch = FakeFetch(
        [
            page(named("1", "log-b-0 b-0+3", "2026-11-20T12:00:00Z"), named("2", "log-b-00"), token="t1"),
            page(named("3", "log-b-0", "2026-11-20T11:00:00Z"), named("4", "other"), token="t2"),
            page(named("5", "another log-b-0")),
        ]
    )
    found = await BATCHES.find(fetch, sought())
    assert [batch.id for batch in found] == ["batches/3", "batches/1"]
    assert [request.query.get("pageToken") for request in fetch.requests] == [None, "t1", "t2"]
    assert await BATCHES.find(FakeFetch(page()), sought()) == []


OLD = "2026-11-19T10:00:00Z"


@pytest.mark.trio
async def test_w4_old_pages_end_the_search_only_where_lists_come_newest_first() -> None:
    newest_first = FakeFetch([page(named("1", "log-b-0"), named("2", "x", OLD), token="t"), page()])
    assert len(await BATCHES.find(newest_first, sought())) == 1
    assert len(newest_first.requests) == 1
    oldest_first = FakeFetch(
        [page(named("1", "x", OLD), named("2", "x", CREATED), token="t"), page(named("3", "log-b-0"))]
    )
    assert len(await BATCHES.find(oldest_first, sought())) == 1
    mixed = FakeFetch(
        [page(named("1", "x", OLD), named("2", "x"), named("3", "x", OLD), token="t"), page(named("4", "log-b-0"))]
    )
    assert len(await BATCHES.find(mixed, sought())) == 1


@pytest.mark.trio
async def test_w4_a_list_that_goes_round_in_a_circle_is_no_list() -> None:
    with pytest.raises(Refused, match="the same page again"):
        await BATCHES.find(FakeFetch(page(named("1", "x"), token="t")), sought())


@pytest.mark.trio
@pytest.mark.parametrize("status", [200, 400, 409])
async def test_w70_a_batch_that_has_ended_needs_no_cancelling(status: int) -> None:
    ended = operation(state="BATCH_STATE_SUCCEEDED", done=True)
    fetch = FakeFetch([reply({}, status), reply(ended)])
    await BATCHES.cancel(fetch, "batches/x")
    assert (fetch.requests[0].method, fetch.requests[0].path) == ("POST", "/v1/batches/x:cancel")
    assert len(fetch.requests) == (1 if status == 200 else 2)


@pytest.mark.trio
async def test_w70_a_batch_that_goes_on_is_to_be_cancelled_again() -> None:
    with pytest.raises(Refused) as refused:
        await BATCHES.cancel(FakeFetch([reply({}, 400), reply(operation())]), "batches/x")
    assert refused.value.retryable


async def read(fetch: FakeFetch, source: str, skip_bytes: int = 0) -> list[bytes]:
    async with BATCHES.results(fetch, source, skip_bytes=skip_bytes) as runs:
        return [line async for run in runs for line in run]


ITEMS = [{"response": {"a": "x" * 30}, "metadata": {"key": "b-0"}}, {"error": {"code": 3}}, {"response": {"b": [1]}}]
SHOWN = operation(
    state="BATCH_STATE_SUCCEEDED", done=True, metadata={"output": inline(*ITEMS)}, response=inline(*ITEMS)
)


@pytest.mark.trio
@pytest.mark.parametrize("indent", [None, 2], ids=["dense", "pretty"])
async def test_b33_responses_in_the_operation_can_be_read_on_from_behind_each(indent: int | None) -> None:
    body = chunks_of(json.dumps(SHOWN, indent=indent).encode(), 11)
    source = "batches/x#b-0+2,4+1"
    fetch = FakeFetch(Reply(body))
    lines = await read(fetch, source)
    assert [json.loads(line).get("key") for line in lines] == [None, "b-1", "b-4"]
    assert fetch.requests[0].path == "/v1/batches/x"
    place = 0
    for n, line in enumerate(lines):
        assert await read(FakeFetch(Reply(body)), source, place) == lines[n:]
        place += len(line) + 1
    assert await read(FakeFetch(Reply(body)), source, place) == []
    for wrong in (place + 1, place + 500, 3, place - 2):
        with pytest.raises(Unknown):
            await read(FakeFetch(Reply(body)), source, wrong)


@pytest.mark.trio
async def test_w22_responses_that_are_cut_are_not_taken_for_all() -> None:
    whole = json.dumps(SHOWN).encode()
    for cut in (20, whole.index(b'"code"'), whole.index(b'"b"')):
        with pytest.raises((Unknown, Refused)) as failed:
            await read(FakeFetch(Reply(whole[:cut])), "batches/x")
        assert failed.value.retryable


@pytest.mark.trio
async def test_a_page_in_the_place_of_responses_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        await read(FakeFetch(Reply(b"<html>", 200, {"content-type": "text/html"})), "batches/x")
    assert refused.value.retryable


@pytest.mark.trio
async def test_responses_in_a_file_are_downloaded_where_clients_do() -> None:
    data = b'{"key":"b-0"}\n{"key":"b-1"}\n'
    file = reply({"name": "files/r", "sizeBytes": str(len(data))})
    fetch = FakeFetch([file, Reply(data, 200, {"content-type": "application/jsonl"})])
    assert await read(fetch, "files/r") == data.splitlines()
    assert (fetch.requests[1].path, dict(fetch.requests[1].query)) == (
        "/download/v1/files/r:download",
        {"alt": "media"},
    )
    with pytest.raises(Unknown, match="google sent"):
        await read(FakeFetch([file, Reply(data[:-5], 200, {})]), "files/r")


@pytest.mark.trio
async def test_a_file_of_responses_that_is_gone_is_not_asked_for_again() -> None:
    gone = reply({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "x"}}, 403)
    with pytest.raises(Refused, match="48 hours") as refused:
        await read(FakeFetch(gone), "files/r")
    assert (refused.value.kind, refused.value.retryable) == ("not_found", False)
