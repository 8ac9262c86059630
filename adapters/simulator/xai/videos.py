"""xAI's videos: generations, edits and extensions that take a while, asked about by the id of their request.

What shall be kept in Files is there as soon as the video is done, also when nobody asked about it: whoever lost the id
finds the file. It is put there when somebody looks.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from typing import Annotated, Any, Final, Literal

import trio
from msgspec import Meta, Struct, json
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.media.clips import Clip, NotAFilm, Scene, measure_film
from perdure.adapters.simulator.media.operations import Operation, OperationDesk, Standing, standing
from perdure.adapters.simulator.media.sales import is_blocked
from perdure.adapters.simulator.media.sizes import NotARatio, film_size
from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing, no_such
from perdure.adapters.simulator.openai.given import Given, check_model, check_prompt, read_given
from perdure.adapters.simulator.openai.lists import json_response
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.xai.images import MAX_PROMPT
from perdure.adapters.simulator.xai.making import (
    RESULT_LIFE_S,
    RESULTS,
    VIDEO_TICKS_A_SECOND,
    FileOutput,
    Source,
    StorageOptions,
    Studio,
    gone,
    result_url,
)

USUAL_MODEL: Final = "grok-imagine-video"
USUAL_S: Final = 6
"""How long a video is unless the client says otherwise, in seconds. Ours."""

EDGES: Final = {"480p": 480, "720p": 720, "1080p": 1_080}
"""The shorter edge of a video, in pixels, by the word that asks for it."""

MAX_REFERENCES: Final = 7
"""How many reference images there may be. Ours."""

_STORING: Final = "xai-storing"

Resolution = Literal["480p", "720p", "1080p"]
Seconds = Annotated[int, Meta(ge=1, le=15)]
"""The length of a video, in whole seconds. The bounds are ours."""


class _Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: str
    model: str = USUAL_MODEL
    storage_options: StorageOptions | None = None
    user: str = ""


class _Generate(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    duration: Seconds = USUAL_S
    aspect_ratio: str = "16:9"
    resolution: Resolution = "480p"
    image: Source | None = None
    reference_images: tuple[Source, ...] = ()


class _Edit(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    video: Source | None = None
    resolution: Resolution | None = None


class _Extend(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    video: Source | None = None
    duration: Seconds = USUAL_S


class VideoRecord(Operation, frozen=True, kw_only=True):
    """A video as it is kept. `width` and `height` are in pixels; `storage` is how it shall be kept in Files and
    `file_output` where it is, None as long as it is not."""

    model: str
    prompt: str
    width: int
    height: int
    scenes: tuple[Scene, ...]
    storage: StorageOptions | None = None
    file_output: FileOutput | None = None

    def duration_s(self) -> float:
        """How long it is, in seconds."""
        return sum(scene.duration_s for scene in self.scenes)

    def has_bytes(self) -> bool:
        """Whether there is something to fetch, once it is done."""
        return not self.mishap.empty and not is_blocked(self.prompt)


class _Film(Struct, frozen=True):
    """What a video shows, and its size."""

    width: int
    height: int
    scenes: tuple[Scene, ...]


class Videos:
    """The video routes."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._world = studio.world
        self._storing = trio.Lock()
        self.desk = OperationDesk(studio.world, "xai-video", VideoRecord)

    def routes(self) -> list[Route]:
        """The routes, below `/xai/v1`."""
        return [
            Route("/videos/generations", self._generate, methods=["POST"]),
            Route("/videos/edits", self._edit, methods=["POST"]),
            Route("/videos/extensions", self._extend, methods=["POST"]),
            Route("/videos/{request_id}", self._get, methods=["GET"]),
            Route(RESULTS + "{id}.mp4", self._result, methods=["GET"]),
        ]

    # ------------------------------------------------------------ making one

    async def _generate(self, request: Request) -> Response:
        given = await read_given(request)
        asked = given.read(_Generate)
        try:
            width, height = film_size(asked.aspect_ratio, EDGES[asked.resolution])
        except NotARatio as error:
            raise invalid(f"{error}.", "aspect_ratio") from error
        if len(asked.reference_images) > MAX_REFERENCES:
            raise invalid(f"There may be {MAX_REFERENCES} reference images at most.", "reference_images")
        sources = [*([] if asked.image is None else [asked.image]), *asked.reference_images]
        salt = ""
        for source in sources:
            data = await self._studio.picture(source, "image")
            salt += hashlib.sha256(data or source.url.encode()).hexdigest()
        scene = Scene(asked.prompt, asked.duration, salt)
        return await self._accept(request, given, asked, _Film(width, height, (scene,)))

    async def _edit(self, request: Request) -> Response:
        given = await read_given(request)
        asked = given.read(_Edit)
        source = await self._source(asked.video)
        if asked.resolution is not None:
            shorter = min(source.width, source.height)
            scale = EDGES[asked.resolution] / shorter
            width, height = (round(edge * scale / 2) * 2 for edge in (source.width, source.height))
            source = replace(source, width=width, height=height)
        told = hashlib.sha256(json.encode(source.scenes)).hexdigest()
        scene = Scene(asked.prompt, sum(scene.duration_s for scene in source.scenes), told)
        return await self._accept(request, given, asked, replace(source, scenes=(scene,)))

    async def _extend(self, request: Request) -> Response:
        given = await read_given(request)
        asked = given.read(_Extend)
        source = await self._source(asked.video)
        scenes = (*source.scenes, Scene(asked.prompt, asked.duration))
        return await self._accept(request, given, asked, replace(source, scenes=scenes))

    async def _source(self, named: Source | None) -> _Film:
        """The film that is edited or extended. One elsewhere is never fetched and taken for one of the usual size.

        Raises `ApiError` 400 and 404.
        """
        if named is None or bool(named.url) == bool(named.file_id):
            raise missing("video.url")
        if named.file_id:
            file = await self._studio.files.read(named.file_id)
            if file is None:
                raise no_such("file", named.file_id)
            data = await self._world.storage.bulk(self._world.path(file.id).read_bytes)
            return await self._measured(data)
        if RESULTS in named.url:
            record = await self.desk.read(named.url.rpartition("/")[2].removesuffix(".mp4"))
            if record is None or not self._can_be_fetched(record):
                raise invalid("There is no such video, or its time is over.", "video.url")
            return _Film(record.width, record.height, record.scenes)
        if named.url.startswith(("http://", "https://")):
            width, height = film_size("16:9", EDGES["480p"])
            salt = hashlib.sha256(named.url.encode()).hexdigest()
            return _Film(width, height, (Scene("", USUAL_S, salt),))
        head, comma, encoded = named.url.partition(",")
        if not (head.startswith("data:video/") and head.endswith(";base64") and comma):
            raise invalid("'video' is no address and no data URL of a video.", "video.url")
        try:
            data = b64decode(encoded, validate=True)
        except ValueError as error:
            raise invalid("'video' is no base64.", "video.url") from error
        return await self._measured(data)

    async def _measured(self, data: bytes) -> _Film:
        try:
            film = await self._world.storage.bulk(lambda: measure_film(data))
        except NotAFilm as error:
            raise invalid(f"'video' cannot be used: {error}.", "video") from error
        width, height = (max(2, min(edge, EDGES["1080p"] * 2) // 2 * 2) for edge in (film.width, film.height))
        return _Film(width, height, (Scene("", film.duration_s, hashlib.sha256(data).hexdigest()),))

    async def _accept(self, request: Request, given: Given, asked: _Asked, film: _Film) -> Response:
        if given.body is None:
            raise ApiError(400, "The body must be JSON.")
        check_model(asked.model)
        check_prompt(asked.prompt, MAX_PROMPT)
        storage = asked.storage_options
        if storage is not None:
            storage.check()
        named = None if storage is None else storage.filename
        identity = named or request.headers.get("x-client-request-id") or asked.prompt

        def accept(tables: Tables) -> str:
            id_, mishap = self._studio.sales.sell(
                tables, "video", id_prefix="video_", identity=identity, payload=given.payload
            )
            record = VideoRecord(
                id=id_,
                created_at=self._world.clock.now(),
                pace_s=self._studio.pace_s,
                life_s=RESULT_LIFE_S,
                mishap=mishap,
                model=asked.model,
                prompt=asked.prompt,
                width=film.width,
                height=film.height,
                scenes=film.scenes,
                storage=storage,
            )
            self.desk.add(tables, record)
            if storage is not None:
                tables.add(_STORING, _storing_id(id_), json.encode(id_), since=record.created_at + record.pace_s)
            return id_

        return json_response({"request_id": await self._world.storage.run(accept)})

    # ------------------------------------------------------------ what became of it

    async def _get(self, request: Request) -> Response:
        id_: str = request.path_params["request_id"]
        record = await self.desk.read(id_)
        if record is None:
            raise no_such("request", id_)
        now = self._world.clock.now()
        at = standing(record, now)
        match at.phase:
            case "queued":
                return Response(status_code=202)
            case "running":
                return json_response({"status": "pending", "progress": at.percent}, 202)
            case "failed" | "cancelled":
                fails = record.mishap.fails
                error = {} if fails is None else {"code": fails.code, "message": fails.message}
                return json_response({"status": "failed", "error": error, "progress": at.percent})
            case "completed":
                if at.gone(now):
                    return json_response({"status": "expired"})
                return json_response(await self._shown(request, await self._stored(record), at))

    async def _shown(self, request: Request, record: VideoRecord, at: Standing) -> dict[str, Any]:
        seconds = record.duration_s()
        video: dict[str, Any] = {"duration": round(seconds), "respect_moderation": not is_blocked(record.prompt)}
        if record.has_bytes():
            video["url"] = result_url(request, f"{record.id}.mp4")
        if record.file_output is not None:
            video["file_output"] = record.file_output
        return {
            "status": "done",
            "model": record.model,
            "video": video,
            "usage": {"cost_in_usd_ticks": round(seconds * VIDEO_TICKS_A_SECOND)},
            "progress": at.percent,
        }

    async def _result(self, request: Request) -> Response:
        record = await self.desk.read(request.path_params["id"])
        if record is None or not self._can_be_fetched(record):
            raise gone()
        return self._studio.download(await self._made(record), "video/mp4")

    def _can_be_fetched(self, record: VideoRecord) -> bool:
        now = self._world.clock.now()
        at = standing(record, now)
        return at.phase == "completed" and not at.gone(now) and record.has_bytes()

    async def _made(self, record: VideoRecord) -> bytes:
        clip = Clip(seed=self._world.seed, width=record.width, height=record.height, scenes=record.scenes)
        return await self._studio.make(clip, record.mishap)

    # ------------------------------------------------------------ what is kept in Files

    async def settle(self) -> None:
        """Puts all videos that are done and shall be kept into Files."""
        now = self._world.clock.now()
        after: int | None = None
        while True:
            place = after

            def due(tables: Tables, place: int | None = place) -> tuple[list[str], int | None]:
                page = tables.page(_STORING, now=now, limit=100, newest_first=False, after=place)
                ids = [json.decode(doc, type=str) for doc in page.docs]
                return ids, tables.place(_STORING, _storing_id(ids[-1])) if page.has_more else None

            ids, after = await self._world.storage.run(due)
            for id_ in ids:
                record = await self.desk.read(id_)
                if record is not None and standing(record, now).phase == "completed":
                    await self._stored(record)
            if after is None:
                return

    async def _stored(self, record: VideoRecord) -> VideoRecord:
        """The record of a video that is done, after it was put into Files if it shall be there."""
        if record.storage is None or record.file_output is not None or not record.has_bytes():
            return record
        async with self._storing:  # two that look at once put it there once
            record = await self.desk.read(record.id) or record
            if record.storage is None or record.file_output is not None:
                return record
            id_ = record.id

            def note(tables: Tables, output: FileOutput) -> None:
                known = self.desk.find(tables, id_)
                assert known is not None  # xAI's videos cannot be deleted
                tables.replace(id_, json.encode(replace(known, file_output=output)))
                tables.remove(_storing_id(id_))

            output = await self._studio.keep(await self._made(record), "video/mp4", record.storage, note)
        return replace(record, file_output=output)


def _storing_id(id_: str) -> str:
    return f"storing-{id_}"
