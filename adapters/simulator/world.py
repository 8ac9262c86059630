"""What the parts of a simulator share: its seed, clock, storage and account."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from perdure.adapters.simulator.clock import Clock
from perdure.adapters.simulator.ids import make_id
from perdure.adapters.simulator.storage import Storage, Tables


class World(Struct, frozen=True):
    """One simulator's surroundings."""

    seed: int
    clock: Clock
    storage: Storage

    def new_id(self, tables: Tables, prefix: str) -> str:
        """The next id with this prefix; the seed and the count decide it."""
        return make_id(self.seed, prefix, tables.next_ordinal(prefix))

    def path(self, name: str) -> Path:
        """Where the bytes called `name` are."""
        return self.storage.path(name)
