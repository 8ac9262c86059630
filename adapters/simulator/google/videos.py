"""Google's videos: Veo's long-running operations, and the generated files in which every video of Google's comes.

A generated file is made when it is fetched, and is listed nowhere (see `media/operations.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.download import Download
from perdure.adapters.simulator.google.app import check_version
from perdure.adapters.simulator.google.bodies import decode, read_body
from perdure.adapters.simulator.google.errors import ApiError, invalid, no_such_model, rpc_code
from perdure.adapters.simulator.google.files import base_url, json_response
from perdure.adapters.simulator.google.filestore import LIFE_S
from perdure.adapters.simulator.google.images import is_filtered, prompt_of
from perdure.adapters.simulator.google.making import Studio, check_libraries, identity_of, payload_of
from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.media.clips import Clip, Scene
from perdure.adapters.simulator.media.operations import Operation, OperationDesk, Standing, standing
from perdure.adapters.simulator.media.sizes import NotARatio, film_size
from perdure.adapters.simulator.speech import NO_MODEL
from perdure.adapters.simulator.storage import Tables

EDGES: Final = {"360p": 360, "720p": 720, "1080p": 1_080, "4k": 2_160}
"""The shorter edge of a video, in pixels, by the word that asks for it."""

VEO_PREFIX: Final = "veo"
"""How an operation's id begins. It has letters and digits alone, for it is part of a file's id: Google's client (3.4)
takes no more than those of a file's address."""

RAI_REASON: Final = "The video was filtered out because it violated the usage guidelines."
"""Why a video was made and is not shown. The wording is ours."""

_INTERNAL: Final = 13


class _Picture(Struct, frozen=True, rename="camel"):
    bytes_base64_encoded: str = ""
    gcs_uri: str = ""


class _Reference(Struct, frozen=True):
    image: _Picture = _Picture()


class _Film(Struct, frozen=True):
    uri: str = ""


class _Instance(Struct, frozen=True, rename="camel"):
    prompt: str = ""
    image: _Picture | None = None
    last_frame: _Picture | None = None
    reference_images: list[_Reference] = []
    video: _Film | None = None

    def pictures(self) -> list[_Picture]:
        given = [picture for picture in (self.image, self.last_frame) if picture is not None]
        return [*given, *(reference.image for reference in self.reference_images)]


class _Parameters(Struct, frozen=True, rename="camel"):
    sample_count: Annotated[int, Meta(ge=1, le=4)] = 1
    aspect_ratio: str = "16:9"
    duration_seconds: Annotated[float, Meta(ge=1, le=60)] = 8
    resolution: str = "720p"
    negative_prompt: str = ""


class _Webhook(Struct, frozen=True, rename="camel"):
    user_metadata: dict[str, object] = {}


class _Predict(Struct, frozen=True, rename="camel"):
    instances: list[_Instance]
    parameters: _Parameters = _Parameters()
    webhook_config: _Webhook = _Webhook()


class VideoRecord(Operation, frozen=True, kw_only=True):
    """A video of either kind as it is kept: of `samples` that were made; `width` and `height` are in pixels.

    An interaction's `is_inline` says that its bytes come in the answer; `labels` are those that were given.
    """

    model: str
    prompt: str
    width: int
    height: int
    scenes: tuple[Scene, ...]
    samples: int = 1
    is_inline: bool = False
    labels: dict[str, str] = field(default_factory=dict[str, str])

    def shown(self) -> list[int]:
        """The samples that can be fetched, by their numbers."""
        return [] if self.mishap.empty else [n for n in range(self.samples) if not is_filtered(self.prompt, n)]

    def duration_s(self) -> float:
        """How long it is, in seconds."""
        return sum(scene.duration_s for scene in self.scenes)


class VideoDesk(OperationDesk[VideoRecord]):
    """The videos and what they are made with."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio.world, "google-video", VideoRecord)
        self.studio = studio

    def uri(self, record: VideoRecord, number: int, base: str) -> str:
        """Where a sample is, below the base of an answer's addresses."""
        return f"{base}/files/{record.id}{number}:download?alt=media"

    async def of_uri(self, uri: str) -> tuple[VideoRecord, int] | None:
        """The video and the number of the sample that a URI or a file's id names."""
        file = uri.rpartition("files/")[2].partition(":")[0]
        id_, number = file[:-1], file[-1:]
        record = await self.read(id_) if number.isdecimal() else None
        return None if record is None or int(number) not in record.shown() else (record, int(number))

    async def bytes_of(self, record: VideoRecord, number: int) -> bytes:
        """A sample's bytes."""
        first, *others = record.scenes
        scenes = (first if number == 0 else replace(first, salt=f"{first.salt}{number}"), *others)
        clip = Clip(seed=self.world.seed, width=record.width, height=record.height, scenes=scenes)
        return await self.studio.make(clip, record.mishap)

    async def download(self, id_: str) -> Response | None:
        """The answer that holds a generated file; None: there is none with this id, or its time is over."""
        found = await self.of_uri(id_)
        if found is None:
            return None
        record, number = found
        now = self.world.clock.now()
        at = standing(record, now)
        if at.phase != "completed" or at.gone(now):
            return None
        made = await self.bytes_of(record, number)
        return Download(made, len(made), self.world.storage, headers={"content-type": "video/mp4"})


