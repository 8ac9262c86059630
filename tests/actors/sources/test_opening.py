"""Every kind of source becomes one stream of bytes with a name, a type and, where it is known, an exact size."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from perdure.actors.sources import Content, Opened, open_source
from perdure.actors.sources.content import CHUNK_BYTES
from perdure.events.errors import InvalidSource
from perdure.events.messages import DataUrl, FileReference, Inline, ProviderRef, Url
from perdure.store.disk import InlineDisk, ThreadDisk
from tests.actors.sources.samples import PDF, PNG

T = TypeVar("T")

DISK = InlineDisk()


async def _all(content: Content) -> bytes:
    return b"".join([chunk async for chunk in content.chunks])


async def _read(source: Any, **how: Any) -> tuple[bytes, str, str, int | None]:
    """Its bytes, safe name, MIME type and size."""
    async with open_source(source, disk=DISK, **how) as content:
        return await _all(content), content.name.safe, content.media_type.mime_type, content.size_bytes


async def _refusal(source: Any, **how: Any) -> InvalidSource:
    """What reading all of it is refused with."""
    with pytest.raises(InvalidSource) as caught:
        await _read(source, **how)
    return caught.value


async def _stream(*chunks: Any) -> AsyncIterator[Any]:
    for chunk in chunks:
        await trio.lowlevel.checkpoint()
        yield chunk


# ---------------------------------------------------------------- each kind


@pytest.mark.trio
async def test_f2_each_kind_of_source_reads_back_identically(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    size = len(PNG)
    assert await _read(path) == (PNG, "picture.png", "image/png", size)
    assert await _read(PNG) == (PNG, "file.png", "image/png", size)
    assert await _read(bytearray(PNG)) == (PNG, "file.png", "image/png", size)
    assert await _read(Inline(PNG, "image/png")) == (PNG, "file.png", "image/png", size)
    assert await _read(io.BytesIO(PNG)) == (PNG, "file.png", "image/png", size)
    assert await _read(_stream(PNG[:3], b"", PNG[3:])) == (PNG, "file.png", "image/png", None)
    assert await _read(DataUrl("data:,a%20b")) == (b"a b", "file.txt", "text/plain", 3)
    with path.open("rb") as file:
        assert await _read(file) == (PNG, "picture.png", "image/png", size)
        assert not file.closed


@pytest.mark.trio
async def test_f1_what_the_caller_says_wins_over_what_the_source_says(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a,b\n")
    found = await _read(path, filename="x/table.csv", mime_type="text/csv; charset=utf-8")
    assert found == (b"a,b\n", "table.csv", "text/csv", 4)
    async with open_source(path, disk=DISK, filename="x/table.csv", mime_type="text/csv; charset=utf-8") as content:
        assert content.name.shown == "x/table.csv"
        assert content.media_type.charset == "utf-8"


@pytest.mark.trio
async def test_w57_an_empty_type_is_none_and_the_bytes_tell() -> None:
    assert (await _read(Inline(PDF, "")))[1:3] == ("file.pdf", "application/pdf")
    assert (await _read(b"\0\x01\xff", mime_type=""))[2] == "application/octet-stream"


@pytest.mark.trio
async def test_a_wrong_type_is_corrected_and_noted() -> None:
    async with open_source(Inline(PNG, "application/pdf"), disk=DISK) as content:
        assert content.media_type.mime_type == "image/png"
        assert content.media_type.corrected_from == "application/pdf"


@pytest.mark.trio
@pytest.mark.parametrize("text", ["a.png", "https://example.com/a.png", "data:,a", "file_" + "0" * 32, "aGVsbG8="])
async def test_a_bare_str_is_refused_with_an_explanation(text: str) -> None:
    refusal = await _refusal(text)
    assert refusal.reason == "kind"
    assert "say Path(…), Url(…), DataUrl(…) or FileReference(…)" in str(refusal)


@pytest.mark.trio
@pytest.mark.parametrize("source", [None, 7, ["a"], object(), FileReference("file_1"), ProviderRef("x", "y", "a/b")])
async def test_what_is_no_source_is_refused(source: object) -> None:
    refusal = await _refusal(source)
    assert (refusal.reason, refusal.field) == ("kind", "source")
    assert type(source).__name__ in str(refusal)


@pytest.mark.trio
async def test_nothing_at_all_is_refused_from_every_kind(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for source in (b"", tmp_path / "empty", io.BytesIO(), _stream(), _stream(b"", b""), DataUrl("data:;base64,")):
        assert (await _refusal(source)).reason == "empty"


# ---------------------------------------------------------------- paths


@pytest.mark.trio
async def test_w47_w57_a_path_is_looked_at_and_read_off_the_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(CHUNK_BYTES + 5))
    threads: list[threading.Thread] = []

    class Watched(ThreadDisk):
        async def run(self, work: Callable[[], T]) -> T:
            def watched() -> T:
                threads.append(threading.current_thread())
                return work()

            return await super().run(watched)

    async with open_source(path, disk=Watched()) as content:
        assert content.size_bytes == CHUNK_BYTES + 5
        assert await _all(content) == path.read_bytes()
    # It is opened with the first chunk, and looked at again with the last: each chunk is one hop, and nothing else is.
    assert len(threads) == 2
    assert threading.current_thread() not in threads


@pytest.mark.trio
async def test_w57_a_path_that_is_missing_or_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert (await _refusal(tmp_path / "nowhere")).reason == "missing"
    assert (await _refusal(tmp_path / "file" / "below")).reason == "missing"
    assert (await _refusal(tmp_path / "nul\0byte")).reason == "unreadable"
    assert (await _refusal(tmp_path / ("x" * 300))).reason == "unreadable"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert (await _refusal(tmp_path / "loop")).reason == "unreadable"


@pytest.mark.trio
async def test_a_path_without_permission_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever runs the tests may be allowed everything, so the system is made to refuse.
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    refusal = await _refusal(tmp_path / "secret")
    assert (refusal.reason, "Permission denied" in str(refusal)) == ("unreadable", True)


@pytest.mark.trio
async def test_a_directory_a_device_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert (await _refusal(tmp_path)).reason == "directory"
    assert (await _refusal(Path("/dev/zero"))).reason == "device"
    with trio.fail_after(5):
        assert (await _refusal(tmp_path / "pipe")).reason == "device"


@pytest.mark.trio
async def test_a_link_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to(tmp_path / "file")
    assert await _read(tmp_path / "link.png") == (PNG, "link.png", "image/png", len(PNG))


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _shrink(path: Path) -> None:
    os.truncate(path, CHUNK_BYTES)


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(1, 1))


def _replace(path: Path) -> None:
    path.with_suffix(".new").write_bytes(b"new")
    path.with_suffix(".new").replace(path)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_grow, "had 3145728 bytes at first and 3145732 later"),
        (_shrink, "had 3145728 bytes at first and 1048576 later"),
        (Path.unlink, "was removed or replaced"),
        (_replace, "was removed or replaced"),
        (_overwrite, "was written to"),
    ],
    ids=["growing", "shrinking", "vanishing", "replaced", "overwritten"],
)
async def test_a_path_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * CHUNK_BYTES))
    async with open_source(path, disk=DISK) as content:
        await anext(content.chunks)
        change(path)
        with pytest.raises(InvalidSource, match=told) as caught:
            await _all(content)
    assert caught.value.reason == "changed"


@pytest.mark.trio
async def test_a_path_that_never_ends_growing_is_refused_soon(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(CHUNK_BYTES + 1))
    async with open_source(path, disk=DISK) as content:
        with path.open("ab") as file:
            file.write(await anext(content.chunks))
        with pytest.raises(InvalidSource, match="bytes at first and"):
            await anext(content.chunks)


@pytest.mark.trio
async def test_a_path_that_grows_once_all_of_it_was_read_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"whole")
    async with open_source(path, disk=DISK) as content:
        path.write_bytes(b"whole, and more")
        assert await _all(content) == b"whole"


@pytest.mark.trio
async def test_a_path_is_closed_however_the_block_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * CHUNK_BYTES))
    before = len(os.listdir("/dev/fd"))

    async def fail() -> None:
        async with open_source(path, disk=DISK) as content:
            await anext(content.chunks)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    with trio.CancelScope() as scope:
        async with open_source(path, disk=DISK) as content:
            scope.cancel()
            await _all(content)
    assert scope.cancelled_caught
    assert len(os.listdir("/dev/fd")) == before


# ---------------------------------------------------------------- file objects


@pytest.mark.trio
async def test_a_file_object_is_read_off_the_event_loop_with_one_hop_for_each_chunk() -> None:
    class Slow(io.BytesIO):
        threads: list[threading.Thread] = []  # noqa: RUF012 - one object is made

        def read(self, size: int | None = -1, /) -> bytes:
            self.threads.append(threading.current_thread())
            return super().read(size)

    file = Slow(bytes(2 * CHUNK_BYTES))
    async with open_source(file, disk=ThreadDisk()) as content:
        assert [len(chunk) async for chunk in content.chunks] == [CHUNK_BYTES, CHUNK_BYTES]
    assert len(file.threads) == 3
    assert threading.current_thread() not in file.threads


@pytest.mark.trio
async def test_a_file_object_is_read_from_where_it_stands() -> None:
    file = io.BytesIO(b"headwords")
    file.seek(4)
    assert await _read(file) == (b"words", "file.txt", "text/plain", 5)


@pytest.mark.trio
async def test_a_pipe_that_somebody_opened_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    with open(reading, "rb") as file:  # noqa: ASYNC230 - a pipe is opened without waiting
        assert await _read(file) == (b"through a pipe", "file.txt", "text/plain", None)


@pytest.mark.trio
async def test_file_objects_that_give_no_bytes_are_refused() -> None:
    class Sleepy(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1, /) -> bytes | None:
            return None

    class Broken(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    closed = io.BytesIO(b"x")
    closed.close()
    assert (await _refusal(io.StringIO("text"))).reason == "kind"
    assert (await _refusal(Sleepy())).reason == "unreadable"
    assert (await _refusal(Broken())).reason == "unreadable"
    assert (await _refusal(closed)).reason == "unreadable"


@pytest.mark.trio
async def test_a_file_object_that_changes_while_it_is_read_is_refused() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(2 * CHUNK_BYTES))
        file.seek(0)
        async with open_source(file, disk=DISK) as content:
            await anext(content.chunks)
            os.ftruncate(file.fileno(), CHUNK_BYTES + 1)
            with pytest.raises(InvalidSource, match="was changed while it was read") as caught:
                await _all(content)
    assert caught.value.reason == "changed"


# ---------------------------------------------------------------- streams, URLs


@pytest.mark.trio
async def test_a_stream_is_asked_for_what_is_needed_and_no_more() -> None:
    given: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            given.append(len(given))
            await trio.lowlevel.checkpoint()
            yield bytes(4_096)

    async with open_source(endless(), disk=DISK) as content:
        assert len(given) == 1
        for _ in range(3):
            await anext(content.chunks)
        assert len(given) == 3


@pytest.mark.trio
async def test_a_stream_is_closed_however_the_block_is_left() -> None:
    closed: list[str] = []

    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                await trio.lowlevel.checkpoint()
                yield b"x" * 5_000
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()
            closed.append("closed")

    async with open_source(stream(), disk=DISK):
        pass
    with trio.CancelScope() as scope:
        async with open_source(stream(), disk=DISK) as content:
            scope.cancel()
            await _all(content)
    assert closed == ["closed", "closed"]


@pytest.mark.trio
async def test_a_streams_own_error_comes_out_unchanged() -> None:
    async def stream() -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield b"x" * 5_000
        raise KeyError("theirs")

    async with open_source(stream(), disk=DISK) as content:
        with pytest.raises(KeyError, match="theirs"):
            await _all(content)


@pytest.mark.trio
async def test_a_stream_of_something_else_is_refused() -> None:
    assert (await _refusal(_stream("text"))).reason == "kind"
    assert (await _refusal(_stream(b"x" * 5_000, 7))).reason == "kind"
    assert (await _read(_stream(bytearray(b"a"), b"b")))[0] == b"ab"


@pytest.mark.trio
async def test_trio_streams_are_streams() -> None:
    near, far = trio.testing.memory_stream_one_way_pair()
    await near.send_all(PNG)
    await near.aclose()
    assert (await _read(far))[0] == PNG


@pytest.mark.trio
async def test_w48_a_url_is_fetched_only_where_that_is_allowed() -> None:
    refusal = await _refusal(Url("https://example.com/a.png"))
    assert (refusal.reason, refusal.field) == ("not_allowed", "source.url")
    assert "fetch_urls" in str(refusal)


@pytest.mark.trio
async def test_a_url_is_read_through_the_port() -> None:
    asked: list[str] = []

    class Reader:
        def open(self, url: str) -> AbstractAsyncContextManager[Opened]:
            return self._open(url)

        @asynccontextmanager
        async def _open(self, url: str) -> AsyncGenerator[Opened]:
            asked.append(url)
            yield Opened(_stream(PNG), "a.png", "image/jpeg", len(PNG))

    found = await _read(Url("https://example.com/a.png"), urls=Reader())
    assert found == (PNG, "a.png", "image/png", len(PNG))
    assert asked == ["https://example.com/a.png"]
