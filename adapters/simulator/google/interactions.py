"""Google's interactions in the background that make a video: create, get, cancel, delete. JSON in snake case.

Interactions that answer at once, in words or otherwise, are not played.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Annotated, Any, Final, Literal, cast

from msgspec import Meta, Raw, Struct, ValidationError, convert, json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.google.app import check_version
from perdure.adapters.simulator.google.bodies import decode, read_body
from perdure.adapters.simulator.google.errors import ApiError, invalid, no_such_model
from perdure.adapters.simulator.google.files import base_url, json_response
from perdure.adapters.simulator.google.filestore import LIFE_S, rfc3339
from perdure.adapters.simulator.google.images import is_filtered
from perdure.adapters.simulator.google.making import check_libraries, identity_of, payload_of
from perdure.adapters.simulator.google.videos import RAI_REASON, VideoDesk, VideoRecord, size_of
from perdure.adapters.simulator.media.clips import Scene
from perdure.adapters.simulator.media.operations import ENDED, Complaint, Phase, Standing, standing
from perdure.adapters.simulator.speech import NO_MODEL, count_tokens
from perdure.adapters.simulator.storage import Tables

ID_PREFIX: Final = "interaction"

TOKENS_A_SECOND: Final = 260
"""How many tokens a second of video is taken for. Ours."""

MAX_SECONDS: Final = 60.0
"""The longest video, in seconds. Ours; Google's models make far shorter ones."""

STATUSES: Final[dict[Phase, str]] = {
    "queued": "queued",
    "running": "in_progress",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}

_DURATION: Final = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)s")

Label = Annotated[str, Meta(max_length=63, pattern=r"^[a-z0-9_\-]*$")]
"""A label's key or value: 63 characters (`contracts/providers.md` section 3.5)."""


class _Format(Struct, frozen=True):
    type: str
    resolution: str = "720p"
    aspect_ratio: str = "16:9"
    duration: str = "8s"
    delivery: Literal["inline", "uri"] = "inline"


class _Webhook(Struct, frozen=True):
    user_metadata: dict[str, object] = {}


class _Create(Struct, frozen=True, kw_only=True):
    model: str
    input: Raw
    response_format: _Format | list[_Format]
    background: bool = False
    store: bool = True
    stream: bool = False
    labels: dict[Label, Label] = {}
    webhook_config: _Webhook = _Webhook()


class _Item(Struct, frozen=True):
    """A block of content, as far as it is looked into."""

    type: str = ""
    text: str = ""
    data: str = ""
    uri: str = ""


