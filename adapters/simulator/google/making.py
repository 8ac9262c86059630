"""What Google's media routes share: what they need of the simulator, the marks of buyers, and refusals."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from starlette.requests import Request

from perdure.adapters.simulator.google.errors import ApiError, invalid
from perdure.adapters.simulator.media.operations import Mishap
from perdure.adapters.simulator.media.pictures import NotAPicture, measure_picture
from perdure.adapters.simulator.media.sales import Sales
from perdure.adapters.simulator.media.shelf import Recipe, Shelf, why_no_media
from perdure.adapters.simulator.world import World

MARKS: Final = ("perdure_identity", "perdureIdentity", "perdure-job")
"""The labels or fields of user metadata by whose value a purchase is told on the account. The second is what is left of
the first where names may be in either case."""


class Studio(Struct, frozen=True):
    """What media are made with. `pace_s` is how long a video takes, in seconds of the simulator's clock."""

    world: World
    shelf: Shelf
    sales: Sales
    pace_s: float

    async def make(self, recipe: Recipe, mishap: Mishap) -> bytes:
        """The bytes of a recipe, or what is armed to come instead."""
        if mishap.wrong is not None:
            return mishap.wrong.encode()
        return await self.shelf.get(recipe)

    async def check_picture(self, data: str, field: str) -> str:
        """The SHA-256, in hex, of a picture that came as base64. Raises `ApiError` 400 for what is none."""
        try:
            picture = b64decode(data, validate=True)
            await self.world.storage.bulk(lambda: measure_picture(picture))
        except (BadBase64, ValueError, NotAPicture) as error:
            raise invalid(f"Unable to process input image: {error}.", field) from error
        return hashlib.sha256(picture).hexdigest()


def check_libraries() -> None:
    """Raises `ApiError` 501 where the libraries that make media are missing."""
    if why := why_no_media():
        raise ApiError(501, why, status="UNIMPLEMENTED")


def identity_of(request: Request, *marked: Mapping[str, object], prompt: str = "") -> str:
    """The nearest thing to a mark of the buyer's: a label or user metadata, a header, the prompt."""
    for fields in marked:
        for name in MARKS:
            if isinstance(value := fields.get(name), str):
                return value
    return request.headers.get("x-client-request-id") or prompt


def payload_of(request: Request, body: bytes) -> str:
    """The SHA-256 of a call, in hex: the method that was called, whatever the version, and its body."""
    called = request.url.path.rpartition("/")[2]
    return hashlib.sha256(called.encode() + b"\n" + body).hexdigest()
