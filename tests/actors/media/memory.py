"""A provider of pictures in memory, over the world that single requests are tested in."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from perdure.actors.fetch import Fetch, HttpRequest
from perdure.actors.lane import Lane
from perdure.actors.media.ports import MadeItem, MediaAnswer
from perdure.actors.media.state import TRAFFIC
from perdure.actors.resolving.facts import ProviderFacts
from perdure.events.media import Capability, MediaRequest
from perdure.events.requests import Usage
from tests.actors.request.memory import NAME, MemoryFetch, World

PATH: Final = "/v1/pictures"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int = 3, height: int = 2) -> bytes:
    """A grey PNG."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = zlib.compress(bytes((width + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", lines) + _chunk(b"IEND", b"")


class PictureWorld(World):
    """One whose answers are pictures."""

    def __init__(self, *, answer_s: float = 1.0, size: tuple[int, int] = (3, 2)) -> None:
        super().__init__(answer_s=answer_s)
        self.answer = lambda body: png(*size)


class MediaNetwork:
    """The `Network` port over a `World`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def bind(self, lane: Lane, *, trace: str = "", before_send: Callable[[], Awaitable[None]] | None = None) -> Fetch:
        """See `Network.bind`."""
        assert lane.traffic == TRAFFIC
        return MemoryFetch(self.world, before_send)


class MemoryMedia:
    """Implements `MediaProvider` over a `Fetch`: two pictures that are alike."""

    def __init__(self) -> None:
        self.name: str = NAME
        self.capabilities: Mapping[Capability, frozenset[str]] = {"image_generation": frozenset({"n"})}

    def model_of(self, request: MediaRequest) -> str:
        """See `MediaProvider`."""
        return request.model or "m"

    def check(self, request: MediaRequest) -> None:
        """See `MediaProvider`."""

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `MediaProvider`."""
        return ProviderFacts(provider=NAME, references=(), max_bytes=0)

    async def ask(self, fetch: Fetch, request: MediaRequest, *, model: str, identity: str) -> MediaAnswer:
        """See `MediaProvider`."""
        body = msgspec.json.encode(request)
        answer = await fetch(HttpRequest(method="POST", path=PATH, safety="create", model=model, body=body))
        made = MadeItem(data=b64encode(answer.body).decode(), revised_prompt="a fjord, at dawn")
        return MediaAnswer(items=[made, made], usage=Usage(input_tokens=3, cost_ticks=7))
