"""OpenAI's videos, which other vendors and gateways imitate: create, extend, edit, remix, get, list, content, delete.

A video is an operation (see `media/operations.py`); its bytes are made when they are fetched. There is no cancel.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

from msgspec import Struct, json
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.download import Download
from perdure.adapters.simulator.filestore import FileStore
from perdure.adapters.simulator.media.clips import Clip, ClipVariant, NotAFilm, Scene, measure_film
from perdure.adapters.simulator.media.operations import Complaint, Operation, OperationDesk, Standing, standing
from perdure.adapters.simulator.media.sales import Sales, is_blocked
from perdure.adapters.simulator.media.shelf import Shelf
from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing, no_such
from perdure.adapters.simulator.openai.given import (
    Given,
    Reference,
    check_model,
    check_prompt,
    measured,
    parse_size,
    read_given,
    resolve,
)
from perdure.adapters.simulator.openai.images import MAX_PROMPT
from perdure.adapters.simulator.openai.lists import json_response, list_response, page_query
from perdure.adapters.simulator.openai.wire import Deleted
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

USUAL_MODEL: Final = "sora-2"
USUAL_SIZE: Final = "720x1280"
"""What is made when nothing is said (OpenAI's SDK 3.52, documentation of `videos.create`)."""

MAX_EDGE: Final = 1_792
"""The longest edge of a video, in pixels: that of the largest size there is (same source)."""

CONTENT_TYPES: Final[dict[ClipVariant, str]] = {
    "video": "video/mp4",
    "thumbnail": "image/webp",
    "spritesheet": "image/jpeg",
}

_BLOCKED_ERROR: Final = Complaint("moderation_blocked", "The video was rejected by the safety system.")


class _Create(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: str
    model: str = USUAL_MODEL
    seconds: Literal["4", "8", "12"] = "4"
    size: str = USUAL_SIZE
    input_reference: Reference | None = None


class _VideoReference(Struct, frozen=True, forbid_unknown_fields=True):
    id: str


class _Edit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: str
    video: _VideoReference | None = None


class _Extend(_Edit, frozen=True, kw_only=True, forbid_unknown_fields=True):
    seconds: Literal["4", "8", "12", "16", "20"]


class _Remix(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: str


class VideoRecord(Operation, frozen=True, kw_only=True):
    """A video as it is kept. `width` and `height` are in pixels; `scenes` are what it shows."""

    model: str
    prompt: str
    width: int
    height: int
    scenes: tuple[Scene, ...]
    remixed_from: str | None = None


class VideoError(Struct, frozen=True):
    """Why a video failed."""

    code: str
    message: str


class VideoObject(Struct, frozen=True, kw_only=True):
    """A video as clients see it. Times are whole seconds since 1970."""

    id: str
    object: Literal["video"] = "video"
    created_at: int
    completed_at: int | None
    error: VideoError | None
    expires_at: int | None
    model: str
    progress: int
    prompt: str
    remixed_from_video_id: str | None
    seconds: str
    size: str
    status: Literal["queued", "in_progress", "completed", "failed"]


class _Source(Struct, frozen=True):
    """What a new video is made from: the scenes and the size of another one."""

    model: str
    width: int
    height: int
    scenes: tuple[Scene, ...]


class Videos:
    """The video routes.

    Args:
        files: those that references may name.
        pace_s: how long a video takes without trouble, in seconds of the simulator's clock.
        poll_after_ms: the hint when to ask again, in milliseconds, sent with a video.
    """

    def __init__(
        self, world: World, files: FileStore, *, shelf: Shelf, sales: Sales, pace_s: float, poll_after_ms: int
    ) -> None:
        self._world = world
        self._files = files
        self._shelf = shelf
        self._sales = sales
        self._pace_s = pace_s
        self._hint = {"openai-poll-after-ms": str(poll_after_ms)}
        self.desk = OperationDesk(world, "openai-video", VideoRecord)

    def routes(self) -> list[Route]:
        """The routes, below `/openai/v1`."""
        return [
            Route("/videos", self._create, methods=["POST"]),
            Route("/videos", self._list, methods=["GET"]),
            Route("/videos/edits", self._edit, methods=["POST"]),
            Route("/videos/extensions", self._extend, methods=["POST"]),
            Route("/videos/{id}", self._get, methods=["GET"]),
            Route("/videos/{id}", self._delete, methods=["DELETE"]),
            Route("/videos/{id}/remix", self._remix, methods=["POST"]),
            Route("/videos/{id}/content", self._content, methods=["GET"]),
        ]

    # ------------------------------------------------------------ making one

    async def _create(self, request: Request) -> Response:
        given = await read_given(request)
        asked = given.read(_Create)
        given.only_files("input_reference")
        check_model(asked.model)
        width, height = parse_size(asked.size)
        if max(width, height) > MAX_EDGE:
            raise invalid(f"The edges of 'size' may have {MAX_EDGE} pixels at most.", "size")
        salt = ""
        if sent := given.files.get("input_reference"):
            await measured(sent[0], self._world, "input_reference")
            salt = hashlib.sha256(sent[0]).hexdigest()
        elif asked.input_reference is not None:
            data = await resolve(asked.input_reference, self._world, self._files, "input_reference")
            if data is not None:
                await measured(data, self._world, "input_reference")
            salt = hashlib.sha256(data or asked.input_reference.image_url.encode()).hexdigest()
        source = _Source(asked.model, width, height, (Scene(asked.prompt, float(asked.seconds), salt),))
        return await self._accept(request, given, asked.prompt, source)

    async def _extend(self, request: Request) -> Response:
        given = await read_given(request)
        asked = given.read(_Extend)
        source = await self._source(given, asked.video)
        more = _Source(
            source.model, source.width, source.height, (*source.scenes, Scene(asked.prompt, float(asked.seconds)))
        )
        return await self._accept(request, given, asked.prompt, more)

    async def _edit(self, request: Request) -> Response:
        given = await read_given(request)
        asked = given.read(_Edit)
        source = await self._source(given, asked.video)
        return await self._accept(request, given, asked.prompt, _retold(source, asked.prompt))

    async def _remix(self, request: Request) -> Response:
        given = await read_given(request)
        asked = given.read(_Remix)
        record = await self._ended_well(request.path_params["id"], "id")
        source = _Source(record.model, record.width, record.height, record.scenes)
        return await self._accept(request, given, asked.prompt, _retold(source, asked.prompt), remixed_from=record.id)

    async def _accept(
        self, request: Request, given: Given, prompt: str, source: _Source, remixed_from: str | None = None
    ) -> Response:
        check_prompt(prompt, MAX_PROMPT)
        identity = request.headers.get("x-client-request-id") or prompt

        def accept(tables: Tables) -> VideoRecord:
            id_, mishap = self._sales.sell(
                tables, "video", id_prefix="video_", identity=identity, payload=given.payload
            )
            if is_blocked(prompt) and mishap.fails is None:
                mishap = replace(mishap, fails=_BLOCKED_ERROR)
            record = VideoRecord(
                id=id_,
                created_at=self._world.clock.now(),
                pace_s=self._pace_s,
                mishap=mishap,
                model=source.model,
                prompt=prompt,
                width=source.width,
                height=source.height,
                scenes=source.scenes,
                remixed_from=remixed_from,
            )
            self.desk.add(tables, record)
            return record

        return self._shown(await self._world.storage.run(accept))

    async def _source(self, given: Given, named: _VideoReference | None) -> _Source:
        """The video to begin with: one that was sent, or one that is here. Raises `ApiError`."""
        given.only_files("video")
        if sent := given.files.get("video"):
            try:
                film = await self._world.storage.bulk(lambda: measure_film(sent[0]))
            except NotAFilm as error:
                raise invalid(f"'video' cannot be used: {error}.", "video", "invalid_video") from error
            # The encoder wants even edges.
            width, height = (max(2, min(edge, MAX_EDGE) // 2 * 2) for edge in (film.width, film.height))
            scene = Scene("", film.duration_s, hashlib.sha256(sent[0]).hexdigest())
            return _Source(USUAL_MODEL, width, height, (scene,))
        if named is None:
            raise missing("video")
        record = await self._ended_well(named.id, "video.id")
        return _Source(record.model, record.width, record.height, record.scenes)

    async def _ended_well(self, id_: str, param: str) -> VideoRecord:
        record = await self._read(id_)
        phase = standing(record, self._world.clock.now()).phase
        if phase != "completed":
            raise invalid(f"The video '{id_}' is not completed but {phase}.", param)
        return record

    # ------------------------------------------------------------ what became of it

    async def _read(self, id_: str) -> VideoRecord:
        record = await self.desk.read(id_)
        if record is None:
            raise no_such("video", id_)
        return record

    def _shown(self, record: VideoRecord) -> Response:
        at = standing(record, self._world.clock.now())
        return json_response(video_object(record, at), headers=self._hint)

    async def _get(self, request: Request) -> Response:
        return self._shown(await self._read(request.path_params["id"]))

    async def _list(self, request: Request) -> Response:
        query = page_query(request, limit=20, max_limit=100, with_order=True)
        now = self._world.clock.now()
        page = await self._world.storage.run(lambda tables: query.read(tables, self.desk.kind, now, noun="video"))
        records = self.desk.listed(page)
        items = [(record.id, json.encode(video_object(record, standing(record, now)))) for record in records]
        return list_response(items, has_more=page.has_more)

    async def _delete(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        if not await self.desk.remove(id_):
            raise no_such("video", id_)
        return json_response(Deleted(id_, "video.deleted"))

    async def _content(self, request: Request) -> Response:
        record = await self._read(request.path_params["id"])
        variant = _variant(request.query_params.get("variant", "video"))
        now = self._world.clock.now()
        at = standing(record, now)
        if at.phase != "completed":
            raise ApiError(400, f"The video '{record.id}' is {_status(at)}, not completed.", code="video_not_ready")
        if at.gone(now):
            raise ApiError(404, f"The video '{record.id}' can no longer be fetched.", code="video_expired")
        if record.mishap.empty:
            raise ApiError(404, f"The video '{record.id}' has no content.", code="video_content_not_found")
        if record.mishap.wrong is not None:
            made = record.mishap.wrong.encode()
        else:
            made = await self._shelf.get(
                Clip(
                    seed=self._world.seed,
                    width=record.width,
                    height=record.height,
                    scenes=record.scenes,
                    variant=variant,
                )
            )
        headers = {"content-type": CONTENT_TYPES[variant]}
        return Download(made, len(made), self._world.storage, headers=headers)


def video_object(record: VideoRecord, at: Standing) -> VideoObject:
    """A video as clients see it where it stands."""
    fails = record.mishap.fails if at.phase == "failed" else None
    return VideoObject(
        id=record.id,
        created_at=int(record.created_at),
        completed_at=int(at.since) if at.phase == "completed" else None,
        error=None if fails is None else VideoError(fails.code, fails.message),
        expires_at=None if at.expires_at is None else int(at.expires_at),
        model=record.model,
        progress=at.percent,
        prompt=record.prompt,
        remixed_from_video_id=record.remixed_from,
        seconds=f"{sum(scene.duration_s for scene in record.scenes):g}",
        size=f"{record.width}x{record.height}",
        status=_status(at),
    )


def _status(at: Standing) -> Literal["queued", "in_progress", "completed", "failed"]:
    match at.phase:
        case "queued" | "completed" | "failed":
            return at.phase
        case "running":
            return "in_progress"
        case "cancelled":
            return "failed"  # there is no cancel here


def _retold(source: _Source, prompt: str) -> _Source:
    """The same film by another prompt: one scene, as long as all of it was."""
    told = json.encode(source.scenes)
    length_s = sum(scene.duration_s for scene in source.scenes)
    scene = Scene(prompt, length_s, hashlib.sha256(told).hexdigest())
    return _Source(source.model, source.width, source.height, (scene,))


def _variant(name: str) -> ClipVariant:
    match name:
        case "video" | "thumbnail" | "spritesheet":
            return name
        case _:
            raise invalid(f"'variant' is video, thumbnail or spritesheet, not '{name}'.", "variant")
