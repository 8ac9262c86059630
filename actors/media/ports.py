"""The port for media of one round trip: what a provider must be able to do. Adapters implement it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from perdure.actors.fetch import Fetch
from perdure.actors.resolving.facts import ProviderFacts
from perdure.events.media import Capability, MediaRequest
from perdure.events.requests import Usage


class MadeItem(Struct, frozen=True, kw_only=True):
    """One picture or recording as the provider handed it over.

    `data` is text in base64, or the bytes. `mime_type` is what the provider calls it, or what it was asked for; ""
    where nobody says. `sample_rate_hz` is of bare samples, which do not say it themselves.
    """

    data: bytes | str
    mime_type: str = ""
    sample_rate_hz: int | None = None
    revised_prompt: str = ""


class MediaAnswer(Struct, frozen=True, kw_only=True):
    """What a provider answered. `usage` None: it reported none."""

    items: Sequence[MadeItem]
    usage: Usage | None = None


class MediaProvider(Protocol):
    """A provider that makes images or speech in one round trip."""

    name: str
    capabilities: Mapping[Capability, frozenset[str]]
    """What it can do, and for each the parameters of the request that it can honour. What is not here is refused by
    name (W-41)."""

    def model_of(self, request: MediaRequest) -> str:
        """The model that is asked, also where the request names none. Raises `InvalidRequest` where it has to."""
        ...

    def check(self, request: MediaRequest) -> None:
        """Raises `InvalidRequest`, `TooLarge` for values that this provider never takes. Pure."""
        ...

    def shows(self, endpoint: str) -> ProviderFacts:
        """How the sources of an edit can be shown; `endpoint` is the capability."""
        ...

    async def ask(self, fetch: Fetch, request: MediaRequest, *, model: str, identity: str) -> MediaAnswer:
        """Sends one request, a purchase. Its sources are `Inline`, `Url` or `ProviderRef` of this provider.

        Raises `Refused`, `NotSent`, `Unknown`: an answer that cannot be read at all is `Unknown`, one without an item
        is an answer.
        """
        ...
