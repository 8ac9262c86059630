"""Anthropic's files over a fake `Fetch`: the form that is sent, every page of a list, and what each answer means."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest
import trio

from perdure.actors.fetch import HttpRequest, Refused, Unknown
from perdure.actors.remote_files import RemoteFile, RemoteFiles, Upload
from perdure.adapters.anthropic import AnthropicFiles, authorize
from perdure.events.errors import InvalidRequest
from tests.adapters.openai.fake import FakeFetch, Reply, chunks_of, reply

pytestmark = pytest.mark.trio

FILES: RemoteFiles = AnthropicFiles()
AT = 1_795_190_400_000_000
"""2026-11-20T16:00:00Z, in µs since 1970."""


def shown(id_: str = "file_1", **fields: object) -> dict[str, object]:
    """A file as Anthropic shows one."""
    return {
        "id": id_,
        "type": "file",
        "filename": "a.txt",
        "mime_type": "text/plain",
        "size_bytes": 3,
        "created_at": "2026-11-20T16:00:00Z",
        "expires_at": None,
        "downloadable": False,
        **fields,
    }


def upload_of(data: bytes, *, filename: str = "a.txt", mime_type: str = "text/plain") -> Upload:
    """What is to be stored."""

    async def keep(session: str) -> None:
        raise AssertionError("there are no sessions here")

    return Upload(
        filename=filename,
        mime_type=mime_type,
        purpose="",
        size_bytes=len(data),
        open=lambda offset: chunks_of(data[offset:])(),
        keep=keep,
    )


def page(files: Sequence[object], next_page: str | None = None) -> Reply:
    """A page of the list."""
    return reply({"data": list(files), "next_page": next_page})


async def body_of(request: HttpRequest) -> bytes:
    """What would be sent."""
    assert callable(request.body)
    return b"".join([chunk async for chunk in request.body()])


async def listed(fetch: FakeFetch, files: RemoteFiles = FILES) -> list[str]:
    """The ids in the listing."""
    return [file.id async for file in files.listing(fetch)]


async def test_an_upload_is_one_streamed_form_of_known_length() -> None:
    fetch = FakeFetch(reply(shown("file_9", expires_at="2026-11-20T17:00:00.5Z")))
    stored = await FILES.upload(fetch, upload_of(b"abc"))
    (request,) = fetch.requests
    assert (request.method, request.path, request.safety) == ("POST", "/v1/files", "create")
    body = await body_of(request)
    assert request.body_bytes == len(body)
    assert b'name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nabc\r\n' in body
    assert await body_of(request) == body, "another attempt sends the same bytes"
    assert stored == RemoteFile(
        id="file_9",
        reference="file_9",
        filename="a.txt",
        size_bytes=3,
        created_at=AT,
        expires_at=AT + 3_600_500_000,
        mime_type="text/plain",
    )


async def test_w56_a_large_file_is_sent_in_bounded_memory() -> None:
    size = 100_000_000

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // 100_000):
            await trio.lowlevel.checkpoint()
            yield b"x" * 100_000

    whole = upload_of(b"")
    upload = Upload(
        filename="a.pdf",
        mime_type="application/pdf",
        purpose="",
        size_bytes=size,
        open=lambda offset: pieces(),
        keep=whole.keep,
    )
    fetch = FakeFetch(reply(shown()))
    tracemalloc.start()
    try:
        await FILES.upload(fetch, upload)
        (request,) = fetch.requests
        assert callable(request.body)
        sent = 0
        async for chunk in request.body():
            sent += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent == request.body_bytes
    assert peak < 1_000_000
    assert request.deadline_s > 1_000, "time enough for a slow line"


@pytest.mark.parametrize(
    "answer",
    [Reply(b"<html>", 200, {"content-type": "text/html"}), Reply(b"{"), reply({"type": "file"}), reply({"id": ""})],
    ids=["web page", "cut", "no id", "an empty id"],
)
async def test_an_upload_whose_answer_cannot_be_read_is_unknown(answer: Reply) -> None:
    with pytest.raises(Unknown):
        await FILES.upload(FakeFetch(answer), upload_of(b"abc"))


async def test_w55_the_listing_has_every_page() -> None:
    fetch = FakeFetch(
        [page([shown("a"), shown("b")], "page_2"), page([], "page_3"), page([shown("c")], "page_4"), page([])]
    )
    assert await listed(fetch) == ["a", "b", "c"]
    assert [request.query for request in fetch.requests] == [
        {"limit": "1000"},
        {"limit": "1000", "page": "page_2"},
        {"limit": "1000", "page": "page_3"},
        {"limit": "1000", "page": "page_4"},
    ]
    assert {(request.method, request.path, request.safety) for request in fetch.requests} == {
        ("GET", "/v1/files", "read")
    }


@pytest.mark.parametrize(
    "answers",
    [
        [page([shown()], "page_2"), page([shown()], "page_2")],
        [reply({"data": [shown()], "has_more": True, "last_id": "file_1"})],
        [Reply(b"{")],
        [reply({"data": None})],
        [page([shown()], "page_2"), Reply(b"<html>", 200, {"content-type": "text/html"})],
    ],
    ids=["the same page again", "more without a place", "cut", "no list", "a web page later on"],
)
async def test_w55_a_list_that_cannot_be_read_whole_is_never_a_short_one(answers: list[Reply]) -> None:
    with pytest.raises(Refused) as refused:
        await listed(FakeFetch(answers))
    assert refused.value.retryable
    with pytest.raises(Refused):
        await FILES.find(FakeFetch(answers), filename="b", size_bytes=1, since=0)


async def test_find_matches_name_and_size_over_all_pages_oldest_first() -> None:
    fetch = FakeFetch(
        [
            page([shown("new", created_at="2026-11-20T16:00:05Z"), shown("other", filename="b.txt")], "page_2"),
            page([shown("longer", size_bytes=4), shown("old", created_at="2026-11-20T16:00:01+00:00")]),
        ]
    )
    found = await FILES.find(fetch, filename="a.txt", size_bytes=3, since=AT)
    assert [file.id for file in found] == ["old", "new"]


async def test_find_looks_for_the_name_that_is_kept() -> None:
    found = await FILES.find(FakeFetch(page([shown()])), filename="folder/a.txt", size_bytes=3, since=AT)
    assert [file.id for file in found] == ["file_1"]


async def test_find_ends_behind_the_time_of_the_intent() -> None:
    fetch = FakeFetch(
        [
            page([shown("a"), shown("b", created_at="2026-11-20T15:55:01Z")], "page_2"),
            page([shown("c", created_at="2026-11-20T15:54:59Z")], "page_3"),
        ]
    )
    found = await FILES.find(fetch, filename="a.txt", size_bytes=3, since=AT)
    assert len(found) == 3, "what is a little older than asked is told all the same"
    assert len(fetch.requests) == 2


@pytest.mark.parametrize("status", [403, 404])
async def test_a_file_that_is_gone_or_not_ours_is_none(status: int) -> None:
    said = {"type": "error", "error": {"type": "not_found_error", "message": "File not found"}, "request_id": "req_1"}
    assert await FILES.info(FakeFetch(reply(said, status)), "file_1") is None


async def test_a_page_that_says_404_in_anthropics_place_proves_nothing() -> None:
    answer = Reply(b"<html>", 404, {"content-type": "text/html"})
    for call in (FILES.info, FILES.delete):
        with pytest.raises(Refused) as refused:
            await call(FakeFetch(answer), "file_1")
        assert refused.value.retryable


async def test_deleting_what_is_gone_is_fine() -> None:
    gone = reply({"type": "error", "error": {"type": "not_found_error", "message": "File not found"}}, 404)
    fetch = FakeFetch([reply({"id": "file_1", "type": "file_deleted"}), gone])
    await FILES.delete(fetch, "file_1")
    await FILES.delete(fetch, "file_1")
    assert {(request.method, request.path, request.safety) for request in fetch.requests} == {
        ("DELETE", "/v1/files/file_1", "idempotent")
    }


async def test_f15_an_id_cannot_lead_to_another_host_or_route() -> None:
    fetch = FakeFetch([reply(shown()), reply(shown())])
    await FILES.info(fetch, "https://elsewhere.test/x")
    await FILES.info(fetch, "../messages?x")
    assert [request.path for request in fetch.requests] == [
        "/v1/files/https%3A%2F%2Felsewhere.test%2Fx",
        "/v1/files/..%2Fmessages%3Fx",
    ]


async def test_what_is_unknown_or_missing_in_a_file_never_fails() -> None:
    known = await FILES.info(FakeFetch(reply({"id": "file_1", "unheard_of": {}})), "file_1")
    assert known == RemoteFile(id="file_1", reference="file_1", filename="", size_bytes=0, created_at=0)


async def test_the_store_says_what_it_takes() -> None:
    assert (FILES.name, FILES.searchable, FILES.max_bytes, FILES.purpose) == ("anthropic", True, 500_000_000, "")
    assert set(FILES.accepts) == {
        "application/pdf",
        "text/plain",
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
    }


async def test_every_request_names_its_key_and_its_version() -> None:
    assert authorize(" any-key\n") == {"x-api-key": "any-key", "anthropic-version": "2026-10-21"}
    with pytest.raises(InvalidRequest, match="ANTHROPIC_API_KEY"):
        authorize("two words")


async def test_a_list_that_is_left_early_is_closed() -> None:
    files = FILES.listing(FakeFetch([page([shown("a"), shown("b")], "page_2")]))
    assert (await anext(files)).id == "a"
    assert isinstance(files, AsyncGenerator)
    await files.aclose()
