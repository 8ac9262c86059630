"""What xAI's media routes share: sources of requests, where results are, what is kept of them in Files, prices.

Results stand under addresses of the simulator's own that need no key and are good for an hour, as xAI's do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from perdure.adapters.simulator.download import Download
from perdure.adapters.simulator.filestore import FileStore
from perdure.adapters.simulator.media.operations import Mishap
from perdure.adapters.simulator.media.sales import Sales
from perdure.adapters.simulator.media.shelf import Recipe, Shelf
from perdure.adapters.simulator.multipart import ReceivedPart
from perdure.adapters.simulator.openai.errors import ApiError, invalid
from perdure.adapters.simulator.openai.files import MAX_LIFE_S, MIN_LIFE_S
from perdure.adapters.simulator.openai.given import Reference, measured, resolve
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

RESULTS: Final = "/results/"
"""How the paths of results begin, below `/xai/v1`. Ours; xAI has hosts of their own for them."""

RESULT_LIFE_S: Final = 3_600.0
"""How long a result can be fetched, in seconds (`contracts/providers.md` section 4)."""

IMAGE_TICKS: Final = 200_000_000
"""What an image costs, in ticks of 1e-10 USD: 2 cents. Ours."""

VIDEO_TICKS_A_SECOND: Final = 500_000_000
"""What a second of video costs, in ticks: 5 cents. Ours."""


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """An image or a video that is named: by an address, a data URL among them, or as a file at xAI."""

    url: str = ""
    file_id: str = ""
    type: str = ""


class StorageOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """That a result shall be kept in Files, under which name, and how long, in seconds; None: until it is deleted."""

    filename: Annotated[str, Meta(min_length=1, max_length=255)]
    expires_after: Annotated[int, Meta(ge=MIN_LIFE_S, le=MAX_LIFE_S)] | None = None
    public_url: bool = False

    def check(self) -> None:
        """Raises `ApiError` 400 for what is not played."""
        if self.public_url:
            raise invalid("This simulator makes no public addresses of files.", "storage_options.public_url")


class FileOutput(Struct, frozen=True):
    """Where a result is in Files."""

    file_id: str
    filename: str


class Cost(Struct, frozen=True):
    """What a request cost, in ticks of 1e-10 USD."""

    cost_in_usd_ticks: int


class Studio(Struct, frozen=True):
    """What media are made with, and where they are kept. `pace_s` is how long a video takes, in seconds."""

    world: World
    files: FileStore
    shelf: Shelf
    sales: Sales
    pace_s: float

    async def make(self, recipe: Recipe, mishap: Mishap) -> bytes:
        """The bytes of a recipe, or what is armed to come instead."""
        if mishap.wrong is not None:
            return mishap.wrong.encode()
        return await self.shelf.get(recipe)

    async def picture(self, source: Source, param: str) -> bytes | None:
        """The bytes of an image that is named; None for an address elsewhere, which is never fetched.

        Raises `ApiError` 400 and 404.
        """
        data = await resolve(Reference(source.url, source.file_id), self.world, self.files, param)
        if data is not None:
            await measured(data, self.world, param)
        return data

    async def keep(
        self,
        content: bytes,
        mime_type: str,
        options: StorageOptions,
        note: Callable[[Tables, FileOutput], None] = lambda tables, output: None,
    ) -> FileOutput:
        """Puts bytes into Files. `note` runs in the transaction that does."""
        with self.world.receiving() as path:
            await self.world.storage.bulk(lambda: path.write_bytes(content))
            part = ReceivedPart(options.filename, len(content), 0, hashlib.sha256(content).hexdigest())

            def add(tables: Tables) -> FileOutput:
                life_s = options.expires_after
                file = self.files.add(
                    tables, part, path, life_s=life_s, bought=False, mime_type=mime_type, generated=True
                )
                output = FileOutput(file.id, file.filename)
                note(tables, output)
                return output

            return await self.world.storage.run(add)

    def download(self, made: bytes, content_type: str) -> Response:
        """The answer that holds a result."""
        return Download(made, len(made), self.world.storage, headers={"content-type": content_type})


def gone() -> ApiError:
    """404: there is no result, or not any more."""
    return ApiError(404, "There is no such result, or its time is over.")


def result_url(request: Request, name: str) -> str:
    """The address of a result, on the origin that was asked."""
    prefix = request.scope.get("root_path", "")
    return f"{request.url.scheme}://{request.url.netloc}{prefix}{RESULTS}{name}"
