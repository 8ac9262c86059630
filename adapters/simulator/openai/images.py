"""OpenAI's images: generations (JSON) and edits (a form, or JSON with references). Answers hold base64."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.filestore import FileStore
from perdure.adapters.simulator.media.operations import Mishap
from perdure.adapters.simulator.media.pictures import Picture
from perdure.adapters.simulator.media.sales import Sales
from perdure.adapters.simulator.media.shelf import Shelf
from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing
from perdure.adapters.simulator.openai.given import (
    Given,
    Reference,
    check_model,
    check_prompt,
    measured,
    parse_size,
    read_given,
    refuse_blocked,
    resolve,
)
from perdure.adapters.simulator.openai.lists import json_response
from perdure.adapters.simulator.speech import count_tokens
from perdure.adapters.simulator.world import World

MAX_PROMPT: Final = 32_000
"""The longest prompt, in characters (OpenAI's SDK 3.52, documentation of `images.generate`)."""

MAX_SOURCES: Final = 16
"""How many images an edit may have (same source, `images.edit`)."""

MAX_MASK_BYTES: Final = 4 * 1000 * 1000
"""The longest mask: 4 MB (same source)."""

MAX_EDGES: Final = (3840, 2160)
"""The longest and the shorter edge of the largest picture, in pixels (same source)."""

MAX_RATIO: Final = 3
"""How many times longer than the other an edge may be (same source)."""

USUAL_SIZE: Final = "1024x1024"
"""What `auto` is here."""

TOKENS_A_SQUARE: Final = {"low": 272, "medium": 1_056, "high": 4_160, "xhigh": 8_320, "max": 16_640}
"""Tokens of a picture of 1024x1024 by its quality; others have as many as they are larger or smaller. The first is in
`contracts/providers.md` section 1.3, the others are ours."""

SOURCE_TOKENS: Final = 256
"""How many tokens a source image is taken for. Ours."""

_SQUARE: Final = 1024 * 1024

_NOT_PLAYED: Final = ("svg", "style", "frame_count", "frame_duration_ms", "markup")


class _Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: str
    model: str | None = None
    n: Annotated[int, Meta(ge=1, le=10)] | None = None
    size: str | None = None
    quality: Literal["low", "medium", "high", "xhigh", "max", "auto"] | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    output_format: Literal["png", "jpeg", "webp", "gif", "svg"] | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100)] | None = None
    moderation: Literal["low", "auto"] | None = None
    complexity: Literal["low", "medium", "high"] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    safety_identifier: str | None = None
    user: str | None = None
    stream: bool | None = None
    partial_images: int | None = None


