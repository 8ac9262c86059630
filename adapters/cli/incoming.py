"""What `perdure files put` is given: a path, standard input, a URL or a `data:` URL.

Paths and standard input are opened, and looked into, before the log is: what cannot be read is found out in time.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import trio
from msgspec import Struct

from perdure.actors.sources import Source, open_source
from perdure.actors.sources.content import CHUNK_BYTES
from perdure.adapters.cli.progress import Meter, counted
from perdure.adapters.cli.terminal import Terminal, is_terminal
from perdure.events.errors import InvalidSource
from perdure.events.messages import DataUrl, Url
from perdure.store.disk import ThreadDisk

WORDS = ("reading", "read")


class Incoming(Struct, frozen=True):
    """A source, and what it is called where it does not say so itself."""

    source: Source
    filename: str | None = None


@asynccontextmanager
async def open_incoming(name: str, terminal: Terminal, meter: Meter, *, fetching: bool) -> AsyncGenerator[Incoming]:
    """What `name` stands for; with `fetching`, URLs are allowed. Raises `InvalidSource` as `open_source` does."""
    scheme = name.partition(":")[0].lower()
    if scheme in ("http", "https"):
        if not fetching:
            raise InvalidSource(
                "fetching URLs is off here: set PERDURE_FETCH_URLS=true, or fetch_urls = true in perdure.toml; or fetch"
                " it yourself and put it as -",
                reason="not_allowed",
            )
        yield Incoming(Url(name))
    elif scheme == "data":
        yield Incoming(DataUrl(name))
    elif name == "-":
        if sys.__stdin__ is None:
            raise InvalidSource("standard input is closed: give it a file, or name one", reason="unreadable")
        if is_terminal(sys.stdin):
            terminal.say("reading the file from the terminal; end it with Ctrl-D")
        async with aclosing(standard_input()) as chunks, _looked_into(chunks, meter, _remaining()) as incoming:
            yield incoming
    else:
        try:
            async with _looked_into(Path(name), meter) as incoming:
                yield incoming
        except InvalidSource as error:
            if error.reason == "device":
                error.args = (f"{name[:80]!r} is a device, a pipe or a socket, not a regular file: put it as -",)
            raise


@asynccontextmanager
async def _looked_into(source: Source, meter: Meter, size_bytes: int | None = None) -> AsyncGenerator[Incoming]:
    async with (
        open_source(source, disk=ThreadDisk()) as content,
        aclosing(counted(content.chunks, meter, words=WORDS, size_bytes=size_bytes or content.size_bytes)) as chunks,
    ):
        yield Incoming(chunks, content.name.shown if isinstance(source, Path) else None)


async def standard_input() -> AsyncGenerator[bytes]:
    """What comes on standard input, as it comes. A read that waits is abandoned when the command ends."""
    while True:
        try:
            chunk = await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), CHUNK_BYTES, abandon_on_cancel=True)
        except OSError as error:
            raise InvalidSource(f"standard input cannot be read: {error.strerror}", reason="unreadable") from error
        if not chunk:
            return
        yield chunk


def _remaining() -> int | None:
    """How much standard input has, where it is a file."""
    found = os.fstat(sys.stdin.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None