class Veo:
    """Veo's routes."""

    def __init__(self, desk: VideoDesk) -> None:
        self._desk = desk
        self._studio = desk.studio
        self._world = desk.world

    def routes(self) -> list[Route]:
        """The routes, below `/google`."""
        return [
            Route("/{version}/models/{model}:predictLongRunning", self._predict, methods=["POST"]),
            Route("/{version}/models/{model}/operations/{id}", self._get, methods=["GET"]),
        ]

    async def _predict(self, request: Request) -> Response:
        version = check_version(request)
        model: str = request.path_params["model"]
        if model == NO_MODEL:
            raise no_such_model(model, version)
        check_libraries()
        body = await read_body(request)
        asked = decode(body, _Predict)
        prompt = prompt_of([one.prompt for one in asked.instances])
        instance, wanted = asked.instances[0], asked.parameters
        width, height = size_of(wanted.aspect_ratio, wanted.resolution, "parameters")
        salt = digest(0, wanted.negative_prompt)[:16] if wanted.negative_prompt else ""
        for picture in instance.pictures():
            if not picture.gcs_uri:
                salt += await self._studio.check_picture(picture.bytes_base64_encoded, "instances")
        scenes: tuple[Scene, ...] = (Scene(prompt, wanted.duration_seconds, salt),)
        if instance.video is not None:
            source = await self._source(instance.video.uri)
            width, height, scenes = source.width, source.height, (*source.scenes, *scenes)

        def accept(tables: Tables) -> VideoRecord:
            id_, mishap = self._studio.sales.sell(
                tables,
                "video",
                id_prefix=VEO_PREFIX,
                identity=identity_of(request, asked.webhook_config.user_metadata, prompt=prompt),
                payload=payload_of(request, body),
            )
            record = VideoRecord(
                id=id_,
                created_at=self._world.clock.now(),
                pace_s=self._studio.pace_s,
                life_s=LIFE_S,
                mishap=mishap,
                model=model,
                prompt=prompt,
                width=width,
                height=height,
                scenes=scenes,
                samples=wanted.sample_count,
            )
            self._desk.add(tables, record)
            return record

        return json_response({"name": _name(await self._world.storage.run(accept))})

    async def _source(self, uri: str) -> VideoRecord:
        found = await self._desk.of_uri(uri)
        now = self._world.clock.now()
        if found is None or (at := standing(found[0], now)).phase != "completed" or at.gone(now):
            raise invalid("The video to extend must be one that was generated, and is still there.", "instances.video")
        return found[0]

    async def _get(self, request: Request) -> Response:
        base = base_url(request, check_version(request))
        id_: str = request.path_params["id"]
        record = await self._desk.read(id_)
        if record is None or not id_.startswith(VEO_PREFIX) or record.model != request.path_params["model"]:
            raise ApiError(404, f"There is no operation {request.path_params['model']}/operations/{id_}.")
        return json_response(self._shown(record, standing(record, self._world.clock.now()), base))

    def _shown(self, record: VideoRecord, at: Standing, base: str) -> dict[str, Any]:
        """An operation. It tells nothing of how far it is, and what is not there is left out."""
        operation: dict[str, Any] = {"name": _name(record)}
        if at.phase == "failed" and (fails := record.mishap.fails) is not None:
            error = {"code": rpc_code(fails.code, otherwise=_INTERNAL), "message": fails.message}
            return {**operation, "done": True, "error": error}
        if at.phase != "completed":
            return operation
        shown = record.shown()
        said: dict[str, Any] = {}
        if shown:
            said["generatedSamples"] = [{"video": {"uri": self._desk.uri(record, n, base)}} for n in shown]
        if filtered := sum(is_filtered(record.prompt, n) for n in range(record.samples)):
            said |= {"raiMediaFilteredCount": filtered, "raiMediaFilteredReasons": [RAI_REASON] * filtered}
        return {**operation, "done": True, "response": {"generateVideoResponse": said}}


def size_of(aspect_ratio: str, resolution: str, field: str) -> tuple[int, int]:
    """Width and height of a video, in pixels. Raises `ApiError` 400."""
    if resolution not in EDGES:
        raise invalid(f"The resolution is one of {', '.join(EDGES)}, not '{resolution}'.", field)
    try:
        return film_size(aspect_ratio, EDGES[resolution])
    except NotARatio as error:
        raise invalid(f"{error}.", field) from error


def _name(record: VideoRecord) -> str:
    return f"models/{record.model}/operations/{record.id}"