class _AskedEdit(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    images: list[Reference] = []
    mask: Reference | None = None
    input_fidelity: Literal["high", "low"] | None = None


class ImageItem(Struct, frozen=True):
    """One picture of an answer."""

    b64_json: str


class ImageTokens(Struct, frozen=True):
    """Tokens by what they are of."""

    text_tokens: int
    image_tokens: int


class ImageUsage(Struct, frozen=True):
    """What an answer used, in tokens."""

    input_tokens: int
    input_tokens_details: ImageTokens
    output_tokens: int
    output_tokens_details: ImageTokens
    total_tokens: int


class ImagesAnswer(Struct, frozen=True):
    """The answer of both routes."""

    created: int
    data: list[ImageItem]
    background: str
    output_format: str
    quality: str
    size: str
    usage: ImageUsage


class Images:
    """The image routes. `files` are those that references may name."""

    def __init__(self, world: World, files: FileStore, *, shelf: Shelf, sales: Sales) -> None:
        self._world = world
        self._files = files
        self._shelf = shelf
        self._sales = sales

    def routes(self) -> list[Route]:
        """The routes, below `/openai/v1`."""
        return [
            Route("/images/generations", self._generate, methods=["POST"]),
            Route("/images/edits", self._edit, methods=["POST"]),
        ]

    async def _generate(self, request: Request) -> Response:
        given = await read_given(request)
        if given.body is None:
            raise ApiError(400, "The body must be JSON.")
        asked = given.read(_Asked, not_played=_NOT_PLAYED)
        return await self._answer(request, given, asked, self._picture(asked), sources=0)

    async def _edit(self, request: Request) -> Response:
        given = await read_given(request)
        asked = given.read(_AskedEdit, not_played=_NOT_PLAYED)
        given.only_files("image", "mask")
        picture = self._picture(asked)
        if len(asked.images) > MAX_SOURCES or len(given.files.get("image", ())) > MAX_SOURCES:
            raise invalid(f"There may be {MAX_SOURCES} images at most.", "image", "array_above_max_length")
        sources: list[bytes | None] = [*given.files.get("image", ())]
        for n, reference in enumerate(asked.images):
            sources.append(await resolve(reference, self._world, self._files, f"images[{n}]"))
        if not sources:
            raise missing("image")
        masks = given.files.get("mask")
        mask = masks[0] if masks else None
        if asked.mask is not None:
            mask = await resolve(asked.mask, self._world, self._files, "mask")
        sizes = [await measured(data, self._world, "image") for data in sources if data is not None]
        first = sources[0]
        if first is not None:
            if asked.size in (None, "auto"):
                picture = replace(picture, **_fitting(sizes[0].width, sizes[0].height))
            picture = replace(picture, under=first)
        if mask is not None:
            await self._check_mask(mask, (sizes[0].width, sizes[0].height) if first is not None else None)
            picture = replace(picture, mask=mask if first is not None else b"")
        return await self._answer(request, given, asked, picture, sources=len(sources))

    async def _check_mask(self, mask: bytes, wanted: tuple[int, int] | None) -> None:
        if len(mask) > MAX_MASK_BYTES:
            raise ApiError(413, f"A mask may have {MAX_MASK_BYTES} bytes.", param="mask")
        told = await measured(mask, self._world, "mask")
        if told.format != "PNG":
            raise invalid(f"'mask' must be a PNG, not a {told.format}.", "mask", "invalid_image_format")
        if wanted is not None and (told.width, told.height) != wanted:
            raise invalid(
                f"'mask' is {told.width}x{told.height} and the image {wanted[0]}x{wanted[1]}; they must be alike.",
                "mask",
                "invalid_mask_size",
            )

    def _picture(self, asked: _Asked) -> Picture:
        """The picture that is asked for. Raises `ApiError` 400 and 404."""
        check_model(asked.model)
        check_prompt(asked.prompt, MAX_PROMPT)
        if asked.stream or asked.partial_images:
            name = "stream" if asked.stream else "partial_images"
            raise invalid("This simulator does not stream answers.", name, "unsupported_value")
        if asked.response_format is not None and (
            asked.response_format == "url" or (asked.model or "gpt-image-").startswith("gpt-image-")
        ):
            raise invalid("Images always come as base64; there is no 'response_format'.", "response_format")
        format_ = asked.output_format or "png"
        if format_ == "gif" or format_ == "svg":
            raise invalid(
                f"This simulator makes png, jpeg and webp, not {format_}.", "output_format", "unsupported_value"
            )
        if asked.background == "transparent" and format_ == "jpeg":
            raise invalid("A jpeg cannot be transparent; take png or webp.", "background")
        if asked.output_compression is not None and format_ == "png":
            raise invalid("'output_compression' is for jpeg and webp.", "output_compression")
        width, height = parse_size(USUAL_SIZE if asked.size is None or asked.size == "auto" else asked.size)
        longest, other = max(width, height), min(width, height)
        if longest > MAX_EDGES[0] or other > MAX_EDGES[1] or longest > MAX_RATIO * other:
            raise invalid(
                f"'size' may be {MAX_EDGES[0]}x{MAX_EDGES[1]} at most and 1:{MAX_RATIO} to {MAX_RATIO}:1.", "size"
            )
        return Picture(
            seed=self._world.seed,
            prompt=asked.prompt,
            width=width,
            height=height,
            format=format_,
            compression=100 if asked.output_compression is None else asked.output_compression,
            transparent=asked.background == "transparent",
        )

    async def _answer(
        self, request: Request, given: Given, asked: _Asked, picture: Picture, *, sources: int
    ) -> Response:
        refuse_blocked(asked.prompt)
        identity = request.headers.get("x-client-request-id", "")
        _, mishap = await self._world.storage.run(
            lambda tables: self._sales.sell(
                tables, "image", id_prefix="image_", identity=identity, payload=given.payload
            )
        )
        created = int(self._world.clock.now())
        items = await self._items(picture, asked.n or 1, mishap)
        quality = "medium" if asked.quality is None or asked.quality == "auto" else asked.quality
        answer = ImagesAnswer(
            created=created,
            data=items,
            background="transparent" if picture.transparent else "opaque",
            output_format=picture.format,
            quality=quality,
            size=f"{picture.width}x{picture.height}",
            usage=_usage(picture, quality, asked.n or 1, sources),
        )
        return json_response(answer)

    async def _items(self, picture: Picture, count: int, mishap: Mishap) -> list[ImageItem]:
        if mishap.empty:
            return []
        items: list[ImageItem] = []
        for n in range(count):
            if mishap.wrong is not None:
                made = mishap.wrong.encode()
            else:
                made = await self._shelf.get(picture if n == 0 else replace(picture, salt=str(n)))
            items.append(ImageItem(b64encode(made).decode()))
        return items


def _fitting(width: int, height: int) -> dict[str, int]:
    """The size of an edit that may choose it: that of its source, in multiples of 16 and within bounds."""
    scale = min(1.0, MAX_EDGES[1] / max(width, height))
    wide, high = (max(16, int(edge * scale) // 16 * 16) for edge in (width, height))
    return {"width": wide, "height": high}


def _usage(picture: Picture, quality: str, count: int, sources: int) -> ImageUsage:
    share = picture.width * picture.height / _SQUARE
    made = count * max(1, round(TOKENS_A_SQUARE[quality] * share))
    text = count_tokens(picture.prompt)
    return ImageUsage(
        input_tokens=text + sources * SOURCE_TOKENS,
        input_tokens_details=ImageTokens(text, sources * SOURCE_TOKENS),
        output_tokens=made,
        output_tokens_details=ImageTokens(0, made),
        total_tokens=text + sources * SOURCE_TOKENS + made,
    )
