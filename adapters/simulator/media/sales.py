"""Sales of images, speech and videos: the entry on the account, and what is armed for the thing that is sold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.media.faults import MediaKind
from perdure.adapters.simulator.media.operations import Mishap
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

BLOCKED: Final = "!block"
"""What a prompt contains that moderation refuses, at every provider."""

ArrangeMedia = Callable[[MediaKind], Mishap]
"""What shall go wrong with the next purchase of a kind; counts it as used."""


class Sales:
    """Where one provider sells media."""

    def __init__(self, world: World, provider: str, arrange: ArrangeMedia) -> None:
        self._world = world
        self._provider = provider
        self._arrange = arrange

    def sell(
        self, tables: Tables, kind: MediaKind, *, id_prefix: str, identity: str, payload: str
    ) -> tuple[str, Mishap]:
        """Puts a purchase on the account, in the transaction of `tables`; its id, and what goes wrong with it.

        `identity` is the nearest thing to a mark of the buyer's, `payload` the SHA-256 of what was sent, in hex.
        """
        id_ = self._world.new_id(tables, id_prefix)
        now = self._world.clock.now()
        record_purchase(tables, Purchase(self._provider, kind, id_, identity, 1, now, payload))
        return id_, self._arrange(kind)


def is_blocked(prompt: str) -> bool:
    """Whether moderation refuses a prompt."""
    return BLOCKED in prompt
