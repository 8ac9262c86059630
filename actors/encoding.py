"""Requests on their way into the log: judged, rendered for their provider and encoded, in one way for all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from perdure.events.errors import InvalidRequest, Unsupported
from perdure.events.requests import Prompt, RawRequest
from perdure.events.texts import check_text

LONGEST_CUSTOM_ID: Final = 256


class Renders(Protocol):
    """What encoding needs of a provider."""

    @property
    def name(self) -> str:
        """The provider's name."""
        ...

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """The provider's request for a neutral prompt. Raises `Unsupported`."""
        ...

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a request asks for, "" when it names none. `body` has at least the `model` of the body."""
        ...


class Encoded(Struct, frozen=True):
    """A request as its provider wants it: `endpoint` is the path that it goes to, `body` is JSON."""

    endpoint: str
    model: str
    body: bytes
    custom_id: str | None


class _Named(Struct):
    model: object = None
    stream: object = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Named).decode


def encode_request(
    provider: Renders,
    request: Prompt | RawRequest,
    *,
    endpoints: Sequence[str],
    endpoint: str | None,
    line: int | None = None,
) -> Encoded:
    """Renders and encodes one request. `endpoint` is where prompts go, by default the first of `endpoints`, in which
    `{model}` stands for the name of a model.

    `line` is named in errors. Raises `InvalidRequest`, `Unsupported`.
    """
    if isinstance(request, Prompt):
        request = provider.render(request, endpoint or endpoints[0])
    elif not isinstance(request, RawRequest):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are untyped
        raise InvalidRequest(
            f"a request is a Prompt or a RawRequest, not {type(request).__name__}", line=line, field="request"
        )
    if request.custom_id is not None:
        check_text(request.custom_id, "custom_id", longest=LONGEST_CUSTOM_ID, line=line)
    try:
        body = _checked(request.body) if isinstance(request.body, msgspec.Raw) else _encode(request.body)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"its body cannot be written as JSON: {error}", line=line, field="body") from error
    if not body.startswith(b"{"):
        raise InvalidRequest("its body is not a JSON object", line=line, field="body")
    try:
        named = _decode(body)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"its body is not valid JSON: {error}", line=line, field="body") from error
    if named.stream:
        raise Unsupported("answers are not streamed here: leave out 'stream'", capability="stream")
    if endpoint_of(request.url, endpoints) is None:
        raise InvalidRequest(
            f"{provider.name} takes no request for {request.url!r} here: one of {', '.join(endpoints)}",
            line=line,
            field="url",
            value=request.url,
        )
    model = provider.model_of(request.url, {"model": named.model})
    if not model:
        raise InvalidRequest("its body names no model", line=line, field="body.model")
    return Encoded(request.url, model, body, request.custom_id)


def endpoint_of(url: str, endpoints: Sequence[str]) -> str | None:
    """Which of `endpoints` a request's URL is of, None if it is of none."""
    return next((endpoint for endpoint in endpoints if _names(endpoint, url)), None)


def _names(endpoint: str, url: str) -> bool:
    """Whether a request's URL is of an endpoint, where `{model}` may stand for a segment or a part of one."""
    before, hole, after = endpoint.partition("{model}")
    if not hole:
        return url == endpoint
    model = url[len(before) : len(url) - len(after)]
    return bool(model) and "/" not in model and url == before + model + after


def _checked(body: msgspec.Raw) -> bytes:
    """A body that its caller wrote, all of it UTF-8: the decoder does not look into what it skips."""
    written = bytes(body)
    written.decode()
    return written


def digest_of(provider: str, encoded: Encoded) -> str:
    """What tells whether two requests under one key are the same: a hash of provider, endpoint and body."""
    return hashlib.sha256(b"\0".join((provider.encode(), encoded.endpoint.encode(), encoded.body))).hexdigest()[:32]
