"""Google's images: in answers of `:generateContent`, and Imagen's `:predict`."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.google.app import check_version
from perdure.adapters.simulator.google.bodies import decode, read_body
from perdure.adapters.simulator.google.errors import invalid, no_such_model
from perdure.adapters.simulator.google.files import json_response
from perdure.adapters.simulator.google.making import Studio, check_libraries, identity_of, payload_of
from perdure.adapters.simulator.media.pictures import Picture, PictureFormat
from perdure.adapters.simulator.media.sales import BLOCKED
from perdure.adapters.simulator.media.sizes import NotARatio, picture_size
from perdure.adapters.simulator.speech import NO_MODEL

IMAGE_TOKENS: Final = 1_290
"""What a picture is counted as, in tokens. Google's figure for a picture of 1024x1024."""

EDGES: Final = {"512": 512, "1K": 1_024, "2K": 2_048, "4K": 4_096}
"""The edge of a square, in pixels, by the word that asks for it."""

RAI_REASON: Final = "The image was filtered out because it violated the usage guidelines."
"""What stands in the place of a picture that was made and is not shown. The wording is ours."""

_FORMATS: Final[dict[str, PictureFormat]] = {"image/png": "png", "image/jpeg": "jpeg"}


class ImageConfig(Struct, frozen=True, rename="camel"):
    """What a picture shall be."""

    aspect_ratio: str = "1:1"
    image_size: str = "1K"


class _Instance(Struct, frozen=True):
    prompt: str = ""


class _OutputOptions(Struct, frozen=True, rename="camel"):
    mime_type: Literal["image/png", "image/jpeg"] = "image/png"
    compression_quality: Annotated[int, Meta(ge=0, le=100)] = 75


class _Parameters(Struct, frozen=True, rename="camel"):
    sample_count: Annotated[int, Meta(ge=1, le=4)] = 4
    aspect_ratio: str = "1:1"
    sample_image_size: str = "1K"
    output_options: _OutputOptions = _OutputOptions()


class _Predict(Struct, frozen=True):
    instances: list[_Instance]
    parameters: _Parameters = _Parameters()


def drawn(prompt: str, config: ImageConfig, seed: int, *, field: str = "generation_config.image_config") -> Picture:
    """The picture of a prompt, as PNG. Raises `ApiError` 400."""
    if config.image_size not in EDGES:
        raise invalid(f"The size of an image is one of {', '.join(EDGES)}, not '{config.image_size}'.", field)
    try:
        width, height = picture_size(config.aspect_ratio, EDGES[config.image_size])
    except NotARatio as error:
        raise invalid(f"{error}.", field) from error
    return Picture(seed=seed, prompt=prompt, width=width, height=height)


class Imagen:
    """Imagen's route."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> list[Route]:
        """The routes, below `/google`."""
        return [Route("/{version}/models/{model}:predict", self._predict, methods=["POST"])]

    async def _predict(self, request: Request) -> Response:
        version = check_version(request)
        model: str = request.path_params["model"]
        if model == NO_MODEL:
            raise no_such_model(model, version)
        check_libraries()
        body = await read_body(request)
        asked = decode(body, _Predict)
        prompt = prompt_of([one.prompt for one in asked.instances])
        wanted = asked.parameters
        config = ImageConfig(wanted.aspect_ratio, wanted.sample_image_size)
        options = wanted.output_options
        picture = replace(
            drawn(prompt, config, self._studio.world.seed, field="parameters"),
            format=_FORMATS[options.mime_type],
            compression=options.compression_quality,
        )
        _, mishap = await self._studio.world.storage.run(
            lambda tables: self._studio.sales.sell(
                tables,
                "image",
                id_prefix="imagen-",
                identity=identity_of(request),
                payload=payload_of(request, body),
            )
        )
        if mishap.empty:
            return json_response({})
        predictions: list[dict[str, Any]] = []
        for n in range(wanted.sample_count):
            if is_filtered(prompt, n):
                predictions.append({"raiFilteredReason": RAI_REASON})
                continue
            made = await self._studio.make(picture if n == 0 else replace(picture, salt=str(n)), mishap)
            predictions.append({"mimeType": options.mime_type, "bytesBase64Encoded": b64encode(made).decode()})
        return json_response({"predictions": predictions})


def prompt_of(prompts: list[str]) -> str:
    """The one prompt of a prediction. Raises `ApiError` 400."""
    if len(prompts) != 1 or not prompts[0].strip():
        raise invalid("There must be one instance, with a 'prompt'.", "instances")
    return prompts[0]


def is_filtered(prompt: str, number: int) -> bool:
    """Whether a sample is made and not shown: each one of a prompt that begins with the word, else the first."""
    return prompt.startswith(BLOCKED) or (number == 0 and BLOCKED in prompt)
