"""Reading a file's content from its provider: the whole of it or an error, whatever breaks off."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.fetch import HttpRequest, Unknown
from perdure.adapters.content import TRIES, filename_of, open_content
from tests.adapters.openai.fake import Chunks, FakeFetch, Reply

DATA: Final = bytes(range(256)) * 4
CUT: Final = Unknown("cut", retryable=True)


def source(data: bytes, *, cut_at: int | None = None, chunk: int = 100) -> Chunks:
    """A body that breaks off behind `cut_at` bytes."""

    async def chunks() -> AsyncGenerator[bytes]:
        for start in range(0, len(data) if cut_at is None else cut_at, chunk):
            await trio.lowlevel.checkpoint()
            yield data[start : start + chunk] if cut_at is None else data[start : min(start + chunk, cut_at)]
        if cut_at is not None:
            raise CUT

    return chunks


def whole(*, cut_at: int | None = None, size: int | None = len(DATA)) -> Reply:
    headers = {"content-type": "image/png"} | ({} if size is None else {"content-length": str(size)})
    return Reply(source(DATA, cut_at=cut_at), 200, headers)


def rest(first: int, *, said: str = "", cut_at: int | None = None) -> Reply:
    headers = {"content-range": said or f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"}
    return Reply(source(DATA[first:], cut_at=cut_at), 206, headers)


async def read(fetch: FakeFetch) -> bytes:
    async with open_content(fetch, "/files/f/content") as opened:
        return b"".join([chunk async for chunk in opened.chunks])


def ranges(fetch: FakeFetch) -> list[str]:
    return [request.headers.get("range", "") for request in fetch.requests]


@pytest.mark.trio
async def test_f15_what_breaks_off_is_asked_for_from_there_on() -> None:
    fetch = FakeFetch([whole(cut_at=300), rest(300, cut_at=250), rest(550)])
    assert await read(fetch) == DATA
    assert ranges(fetch) == ["", "bytes=300-", "bytes=550-"]
    assert fetch.open_streams == 0


@pytest.mark.trio
async def test_f15_a_provider_without_ranges_sends_it_again_and_what_is_known_is_passed_over() -> None:
    assert await read(FakeFetch([whole(cut_at=350), whole(cut_at=200), whole()])) == DATA


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(rest(301, said=f"bytes 301-1023/{len(DATA)}"), id="another place"),
        pytest.param(rest(300, said=f"bytes 300-500/{len(DATA)}"), id="not to the end"),
        pytest.param(rest(300, said="bytes"), id="no range"),
        pytest.param(Reply(b"", 416), id="no such range"),
    ],
)
async def test_f15_a_rest_that_is_not_the_rest_is_an_error(answer: Reply) -> None:
    with pytest.raises(Unknown, match="byte 300"):
        await read(FakeFetch([whole(cut_at=300), answer]))


@pytest.mark.trio
async def test_f15_an_end_before_the_size_is_no_end() -> None:
    short = Reply(source(DATA[:500]), 200, {"content-length": str(len(DATA))})
    assert await read(FakeFetch([short, rest(500)])) == DATA
    long = Reply(source(DATA + b"x"), 200, {"content-length": str(len(DATA))})
    with pytest.raises(Unknown):
        await read(FakeFetch([long, Reply(b"", 416)]))


@pytest.mark.trio
async def test_f15_nothing_new_several_times_in_a_row_is_given_up() -> None:
    fetch = FakeFetch([whole(cut_at=300), *[rest(300, cut_at=0)] * 10])
    with pytest.raises(Unknown, match="cut"):
        await read(fetch)
    assert len(fetch.requests) == TRIES


@pytest.mark.trio
async def test_f15_the_head_tells_name_type_and_size_and_nothing_is_read_ahead() -> None:
    reply = whole()
    reply.headers = {**reply.headers, "content-disposition": 'attachment; filename="chart.png"'}
    fetch = FakeFetch(reply)
    async with open_content(fetch, "/files/f/content", query={"alt": "media"}) as opened:
        assert (opened.filename, opened.mime_type, opened.size_bytes) == ("chart.png", "image/png", len(DATA))
        assert await anext(aiter(opened.chunks)) == DATA[:100]
    assert fetch.open_streams == 0, "it is closed when it is left early"
    assert isinstance(fetch.requests[0], HttpRequest)
    assert fetch.requests[0].query == {"alt": "media"}


@pytest.mark.trio
@pytest.mark.parametrize("kind", ["application/octet-stream", "application/binary", ""])
async def test_f15_a_type_that_tells_nothing_is_none(kind: str) -> None:
    async with open_content(FakeFetch(Reply(source(DATA), 200, {"content-type": kind})), "/f") as opened:
        assert (opened.filename, opened.mime_type, opened.size_bytes) == (None, None, None)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.png"', "a b.png"),
        ("attachment; filename=a.png", "a.png"),
        ("attachment; filename*=UTF-8''fj%C3%B8rd.png", "fjørd.png"),
        ("inline", None),
        ("", None),
        ("attachment; filename=", None),
    ],
)
def test_f15_names_in_headers(header: str, name: str | None) -> None:
    assert filename_of(header) == name


@given(st.text(max_size=200))
def test_f15_no_header_is_an_error(header: str) -> None:
    name = filename_of(header)
    assert name is None or name
