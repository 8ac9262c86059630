"""Result files, streamed: any place, any chunks, every way to end early."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import AsyncGenerator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.fetch import FetchError, HttpRequest, Refused, Unknown
from perdure.adapters import jsonl
from perdure.adapters.openai import OpenAIBatches
from tests.adapters.openai.fake import Chunks, FakeFetch, Reply, chunks_of, file, reply

BATCHES = OpenAIBatches()
DATA = b'{"n":0}\n{"n":1}\n\n{"n":2}\r\n{"n":3}\n'
OCTETS = {"content-type": "application/octet-stream"}


def serving(data: bytes, *, ranges: bool = False, size: int | None = None, chunk: int = 7) -> FakeFetch:
    """A file's object and content. `size` is told in the object, None for nothing."""

    def script(request: HttpRequest) -> Reply:
        if not request.path.endswith("/content"):
            assert request.path == "/files/file-1"
            return reply(file(bytes=size))
        assert request.safety == "read"
        asked = request.headers.get("range")
        if asked is None or not ranges:
            return Reply(chunks_of(data, chunk), 200, OCTETS)
        first = int(asked.removeprefix("bytes=").removesuffix("-"))
        if first >= len(data):
            return Reply(b"{}", 416, {"content-range": f"bytes */{len(data)}"})
        said = {"content-range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
        return Reply(chunks_of(data[first:], chunk), 206, OCTETS | said)

    return FakeFetch(script)


async def read(fetch: FakeFetch, skip_bytes: int = 0) -> list[bytes]:
    """All lines of the file."""
    async with BATCHES.results(fetch, "file-1", skip_bytes=skip_bytes) as runs:
        return [line async for run in runs for line in run]


@pytest.mark.trio
async def test_lines_come_without_their_newlines() -> None:
    fetch = serving(DATA, size=len(DATA))
    assert await read(fetch) == [b'{"n":0}', b'{"n":1}', b"", b'{"n":2}\r', b'{"n":3}']
    assert fetch.open_streams == 0


@given(
    st.lists(st.sampled_from([b"{}", b"", b'{"a":"\xc3\xa9"}', b"[1]"]), max_size=8),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 9),
)
def test_w22_reading_on_behind_any_line_gives_the_rest(
    lines: list[bytes], ended: bool, ranges: bool, told: bool, chunk: int
) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")

    async def check() -> None:
        whole = await read(serving(data, chunk=chunk, size=len(data) if told else None))
        *complete, last = data.split(b"\n")
        assert whole == ([*complete, last] if last else complete)
        cursor = 0
        for taken in range(len(whole) + 1):
            fetch = serving(data, ranges=ranges, chunk=chunk, size=len(data) if told else None)
            assert await read(fetch, cursor) == whole[taken:]
            cursor += len(whole[taken]) + 1 if taken < len(whole) else 0

    trio.run(check)


@pytest.mark.trio
async def test_w22_a_confirmed_range_saves_what_was_read() -> None:
    fetch = serving(DATA, ranges=True, size=len(DATA))
    assert await read(fetch, 16) == [b"", b'{"n":2}\r', b'{"n":3}']
    assert [request.headers.get("range") for request in fetch.requests] == [None, "bytes=16-"]


@pytest.mark.trio
@pytest.mark.parametrize(
    "said",
    ["", "bytes 0-33/34", "bytes 8-20/34", "bytes 8-33", "items 8-33/34"],
    ids=["none", "another start", "another end", "no size", "another unit"],
)
async def test_w22_a_range_that_is_not_confirmed_is_not_believed(said: str) -> None:
    def script(request: HttpRequest) -> Reply:
        if "range" in request.headers:
            return Reply(b"GARBAGE", 206, OCTETS | {"content-range": said})
        return Reply(DATA, 200, OCTETS) if request.path.endswith("/content") else reply(file(bytes=None))

    assert (await read(FakeFetch(script), 8))[0] == b'{"n":1}'


@pytest.mark.trio
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("data", "end"), [(b"{}\n{}\n", 6), (b"{}\n{}", 6)], ids=["with newline", "without"])
async def test_w22_nothing_is_left_behind_the_end(ranges: bool, told: bool, data: bytes, end: int) -> None:
    assert await read(serving(data, ranges=ranges, size=len(data) if told else None), end) == []


@pytest.mark.trio
async def test_w22_a_last_line_without_a_newline_counts() -> None:
    assert await read(serving(b"{}\n[1]")) == [b"{}", b"[1]"]


@pytest.mark.trio
async def test_w22_a_last_line_that_is_no_json_counts_if_the_file_is_whole() -> None:
    assert await read(serving(b'{}\n{"cu', size=7)) == [b"{}", b'{"cu']


