"""Keys, as every simulated provider judges them: any will do, but none, and those that end in `bad-key`."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

BAD_KEY: Final = "bad-key"
"""How a key ends that is refused."""


def bearer_key(request: Request) -> str:
    """The key in the header `Authorization: Bearer …`, "" if there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def is_refused(key: str) -> bool:
    """Whether a key is one that the simulator refuses."""
    return key.endswith(BAD_KEY)
