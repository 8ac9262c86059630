"""Requests as Google wants them: bodies of `:generateContent` for neutral prompts. The model stands in the path. Pure.

Sources: `contracts/providers.md` section 3 (20 November 2026), the types of Google's Python SDK 3.4.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, cast

from perdure.adapters.google.account import NAME
from perdure.adapters.messages import resolved_source, unsupported_part
from perdure.events.errors import InvalidRequest, Unsupported
from perdure.events.messages import Inline, Message, Part, ProviderRef, Text, Url, checked_messages
from perdure.events.requests import Prompt, RawRequest

VERSIONS: Final = ("v1", "v1beta", "v1alpha")
"""The versions under which Google answers; the first is where prompts go. What is new comes to the others first."""

ENDPOINTS: Final[Sequence[str]] = tuple(f"/{version}/models/{{model}}:generateContent" for version in VERSIONS)
"""The endpoints; `{model}` stands for the name of a model."""

Json: TypeAlias = dict[str, object]

_URL: Final = re.compile(rf"/(?:{'|'.join(VERSIONS)})/models/([^/:]+):generateContent")
_MODEL: Final = re.compile(r"[A-Za-z0-9._-]+")
_ROLES: Final = {"user": "user", "assistant": "model"}


def render(prompt: Prompt, endpoint: str) -> RawRequest:
    """Google's request for a neutral prompt; the model's name may begin with `models/`.

    `extra` is laid over the body at the end, as it is, but for its `generationConfig`, which is laid over ours field by
    field. Every part may be bytes or a file at Google. Raises `Unsupported` for another endpoint and for a URL as a
    source, which Google does not read; `InvalidRequest` for a source that nobody resolved and for a model that no path
    can name.
    """
    if endpoint not in ENDPOINTS:
        raise Unsupported(
            f"{NAME} has no place for a prompt in {endpoint!r}: send a raw request, or name one of"
            f" {', '.join(ENDPOINTS)}",
            capability="prompt",
            parameter="endpoint",
        )
    model = prompt.model.removeprefix("models/")
    if not _MODEL.fullmatch(model):
        raise InvalidRequest(
            f"{prompt.model!r} is no name of a model: letters, digits, '.', '_' and '-'",
            field="model",
            value=prompt.model,
        )
    body: Json = {"contents": [_turn(message, n) for n, message in enumerate(checked_messages(prompt.content))]}
    if prompt.instructions is not None:
        body["systemInstruction"] = {"parts": [{"text": prompt.instructions}]}
    settings: Json = {}
    if prompt.max_output_tokens is not None:
        settings["maxOutputTokens"] = prompt.max_output_tokens
    if prompt.temperature is not None:
        settings["temperature"] = prompt.temperature
    body |= prompt.extra
    theirs = body.get("generationConfig")
    if isinstance(theirs, Mapping):
        body["generationConfig"] = {**settings, **cast("Mapping[str, object]", theirs)}
    elif settings and theirs is None:
        body["generationConfig"] = settings
    return RawRequest(url=endpoint.replace("{model}", model), body=body, custom_id=prompt.custom_id)


def model_of(url: str) -> str:
    """The model that a request's URL names, "" when it names none."""
    found = _URL.fullmatch(url)
    return found[1] if found else ""


def template_of(url: str) -> str:
    """The endpoint, with `{model}` in it, of a request's URL; anything else as it is."""
    model = model_of(url)
    return url.replace(f"/models/{model}:", "/models/{model}:") if model else url


def _turn(message: Message, number: int) -> Json:
    parts = [_part(part, f"content[{number}].parts[{place}]") for place, part in enumerate(message.parts)]
    return {"role": _ROLES[message.role], "parts": parts}


def _part(part: Part, place: str) -> Json:
    if isinstance(part, Text):
        return {"text": part.text}
    match resolved_source(part.source, NAME, place):
        case Inline(data, mime_type):
            return {"inlineData": {"mimeType": mime_type, "data": b64encode(data).decode("ascii")}}
        case ProviderRef() as file:
            return {"fileData": {"fileUri": file.reference, "mimeType": file.mime_type}}
        case Url() as url:
            raise unsupported_part(part, NAME, "generateContent", place, source=url)
