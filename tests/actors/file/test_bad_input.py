"""What must not become a file: refused by `service.files` with an error of its own, and nothing is kept of it."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Callable
from math import inf, nan
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from trio.abc import Clock
from trio.testing import MockClock

from perdure.actors.sources.content import CHUNK_BYTES
from perdure.adapters.composition import remote_files
from perdure.events.errors import InvalidRequest, InvalidSource, PerdureError, TooLarge
from perdure.events.messages import DataUrl, Url
from tests.actors.file.memory import MAX_BYTES, PLAIN, RESUMABLE, World
from tests.actors.file.rig import Cabinet, filing

pytestmark = pytest.mark.trio

CONTENT: Final = b"%PDF-1.7 " + bytes(range(256)) * 20


@pytest.fixture
def clock() -> MockClock:
    """A clock that jumps whenever all tasks wait."""
    return MockClock(autojump_threshold=0)


async def refused(cabinet: Cabinet, source: Any, error: type[PerdureError] = InvalidSource, **how: Any) -> Any:
    """What an upload was refused with, which must be exactly an `error`. Nothing of it is kept, no key is taken."""
    with pytest.raises(error) as raised:
        await cabinet.files.upload(source, key="k", **how)
    assert type(raised.value) is error
    assert await cabinet.find("k") is None
    assert [summary async for summary in cabinet.list()] == []
    assert (await cabinet.sweep(), cabinet.blobs.pinned) == (0, 0), "nothing of it was stored"
    return raised.value


def missing(place: Path) -> Path:
    """A path to nothing."""
    return place / "nowhere"


def below_a_file(place: Path) -> Path:
    """A path through a file."""
    (place / "file").write_bytes(CONTENT)
    return place / "file" / "below"


def looping(place: Path) -> Path:
    """A link to itself."""
    (place / "loop").symlink_to(place / "loop")
    return place / "loop"


def empty(place: Path) -> Path:
    """A file of 0 bytes."""
    (place / "empty").touch()
    return place / "empty"


def directory(place: Path) -> Path:
    """A directory."""
    return place


def device(_: Path) -> Path:
    """A device that never ends."""
    return Path("/dev/zero")


def fifo(place: Path) -> Path:
    """A pipe with a name, at which nobody writes."""
    os.mkfifo(place / "fifo")
    return place / "fifo"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (missing, "missing"),
        (below_a_file, "missing"),
        (looping, "unreadable"),
        (empty, "empty"),
        (directory, "directory"),
        (device, "device"),
        (fifo, "device"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_w57_a_path_that_is_no_file(
    tmp_path: Path, clock: Clock, make: Callable[[Path], Path], reason: str
) -> None:
    place = tmp_path / "sources"
    place.mkdir()
    path = make(place)
    async with filing(tmp_path / "p.db", World()) as cabinet:
        refusal = await refused(cabinet, path)
        assert refusal.reason == reason
        assert (path.name if reason == "empty" else str(path)[:40]) in str(refusal), "it is named"


@pytest.mark.parametrize("change", ["growing", "vanishing"])
async def test_a_path_that_changes_while_it_is_stored(
    tmp_path: Path, clock: Clock, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * CHUNK_BYTES))
    read = os.read

    def read_and_change(descriptor: int, size: int) -> bytes:
        chunk = read(descriptor, size)
        if size == CHUNK_BYTES and path.exists() and path.stat().st_size == 2 * CHUNK_BYTES:
            if change == "vanishing":
                path.unlink()
            else:
                with path.open("ab") as file:
                    file.write(b"more")
        return chunk

    async with filing(tmp_path / "p.db", World()) as cabinet:
        monkeypatch.setattr(os, "read", read_and_change)
        assert (await refused(cabinet, path)).reason == "changed"


async def nothing() -> AsyncIterator[bytes]:
    """A stream of 0 bytes."""
    for _ in range(0):
        yield b""


async def test_nothing_at_all_from_every_kind_of_source(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        for source in (b"", nothing(), io.BytesIO(), DataUrl("data:,")):
            assert (await refused(cabinet, source)).reason == "empty"


@pytest.mark.parametrize(
    ("text", "offset"),
    [("data:;base64,YWJj*WJj", 17), ("data:;base64,YWJ", 16), ("data:;base64,YW\u00e9j", 15), ("data:,abc%4", 9)],
)
async def test_bad_base64_is_named_by_its_offset(tmp_path: Path, clock: Clock, text: str, offset: int) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        refusal = await refused(cabinet, DataUrl(text))
        assert f"wrong at offset {offset}: " in str(refusal)
        assert refusal.reason == "data_url"


async def test_a_url_where_none_may_be_fetched(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        await refused(cabinet, Url("https://example.com/a.pdf"))


@pytest.mark.parametrize(
    "ttl_s", [59, 2_592_001, 60.5, nan, inf, -1, 0, "forever", "", "60", True, None, b"60", 1 << 80]
)
async def test_d3_what_is_no_time_to_live(tmp_path: Path, clock: Clock, ttl_s: Any) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        refusal = await refused(cabinet, CONTENT, InvalidRequest, ttl_s=ttl_s)
        assert refusal.field == "ttl_s"


@pytest.mark.parametrize(
    "filename",
    [
        "../../etc/passwd",
        "a\\b\\c.pdf",
        "a\0b\r\n\x1b[2J.pdf",
        "x" * 5_000 + ".pdf",
        "\u202efdp.exe",
        "\ud800.pdf",
        "🏔️" * 999,
    ],
    ids=lambda name: ascii(name)[:20],
)
async def test_any_name_is_kept_safely_and_shown_as_it_came(tmp_path: Path, clock: Clock, filename: str) -> None:
    world = World()
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT, filename=filename)
        info = await cabinet.files.info(file)
        assert len(info.filename.encode()) <= 255
        assert not set(info.filename) & set("/\\\0\r\n\x1b\u202e")
        assert info.shown_name[:3] == filename.encode("utf-8", "replace").decode().replace("?", "\ufffd")[:3]
        await cabinet.files.ensure(file, provider=PLAIN)
        assert world.names[0].startswith(f"log-{file.id}-0"), "providers are told an identity, never a name"
        await cabinet.verify()


@pytest.mark.parametrize("mime_type", ["image/png", "nonsense", "text/plain; charset=", "\ud800/\0", "x" * 5_000])
async def test_a_wrong_type_is_corrected_and_noted(tmp_path: Path, clock: Clock, mime_type: str) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        info = await cabinet.files.info(await cabinet.files.upload(CONTENT, mime_type=mime_type))
        assert info.mime_type == "application/pdf"
        assert info.declared_mime_type
        assert (await cabinet.files.info(await cabinet.files.upload(CONTENT))).declared_mime_type == ""


@pytest.mark.parametrize("provider", [PLAIN, RESUMABLE])
async def test_what_is_too_large_names_both_figures_and_nothing_is_sent(
    tmp_path: Path, clock: Clock, provider: str
) -> None:
    world = World()
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(bytes(MAX_BYTES + 1))
        for ask in (cabinet.files.push, cabinet.files.ensure):
            with pytest.raises(TooLarge) as raised:
                await ask(file, provider=provider)
            assert (raised.value.limit, raised.value.size) == (MAX_BYTES, MAX_BYTES + 1)
            assert f"{MAX_BYTES:,}" in str(raised.value)
            assert f"{MAX_BYTES + 1:,}" in str(raised.value)
        assert (world.sent_bytes, world.account, world.sessions) == (0, [], {})
        assert (await cabinet.files.info(file)).copies == []


async def test_every_provider_has_a_limit() -> None:
    await trio.lowlevel.checkpoint()
    limits = {name: store.max_bytes for name, store in remote_files().items()}
    assert limits == {"openai": 8_000_000_000, "anthropic": 500_000_000, "google": 2_000_000_000, "xai": 48_000_000}


async def test_an_upload_that_is_cancelled_leaves_nothing(tmp_path: Path, clock: Clock) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield CONTENT
        await trio.sleep_forever()

    async with filing(tmp_path / "p.db", World()) as cabinet:
        with trio.move_on_after(1) as scope:
            await cabinet.files.upload(slow(), key="k")
        assert scope.cancelled_caught
        assert await cabinet.find("k") is None
        assert (await cabinet.sweep(), cabinet.blobs.pinned) == (0, 0)
        assert [
            path for path in (tmp_path / "p.db-blobs" / "tmp").rglob("*") if path.is_file() and path.stat().st_size > 16
        ] == []
