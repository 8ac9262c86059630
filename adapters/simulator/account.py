"""The account: what was bought or stored at the simulated providers, as they would bill it.

An entry is made when a request is accepted, in the transaction that makes the object and before the answer leaves. So
an answer that was dropped or kept back shows here, and buying twice shows twice: by `identity` when the buyer marked
both purchases alike, by `payload` when it did not.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, get_args

from msgspec import Struct

from perdure.adapters.simulator.storage import Storage, Tables

PurchaseKind = Literal["batch", "text", "image", "audio", "video", "file"]

PURCHASE_KINDS: tuple[PurchaseKind, ...] = get_args(PurchaseKind)


class Purchase(Struct, frozen=True):
    """One thing bought or stored.

    `id` is the provider's id of it. `identity` is the mark that the buyer planted, or the nearest thing to one (see
    each route), empty if there is none. `units` is how many calls it stands for: the lines of a batch, else 1. `at` is
    in seconds since 1970 by the simulator's clock. `payload` is the SHA-256 of what was sent, in hex.
    """

    provider: str
    kind: PurchaseKind
    id: str
    identity: str
    units: int
    at: float
    payload: str


class Account:
    """Reads the account. Reading touches a small local database: fine in a test, one thread hop away in a route."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def purchases(self, *, kind: PurchaseKind | None = None, provider: str | None = None) -> list[Purchase]:
        """All entries, oldest first, of one kind or provider if asked."""
        with self._storage.transaction() as tables:
            return read_purchases(tables, kind=kind, provider=provider)

    def bought_twice(self) -> list[str]:
        """What shows more than once: `kind identity=…` and `kind payload=…` for each repeated one. Empty is good."""
        seen: Counter[str] = Counter()
        for purchase in self.purchases():
            seen[f"{purchase.kind} payload={purchase.payload}"] += 1
            if purchase.identity:
                seen[f"{purchase.kind} identity={purchase.identity}"] += 1
        return sorted(name for name, times in seen.items() if times > 1)


def record_purchase(tables: Tables, purchase: Purchase) -> None:
    """Puts a purchase on the account, in the transaction of `tables`."""
    tables.connection.execute(
        "INSERT INTO purchases (provider, kind, id, identity, units, at, payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            purchase.provider,
            purchase.kind,
            purchase.id,
            purchase.identity,
            purchase.units,
            purchase.at,
            purchase.payload,
        ),
    )


def read_purchases(tables: Tables, *, kind: PurchaseKind | None = None, provider: str | None = None) -> list[Purchase]:
    """The entries of the account, oldest first, as `Account.purchases`."""
    rows = tables.connection.execute(
        "SELECT provider, kind, id, identity, units, at, payload FROM purchases"
        " WHERE kind = coalesce(?, kind) AND provider = coalesce(?, provider) ORDER BY seq",
        (kind, provider),
    )
    return [Purchase(*row) for row in rows]
