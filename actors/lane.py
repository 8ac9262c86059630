"""Lanes: what shares one queue, one set of limits and one credential on the way to a provider."""

from __future__ import annotations

from msgspec import Struct


class Lane(Struct, frozen=True, order=True):
    """Effects of one lane wait for each other's room; effects of different lanes never do.

    `credential` is the name of a credential, never a secret. `traffic` is the traffic class at the provider, such as
    `"batch"`, `"files"` or `"live"`. A lane without a provider (`LOCAL`) is for work that stays in this process.
    """

    tenant: str
    provider: str
    credential: str
    traffic: str

    def __str__(self) -> str:
        return "/".join(part or "-" for part in (self.tenant, self.provider, self.credential, self.traffic))


LOCAL = Lane("", "", "", "local")