class Interactions:
    """The routes of interactions."""

    def __init__(self, desk: VideoDesk) -> None:
        self._desk = desk
        self._studio = desk.studio
        self._world = desk.world

    def routes(self) -> list[Route]:
        """The routes, below `/google`."""
        return [
            Route("/{version}/interactions", self._create, methods=["POST"]),
            Route("/{version}/interactions/{id}", self._get, methods=["GET"]),
            Route("/{version}/interactions/{id}", self._delete, methods=["DELETE"]),
            Route("/{version}/interactions/{id}/cancel", self._cancel, methods=["POST"]),
        ]

    async def _create(self, request: Request) -> Response:
        version = check_version(request)
        body = await read_body(request)
        asked = decode(body, _Create, any_case=False)
        if asked.model == NO_MODEL:
            raise no_such_model(asked.model, version)
        check_libraries()
        wanted = _only_video(asked)
        length = _DURATION.fullmatch(wanted.duration)
        if length is None or not 1 <= float(length[1]) <= MAX_SECONDS:
            raise invalid(f"'duration' is like 8s, up to {MAX_SECONDS:g}s, not '{wanted.duration}'.", "response_format")
        width, height = size_of(wanted.aspect_ratio, wanted.resolution, "response_format")
        texts, salt = await self._read_input(asked.input)
        prompt = "\n".join(texts)
        if not prompt.strip():
            raise invalid("The input has no text.", "input")

        def accept(tables: Tables) -> VideoRecord:
            id_, mishap = self._studio.sales.sell(
                tables,
                "video",
                id_prefix=ID_PREFIX,
                identity=identity_of(request, asked.labels, asked.webhook_config.user_metadata, prompt=prompt),
                payload=payload_of(request, body),
            )
            record = VideoRecord(
                id=id_,
                created_at=self._world.clock.now(),
                pace_s=self._studio.pace_s,
                life_s=LIFE_S,
                mishap=mishap,
                model=asked.model,
                prompt=prompt,
                width=width,
                height=height,
                scenes=(Scene(prompt, float(length[1]), salt),),
                is_inline=wanted.delivery == "inline",
                labels=asked.labels,
            )
            self._desk.add(tables, record)
            return record

        return await self._show(request, await self._world.storage.run(accept))

    async def _read_input(self, given: Raw) -> tuple[list[str], str]:
        """The texts of an input, and a digest of the pictures in it. Raises `ApiError` 400."""
        texts: list[str] = []
        salt = ""
        for item in _items(given):
            if item.type == "text":
                texts.append(item.text)
            elif item.type == "image" and item.data:
                salt += await self._studio.check_picture(item.data, "input")
            elif item.type in ("image", "video") and item.uri:
                salt += item.uri
            else:
                raise invalid(f"This simulator takes no '{item.type}' in the input of an interaction.", "input")
        return texts, salt

    async def _read(self, request: Request) -> VideoRecord:
        check_version(request)
        id_: str = request.path_params["id"]
        record = await self._desk.read(id_)
        if record is None or not id_.startswith(ID_PREFIX):
            raise ApiError(404, f"There is no interaction {id_}.")
        return record

    async def _get(self, request: Request) -> Response:
        return await self._show(request, await self._read(request))

    async def _delete(self, request: Request) -> Response:
        record = await self._read(request)
        await self._desk.remove(record.id)
        return json_response({})

    async def _cancel(self, request: Request) -> Response:
        record = await self._read(request)
        before = await self._desk.cancel(record.id)
        if before is not None and before.phase in ENDED:
            raise ApiError(400, f"The interaction {record.id} has ended.", status="FAILED_PRECONDITION")
        return await self._show(request, await self._read(request))

    async def _show(self, request: Request, record: VideoRecord) -> Response:
        base = base_url(request, check_version(request))
        at = standing(record, self._world.clock.now())
        shown: dict[str, Any] = {
            "id": record.id,
            "model": record.model,
            "created": rfc3339(record.created_at),
            "updated": rfc3339(at.since),
        }
        if record.labels:
            shown["labels"] = record.labels
        complaint = _complaint(record, at)
        if complaint is not None:
            return json_response(
                shown | {"status": "failed", "errors": [{"code": complaint.code, "message": complaint.message}]}
            )
        shown["status"] = STATUSES[at.phase]
        if at.phase == "completed":
            shown["steps"] = [{"type": "model_output", "content": await self._content(record, base)}]
            shown["usage"] = _usage(record)
        return json_response(shown)

    async def _content(self, record: VideoRecord, base: str) -> list[dict[str, str]]:
        blocks: list[dict[str, str]] = []
        for n in record.shown():
            if record.is_inline:
                where = {"data": b64encode(await self._desk.bytes_of(record, n)).decode()}
            else:
                where = {"uri": self._desk.uri(record, n, base)}
            blocks.append({"type": "video", "mime_type": "video/mp4", **where})
        return blocks


def _items(given: Raw) -> list[_Item]:
    """The blocks of content of an input: a text, one block, or a list of blocks, or of steps with blocks in them.

    Raises `ApiError` 400.
    """
    found: list[_Item] = []
    waiting: list[object] = [json.decode(given)]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, str):
            found.append(_Item("text", value))
        elif isinstance(value, list):
            waiting = [*cast("list[object]", value), *waiting]
        elif isinstance(value, dict):
            named = cast("dict[str, object]", value)
            if "content" in named:
                waiting.insert(0, named["content"])
            else:
                found.append(_item(named))
        else:
            raise invalid("The input is a text, or a list of content or steps.", "input")
    return found


def _item(named: dict[str, object]) -> _Item:
    try:
        return convert(named, _Item)
    except ValidationError as error:
        raise invalid(f"The input cannot be read: {error}", "input") from error


def _only_video(asked: _Create) -> _Format:
    """The format of what is asked for. Raises `ApiError` 400 for what is not played."""
    formats = [asked.response_format] if isinstance(asked.response_format, _Format) else asked.response_format
    if len(formats) != 1 or formats[0].type != "video":
        raise invalid("This simulator plays interactions that make one video.", "response_format")
    if not asked.background or not asked.store or asked.stream:
        raise invalid("This simulator makes videos in the background, stores and does not stream them.", "background")
    return formats[0]


def _complaint(record: VideoRecord, at: Standing) -> Complaint | None:
    """Why an interaction failed; None: it did not."""
    if at.phase == "failed":
        return record.mishap.fails
    if at.phase == "completed" and is_filtered(record.prompt, 0):
        return Complaint("PROHIBITED_CONTENT", RAI_REASON)
    return None


def _usage(record: VideoRecord) -> dict[str, Any]:
    read, made = count_tokens(record.prompt), round(record.duration_s() * TOKENS_A_SECOND)
    return {
        "total_input_tokens": read,
        "input_tokens_by_modality": [{"modality": "text", "tokens": read}],
        "total_output_tokens": made,
        "output_tokens_by_modality": [{"modality": "video", "tokens": made}],
        "total_tokens": read + made,
    }
