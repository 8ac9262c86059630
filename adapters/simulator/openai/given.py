"""What a media route was given, as JSON or as a form: its parameters, and the files that came with them.

In a form `a[b]` is the field `b` of `a`, `a[]` one of several, and every value is text.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections import defaultdict
from collections.abc import Collection
from typing import TypeVar

from msgspec import DecodeError, Struct, ValidationError, convert, json
from starlette.requests import Request

from perdure.adapters.simulator.filestore import FileStore
from perdure.adapters.simulator.forms import FormPart, parse_form
from perdure.adapters.simulator.media.pictures import Measured, NotAPicture, measure_picture
from perdure.adapters.simulator.media.sales import is_blocked
from perdure.adapters.simulator.media.shelf import why_no_media
from perdure.adapters.simulator.multipart import MultipartError
from perdure.adapters.simulator.openai.bodies import decode, explain, read_body
from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing, model_not_found
from perdure.adapters.simulator.speech import NO_MODEL
from perdure.adapters.simulator.world import World

S = TypeVar("S", bound=Struct)

MAX_IMAGE_BYTES = 50 * 1000 * 1000
"""The longest image that is taken: 50 MB (OpenAI's SDK 3.52, documentation of `images.edit`)."""


class Reference(Struct, frozen=True, forbid_unknown_fields=True):
    """An image that is named instead of sent: an address, a data URL among them, or a file at OpenAI."""

    image_url: str = ""
    file_id: str = ""


class Given(Struct, frozen=True):
    """What came. `payload` is the SHA-256, in hex, of the route and of all that was sent, however it was wrapped."""

    body: bytes | None
    fields: dict[str, object]
    files: dict[str, list[bytes]]
    payload: str

    def read(self, type_: type[S], *, not_played: Collection[str] = ()) -> S:
        """The parameters as a struct. Raises `ApiError` 400 that names the one that is wrong."""
        named = self.fields if self.body is None else _names(self.body)
        for name in sorted({*named, *self.files} & {*not_played}):
            raise invalid(f"This simulator does not play '{name}'.", name, "unsupported_value")
        if self.body is not None:
            return decode(self.body, type_)
        try:
            return convert(self.fields, type_, strict=False)
        except ValidationError as error:
            raise explain(str(error)) from error

    def only_files(self, *names: str) -> None:
        """Raises `ApiError` 400 for a file under any other name."""
        for name in self.files:
            if name not in names:
                raise invalid(f"There is no parameter '{name}'.", name, "unknown_parameter")


async def read_given(request: Request) -> Given:
    """Reads JSON or a form. Raises `ApiError` 400, 413, and 501 where the libraries that make media are missing."""
    if why := why_no_media():
        raise ApiError(501, why, type_="server_error", code="not_installed")
    body = await read_body(request)
    summed = hashlib.sha256(request.url.path.encode() + b"\n")
    content_type = request.headers.get("content-type", "")
    if not content_type.startswith("multipart/"):
        summed.update(body)
        return Given(body, {}, {}, summed.hexdigest())
    try:
        parts = parse_form(content_type, body)
    except MultipartError as error:
        raise ApiError(400, f"The body cannot be read: {error}.") from error
    fields, files = _sorted(parts)
    for part in sorted(parts, key=lambda part: part.name):
        summed.update(json.encode((part.name, len(part.data))) + part.data)
    return Given(None, fields, files, summed.hexdigest())


def _names(body: bytes) -> Collection[str]:
    """The names of the fields of a JSON object; none for what is no such thing, which is refused elsewhere."""
    try:
        return json.decode(body, type=dict[str, object])
    except DecodeError:
        return ()


def _sorted(parts: list[FormPart]) -> tuple[dict[str, object], dict[str, list[bytes]]]:
    fields: dict[str, object] = {}
    objects: defaultdict[str, dict[str, str]] = defaultdict(dict)
    files: defaultdict[str, list[bytes]] = defaultdict(list)
    for part in parts:
        outer, _, inner = part.name.removesuffix("]").partition("[")
        if part.filename is not None:
            files[outer].append(part.data)
        elif inner:
            objects[outer][inner] = part.data.decode("utf-8", "replace")
        else:
            fields[outer] = part.data.decode("utf-8", "replace")
    return {**fields, **objects}, dict(files)


def check_model(model: str | None) -> None:
    """Raises `ApiError` 404 for the one model that does not exist."""
    if model == NO_MODEL:
        raise model_not_found(model)


def check_prompt(prompt: str, longest: int, param: str = "prompt") -> None:
    """Raises `ApiError` 400 for a prompt that is empty, or longer than so many characters."""
    if not prompt.strip():
        raise invalid(f"'{param}' must not be empty.", param, "empty_string")
    if len(prompt) > longest:
        raise invalid(f"'{param}' may have {longest} characters, not {len(prompt)}.", param, "string_above_max_length")


def refuse_blocked(prompt: str) -> None:
    """Raises `ApiError` 400 for a prompt that moderation refuses."""
    if is_blocked(prompt):
        raise ApiError(
            400,
            "The request was rejected by the safety system.",
            type_="image_generation_user_error",
            code="moderation_blocked",
        )


async def resolve(reference: Reference, world: World, files: FileStore, param: str) -> bytes | None:
    """The bytes of an image that is named; None for an address elsewhere, which is never fetched.

    Raises `ApiError` 400 for one that cannot be read and 404 for a file that is not there.
    """
    if bool(reference.image_url) == bool(reference.file_id):
        raise missing(f"{param}.image_url")
    if reference.file_id:
        file = await files.read(reference.file_id)
        if file is None:
            raise ApiError(404, f"There is no file '{reference.file_id}'.", param=f"{param}.file_id")
        if file.size_bytes > MAX_IMAGE_BYTES:
            raise ApiError(413, f"An image may have {MAX_IMAGE_BYTES} bytes.", param=param)
        return await world.storage.bulk(world.path(file.id).read_bytes)
    if reference.image_url.startswith(("http://", "https://")):
        return None
    head, _, data = reference.image_url.partition(",")
    wrong = invalid(f"'{param}' is no address and no data URL of an image.", param, "invalid_image_url")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise wrong
    try:
        return b64decode(data, validate=True)
    except ValueError as error:
        raise wrong from error


async def measured(data: bytes, world: World, param: str) -> Measured:
    """What an image is. Raises `ApiError` 400 for what is none and 413 for one that is too long."""
    if len(data) > MAX_IMAGE_BYTES:
        raise ApiError(413, f"An image may have {MAX_IMAGE_BYTES} bytes.", param=param)
    try:
        return await world.storage.bulk(lambda: measure_picture(data))
    except NotAPicture as error:
        raise invalid(f"'{param}' cannot be used as an image: {error}.", param, "invalid_image") from error


def parse_size(size: str, param: str = "size") -> tuple[int, int]:
    """Width and height of `WxH`, in pixels, both multiples of 16. Raises `ApiError` 400."""
    wide, _, high = size.partition("x")
    if not (wide.isdecimal() and high.isdecimal() and len(size) <= 11):
        raise invalid(f"'{param}' must be like 1024x1024, not '{size}'.", param)
    width, height = int(wide), int(high)
    if not width or not height or width % 16 or height % 16:
        raise invalid(f"The width and height of '{param}' must be multiples of 16, not '{size}'.", param)
    return width, height
