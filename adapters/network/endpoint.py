"""Where a lane's requests go and what they carry: the only place where a secret is held.

The composition root gives the engine a `Resolver`; nobody else sees what it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from perdure.actors.lane import Lane
from perdure.adapters.network.redact import redact_url


class Endpoint(Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A provider's base URL and the headers that every request to its host carries, the credential among them.

    `idempotency_keys`: the provider honours `Idempotency-Key`. `queue`: the name of the queue for this lane, for
    lanes that share one account; "" derives a name from the lane and the model.
    """

    base_url: str
    headers: Mapping[str, str] = {}
    idempotency_keys: bool = False
    queue: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({redact_url(self.base_url)!r}, headers={sorted(self.headers)})"


Resolver = Callable[[Lane], Endpoint]
"""Finds a lane's endpoint. Raises `CredentialMissing` where there is no secret. Called for each attempt, so that a
changed credential is used at once; must not block."""