@pytest.mark.trio
@pytest.mark.parametrize(
    ("data", "size", "skip"),
    [
        (b'{}\n{"cu', None, 0),
        (b'{}\n{"cu', 20, 0),
        (b"{}\n", 6, 0),
        (b"{}\n", 6, 3),
        (b"", 6, 0),
        (b"{}\n", None, 9),
        (b"{}\n", 3, 9),
    ],
    ids=[
        "within a line",
        "within a line, by size",
        "between lines",
        "at the place to read on from",
        "before anything",
        "before what was read",
        "before what was read, by size",
    ],
)
async def test_w22_a_file_that_ends_early_is_unknown(data: bytes, size: int | None, skip: int) -> None:
    with pytest.raises(Unknown):
        await read(serving(data, size=size), skip)


@pytest.mark.trio
async def test_w22_a_cut_body_passes_through_behind_its_lines() -> None:
    cut = Unknown("the connection broke")

    async def source() -> AsyncGenerator[bytes]:
        yield b'{"n":0}\n{"n"'
        raise cut

    fetch = FakeFetch([reply(file(bytes=99)), Reply(source)])
    seen: list[bytes] = []

    async def collect() -> None:
        async with BATCHES.results(fetch, "file-1", skip_bytes=0) as runs:
            async for run in runs:
                seen.extend(run)

    with pytest.raises(Unknown) as caught:
        await collect()
    assert caught.value is cut
    assert seen == [b'{"n":0}']


@pytest.mark.trio
async def test_a_web_page_is_not_a_result_file() -> None:
    with pytest.raises(Refused) as caught:
        await read(FakeFetch([reply(file(bytes=None)), Reply(b"<html>\n", 200, {"content-type": "Text/HTML; a=b"})]))
    assert (caught.value.kind, caught.value.retryable) == ("server_error", True)


@pytest.mark.trio
async def test_a_line_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    given_bytes = 0

    async def source() -> AsyncGenerator[bytes]:
        nonlocal given_bytes
        while True:
            await trio.lowlevel.checkpoint()
            given_bytes += 1 << 20
            yield b"x" * (1 << 20)

    with trio.fail_after(30), pytest.raises(Refused) as caught:
        await read(FakeFetch([reply(file(bytes=None)), Reply(source, 200, OCTETS)]))
    assert not caught.value.retryable
    assert given_bytes <= jsonl.MAX_LINE_BYTES + (1 << 20)


@pytest.mark.trio
async def test_leaving_early_closes_the_answer() -> None:
    fetch = serving(DATA)
    async with BATCHES.results(fetch, "file-1", skip_bytes=0) as runs:
        assert list(await anext(runs)) == [b'{"n":0}']
    assert fetch.open_streams == 0


@pytest.mark.trio
async def test_an_error_of_the_port_passes_through() -> None:
    gone: FetchError = Refused("no such file", kind="not_found", status=404)
    with pytest.raises(Refused) as caught:
        await read(FakeFetch(gone))
    assert caught.value is gone


def _many(lines: int, line: bytes, chunk: int = 65_536) -> Chunks:
    """`lines` times `line` in chunks, made as they are asked for."""

    async def source() -> AsyncGenerator[bytes]:
        block = line * (chunk // len(line) + 2)
        total, at = lines * len(line), 0
        while at < total:
            await trio.lowlevel.checkpoint()
            start = at % len(line)
            yield block[start : start + min(chunk, total - at)]
            at += chunk

    return source


@pytest.mark.trio
async def test_w22_fifty_thousand_lines_stream_in_bounded_memory() -> None:
    line = b'{"custom_id":"b-1","response":{"status_code":200,"body":{"output":[],"pad":"%b"}}}\n' % (b"x" * 1_420)
    size = 50_000 * len(line)
    fetch = FakeFetch([reply(file(bytes=size)), Reply(_many(50_000, line), 200, OCTETS)])
    count = 0
    tracemalloc.start()
    try:
        async with BATCHES.results(fetch, "file-1", skip_bytes=0) as runs:
            async for run in runs:
                count += len(run)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 50_000
    assert size > 70_000_000
    assert peak < 2_000_000


@pytest.mark.trio
async def test_w22_fifty_thousand_lines_cost_well_under_a_second() -> None:
    line = b'{"custom_id":"b-1","response":{"status_code":200,"body":{"output":[],"pad":"%b"}}}\n' % (b"x" * 1_420)
    fetch = FakeFetch([reply(file(bytes=50_000 * len(line))), Reply(_many(50_000, line), 200, OCTETS)])
    began = time.process_time()
    count = 0
    async with BATCHES.results(fetch, "file-1", skip_bytes=0) as runs:
        async for run in runs:
            for raw in run:
                parsed = BATCHES.parse_line(raw)
                assert parsed is not None
                count += parsed.ok
    assert count == 50_000
    assert time.process_time() - began < 1.0
