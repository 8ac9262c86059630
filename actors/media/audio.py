"""`service.audio`: texts that are read aloud."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from perdure.actors.backing import Acting
from perdure.actors.media.library import Library
from perdure.actors.media.ordering import Ordering
from perdure.actors.media.state import AUDIO
from perdure.actors.media.views import AudioHandle, StoredMedia
from perdure.actors.views import Summary
from perdure.actors.who import Who
from perdure.events.errors import InvalidRequest
from perdure.events.media import SpeechRequest
from perdure.events.purchase import OnUncertain


class Audio:
    """Speech. Come by it as `service.audio`."""

    def __init__(self, acting: Acting, ordering: Ordering, who: Who) -> None:
        self._acting = acting
        self._ordering = ordering
        self._who = who
        self._library = Library(AUDIO, acting, who)

    async def speech(
        self,
        request: SpeechRequest,
        /,
        *,
        provider: str,
        key: str | None = None,
        credential: str | None = None,
        deadline_s: float | None = None,
        on_uncertain: OnUncertain = "fail",
        tags: Mapping[str, str] | None = None,
    ) -> AudioHandle:
        """Has a text read aloud, once; durable when it returns. Parameters and errors are those of
        `images.generate`."""
        if not isinstance(request, SpeechRequest):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are untyped
            raise InvalidRequest(f"speech takes a SpeechRequest, not {type(request).__name__}", field="request")
        row = await self._ordering.order(
            AUDIO,
            request,
            self._who,
            provider=provider,
            key=key,
            credential=credential,
            deadline_s=deadline_s,
            on_uncertain=on_uncertain,
            tags=tags,
        )
        return AudioHandle(self._acting, row)

    async def get(self, id: str) -> StoredMedia:
        """What is stored under an item's id, `aud_…-0`. Raises `NotFound`."""
        return await self._library.find(id)

    def list(
        self, *, status: str | None = None, provider: str | None = None, tag: tuple[str, str] | None = None
    ) -> AsyncGenerator[Summary]:
        """The operations that fit, newest first. Reads no blob."""
        return self._library.listed(status=status, provider=provider, tag=tag)
