"""Files over a fake `Fetch`: the form that is sent, and finding a file again."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncGenerator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser, parse_options_header

from perdure.actors.fetch import HttpRequest, Refused, Unknown
from perdure.actors.remote_files import RemoteFiles
from perdure.adapters.multipart import boundary_of, file_form
from perdure.adapters.openai import OpenAIRemoteFiles
from tests.adapters.openai.fake import FakeFetch, Reply, chunks_of, file, page, reply
from tests.adapters.parts import lines_file

FILES: RemoteFiles = OpenAIRemoteFiles()
AT_S = 1_795_190_000
AT = AT_S * 1_000_000


async def _body_of(request: HttpRequest) -> bytes:
    assert callable(request.body)
    return b"".join([chunk async for chunk in request.body()])


def _parts(content_type: str, body: bytes) -> list[tuple[dict[bytes, bytes], bytes]]:
    """The parts of a form as an independent parser reads them: options of the disposition, and content."""
    parts: list[tuple[dict[bytes, bytes], bytes]] = []
    names: list[bytes] = []
    value = bytearray()

    def header_field(data: bytes, start: int, end: int) -> None:
        names.append(data[start:end].lower())

    def header_value(data: bytes, start: int, end: int) -> None:
        if names[-1] == b"content-disposition":
            parts.append((parse_options_header(data[start:end])[1], b""))

    def part_data(data: bytes, start: int, end: int) -> None:
        value.extend(data[start:end])

    def part_end() -> None:
        parts[-1] = (parts[-1][0], bytes(value))
        value.clear()

    boundary = parse_options_header(content_type)[1][b"boundary"]
    parser = MultipartParser(
        boundary,
        {
            "on_header_field": header_field,
            "on_header_value": header_value,
            "on_part_data": part_data,
            "on_part_end": part_end,
        },
    )
    parser.write(body)
    parser.finalize()
    return parts


@pytest.mark.trio
async def test_upload_sends_the_fields_and_then_the_file() -> None:
    fetch = FakeFetch(reply(file(filename="pfile_1.jsonl", bytes=16, expires_at=AT_S + 60)))
    stored = await FILES.upload(fetch, lines_file(chunks_of(b'{"n":0}\n{"n":1}\n'), 16, "pfile_1.jsonl"))
    (request,) = fetch.requests
    assert (request.method, request.path, request.safety) == ("POST", "/files", "create")
    body = await _body_of(request)
    assert request.body_bytes == len(body)
    assert _parts(request.headers["content-type"], body) == [
        ({b"name": b"purpose"}, b"batch"),
        ({b"name": b"file", b"filename": b"pfile_1.jsonl"}, b'{"n":0}\n{"n":1}\n'),
    ]
    assert (stored.id, stored.filename, stored.size_bytes) == ("file-1", "pfile_1.jsonl", 16)
    assert (stored.created_at, stored.expires_at) == (AT, AT + 60_000_000)


@pytest.mark.trio
async def test_w22_a_form_can_be_opened_again_and_gives_the_same_bytes() -> None:
    fetch = FakeFetch([reply(file()), reply(file())])
    for _ in range(2):
        await FILES.upload(fetch, lines_file(chunks_of(b"{}\n"), 3, "a.jsonl"))
    first, second = fetch.requests
    assert await _body_of(first) == await _body_of(first) == await _body_of(second)
    assert first.headers == second.headers


@given(st.text(min_size=1, max_size=20), st.binary(max_size=60), st.integers(1, 9))
def test_w22_the_length_is_exact_and_the_form_readable(filename: str, content: bytes, chunk: int) -> None:
    filename = filename.encode("utf-8", "replace").decode()
    form = file_form([("purpose", "batch")], filename=filename, file=chunks_of(content, chunk), file_bytes=len(content))

    async def read() -> bytes:
        return b"".join([chunk async for chunk in form.body()])

    body = trio.run(read)
    assert len(body) == form.size_bytes
    assert body.startswith(f"--{boundary_of(filename)}\r\n".encode())
    assert body.count(b"\r\n--" + boundary_of(filename).encode()) == 2
    assert content in body


@pytest.mark.trio
@pytest.mark.parametrize(
    ("filename", "written"),
    [('a"b.jsonl', "a%22b.jsonl"), ("a\r\nX: y.jsonl", "a%0D%0AX: y.jsonl"), ("fjærland.jsonl", "fjærland.jsonl")],
)
async def test_a_name_cannot_leave_its_header(filename: str, written: str) -> None:
    form = file_form([], filename=filename, file=chunks_of(b"{}"), file_bytes=2)
    body = b"".join([chunk async for chunk in form.body()])
    assert body.splitlines()[1] == f'Content-Disposition: form-data; name="file"; filename="{written}"'.encode()
    assert len(_parts(form.content_type, body)) == 1


@pytest.mark.trio
async def test_w22_two_hundred_megabytes_are_sent_in_bounded_memory() -> None:
    size = 200_000_000

    async def source() -> AsyncGenerator[bytes]:
        for _ in range(size // 100_000):
            await trio.lowlevel.checkpoint()
            yield b"x" * 100_000

    fetch = FakeFetch(reply(file()))
    tracemalloc.start()
    try:
        await FILES.upload(fetch, lines_file(source, size, "a.jsonl"))
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
    assert request.deadline_s > 2_000, "time enough for a slow line"


@pytest.mark.trio
async def test_a_form_that_is_left_early_closes_its_source() -> None:
    closed = False

    async def source() -> AsyncGenerator[bytes]:
        nonlocal closed
        try:
            while True:
                yield b"x"
        finally:
            closed = True

    body = file_form([], filename="a", file=source, file_bytes=10).body()
    await anext(body)
    await anext(body)
    await body.aclose()  # type: ignore[attr-defined]
    assert closed


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [Reply(b"<html>", 200, {"content-type": "text/html"}), Reply(b"{"), reply({"object": "file"})],
    ids=["web page", "cut", "no id"],
)
async def test_w23_an_upload_whose_answer_cannot_be_read_is_unknown(answer: Reply) -> None:
    with pytest.raises(Unknown):
        await FILES.upload(FakeFetch(answer), lines_file(chunks_of(b"{}"), 2, "a"))


def _listing(objects: list[dict[str, object]]) -> FakeFetch:
    def script(request: HttpRequest) -> Reply:
        assert (request.path, request.safety) == ("/files", "read")
        assert request.query["order"] == "desc"
        ids = [item["id"] for item in objects]
        start = ids.index(request.query["after"]) + 1 if "after" in request.query else 0
        end = start + 100
        return page(objects[start:end], has_more=end < len(objects))

    return FakeFetch(script)


@pytest.mark.trio
async def test_w4_find_matches_name_and_size_over_all_pages() -> None:
    objects = [
        file(f"file-{n}", created_at=AT_S - n, filename=f"f-{n % 120}.jsonl", bytes=4 if n == 125 else 3)
        for n in range(250)
    ]
    fetch = _listing(objects)
    found = await FILES.find(fetch, filename="f-5.jsonl", size_bytes=3, since=AT - 500_000_000)
    assert [stored.id for stored in found] == ["file-245", "file-5"]
    assert len(fetch.requests) == 3


@pytest.mark.trio
async def test_w4_find_ends_behind_the_time_of_the_intent() -> None:
    objects = [file(f"file-{n}", created_at=AT_S - 10 * n) for n in range(2_000)]
    fetch = _listing(objects)
    assert list(await FILES.find(fetch, filename="b", size_bytes=1, since=AT)) == []
    assert len(fetch.requests) == 1


@pytest.mark.trio
async def test_a_file_that_could_not_be_processed_is_not_found() -> None:
    objects = [file("file-2", status="error"), file("file-1", status="processed")]
    found = await FILES.find(_listing(objects), filename="a.jsonl", size_bytes=3, since=AT)
    assert [stored.id for stored in found] == ["file-1"]


@pytest.mark.trio
async def test_w4_a_list_that_cannot_be_read_is_never_taken_for_absence() -> None:
    with pytest.raises(Refused):
        await FILES.find(FakeFetch(Reply(b"{")), filename="a", size_bytes=1, since=AT)
