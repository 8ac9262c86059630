"""Requests for media that are refused before anything is recorded (W-41). Pure.

What cannot be right at any provider is judged here, what a provider cannot do by its table of capabilities, and the
values that it takes by its own `check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import structs

from perdure.actors.media.ports import MediaProvider
from perdure.events.errors import InvalidRequest, Unsupported
from perdure.events.media import Capability, ImageEdit, ImageRequest, MediaRequest, SpeechRequest
from perdure.events.messages import Image, Message
from perdure.events.texts import check_text

LONGEST_PROMPT: Final = 1_000_000
"""Characters of a prompt that may go into the log at all; what a provider takes is less."""

LONGEST_PARAMETER: Final = 32_000
"""Characters of any other text; only `instructions` come near that."""

_WORDS: Final[Mapping[Capability, str]] = {
    "image_generation": "image generation",
    "image_editing": "image editing",
    "audio_generation": "audio generation",
}
_NO_PARAMETERS: Final = frozenset({"prompt", "text", "model", "images"})


def capability_of(request: MediaRequest) -> Capability:
    """What a provider must be able to do for a request."""
    if isinstance(request, ImageEdit):
        return "image_editing"
    return "image_generation" if isinstance(request, ImageRequest) else "audio_generation"


def check_request(provider: MediaProvider, request: MediaRequest) -> str:
    """The model that is asked. Raises `Unsupported` with the capability and the parameter, `InvalidRequest`,
    `TooLarge`."""
    capability = capability_of(request)
    if capability not in provider.capabilities:
        raise Unsupported(f"{provider.name} does not support {_WORDS[capability]}", capability=capability)
    honoured = provider.capabilities[capability]
    for name in parameters(request):
        if name not in honoured:
            raise Unsupported(
                f"{provider.name} cannot honour {name!r} in {_WORDS[capability]}: leave it out (it takes"
                f" {', '.join(sorted(honoured)) or 'no parameters'})",
                capability=capability,
                parameter=name,
            )
    _check_values(request)
    model = provider.model_of(request)
    provider.check(request)
    return model


def parameters(request: MediaRequest) -> Sequence[str]:
    """The parameters that a request sets."""
    return [name for name, value in structs.asdict(request).items() if name not in _NO_PARAMETERS and value is not None]


def _check_values(request: MediaRequest) -> None:
    field = "text" if isinstance(request, SpeechRequest) else "prompt"
    said = request.text if isinstance(request, SpeechRequest) else request.prompt
    check_text(said, field, longest=LONGEST_PROMPT)
    if not said.strip():
        raise InvalidRequest(f"the {field} is empty: say what is to be made", field=field)
    for name, value in structs.asdict(request).items():
        if isinstance(value, str) and name != field:
            check_text(value, name, longest=LONGEST_PARAMETER)
    if isinstance(request, SpeechRequest):
        _check_number("speed", request.speed, above=0)
        _check_number("sample_rate_hz", request.sample_rate_hz, above=0)
        return
    if request.n is not None and (type(request.n) is not int or request.n < 1):
        raise InvalidRequest(f"n is {request.n!r}: how many pictures, from 1", field="n", limit=1, value=request.n)
    if request.strength is not None and not 0 <= request.strength <= 1:
        raise InvalidRequest(
            f"strength is {request.strength!r}: from 0 to 1", field="strength", limit=1, value=request.strength
        )
    if isinstance(request, ImageEdit) and not request.images:
        raise InvalidRequest("there is no image to edit: name one at least", field="images", limit=1, value=0)


def _check_number(name: str, value: float | None, *, above: float) -> None:
    if value is not None and not value > above:
        raise InvalidRequest(f"{name} is {value!r}: give a number above {above:g}", field=name, value=value)


# ---------------------------------------------------------------- sources as parts of a message


def with_sources(request: ImageEdit) -> Message:
    """The sources of an edit as a message, in which they are taken in and resolved as those of a prompt are: the images
    in their order, the mask last."""
    sources = [*request.images, *(() if request.mask is None else (request.mask,))]
    return Message("user", [Image(source) for source in sources])


def put_back(request: ImageEdit, message: Message) -> ImageEdit:
    """The request with the sources of a message that `with_sources` made and that became others since."""
    sources = [part.source for part in message.parts if isinstance(part, Image)]
    mask = sources.pop() if request.mask is not None else None
    return structs.replace(request, images=sources, mask=mask)


def place_of(request: ImageEdit, number: int) -> str:
    """The field of the source that is part `number` of that message."""
    return "mask" if number == len(request.images) else f"images[{number}]"
