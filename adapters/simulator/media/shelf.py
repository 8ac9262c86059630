"""Makes media and keeps the last of it in memory, so that a download that is resumed costs nothing.

Making one thing is one hop to a thread. What is not there any more is made again, and is the same.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from importlib.util import find_spec
from typing import Final, Protocol

from msgspec import msgpack

from perdure.adapters.simulator.world import World

KEPT_BYTES: Final = 32 << 20
"""How much is kept in memory, in bytes. Ours: some hundred films, or thousands of small pictures."""

EXTRA: Final = "simulator-media"
"""The extra that installs what makes media."""


class Recipe(Protocol):
    """What can be made: a struct whose fields decide its bytes."""

    def make(self) -> bytes:
        """The bytes. Blocks."""
        ...


class Shelf:
    """What the simulator made last, over all providers. `kept_bytes` is how much it keeps now."""

    def __init__(self, world: World, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._world = world
        self._most_bytes = kept_bytes
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self.kept_bytes = 0

    async def get(self, recipe: Recipe) -> bytes:
        """The bytes of a recipe."""
        key = hashlib.sha256(type(recipe).__name__.encode() + msgpack.encode(recipe)).digest()
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        made = await self._world.storage.bulk(recipe.make)
        if key not in self._kept:
            self._kept[key] = made
            self.kept_bytes += len(made)
            while self.kept_bytes > self._most_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.kept_bytes -= len(dropped)
        return made


def why_no_media() -> str:
    """Which libraries that make media are not installed, and how to get them, as a sentence; "" when all are there."""
    missing = [name for name, module in (("pillow", "PIL"), ("av", "av")) if find_spec(module) is None]
    if not missing:
        return ""
    return f"This simulator makes no media without {' and '.join(missing)}; install perdure[{EXTRA}]."
