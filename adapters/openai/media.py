"""OpenAI's images and speech: the `MediaProvider` over `images` and `speech`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perdure.actors.fetch import Fetch, HttpRequest
from perdure.actors.media.ports import MediaAnswer
from perdure.actors.resolving.facts import ProviderFacts
from perdure.adapters.asking import ANSWER_S
from perdure.adapters.openai import images, speech
from perdure.adapters.openai.account import NAME
from perdure.adapters.openai_compatible.showing import MAX_BYTES, MAX_INLINE_BYTES
from perdure.events.errors import InvalidRequest
from perdure.events.media import Capability, MediaRequest, SpeechRequest

IDENTITY_HEADER: Final = "x-client-request-id"
"""OpenAI's header for an id of the caller's own, which its support can look up; there is no list of requests that it
could be searched in."""


class OpenAIMedia:
    """Implements `perdure.actors.media.ports.MediaProvider`; holds no state."""

    def __init__(self) -> None:
        self.name: str = NAME
        self.capabilities: Mapping[Capability, frozenset[str]] = {
            "image_generation": images.PARAMETERS,
            "image_editing": images.EDIT_PARAMETERS,
            "audio_generation": speech.PARAMETERS,
        }

    def model_of(self, request: MediaRequest) -> str:
        """The model that is asked. Speech has no usual one: all of OpenAI's are about to end (section 1.4)."""
        if request.model:
            return request.model
        if isinstance(request, SpeechRequest):
            raise InvalidRequest(f"{NAME} speaks with no usual model: name one", field="model")
        return images.DEFAULT_MODEL

    def check(self, request: MediaRequest) -> None:
        """See `images.check`, `speech.check`."""
        if isinstance(request, SpeechRequest):
            speech.check(request)
        else:
            images.check(request)

    def shows(self, endpoint: str) -> ProviderFacts:
        """Pictures go inline or by the id of an uploaded file."""
        return ProviderFacts(
            provider=NAME,
            references=images.SOURCE_TYPES,
            max_bytes=MAX_BYTES,
            inline=images.SOURCE_TYPES,
            max_inline_bytes=MAX_INLINE_BYTES,
            urls=images.SOURCE_TYPES,
        )

    async def ask(self, fetch: Fetch, request: MediaRequest, *, model: str, identity: str) -> MediaAnswer:
        """See `MediaProvider`."""
        if isinstance(request, SpeechRequest):
            path, body = speech.render(request, model)
            return speech.read(request, await fetch(_post(path, body, model, identity)))
        path, body = images.render(request, model)
        return images.read(await fetch(_post(path, body, model, identity)))


def _post(path: str, body: bytes, model: str, identity: str) -> HttpRequest:
    return HttpRequest(
        method="POST",
        path=path,
        safety="create",
        headers={"content-type": "application/json", IDENTITY_HEADER: identity},
        body=body,
        deadline_s=ANSWER_S,
        idle_s=ANSWER_S,
        model=model,
    )
