"""Images and speech as applications see them: the operation, and what it made."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, TypeVar

import trio

from perdure.actors.media.effects import decode_request
from perdure.actors.media.state import CODECS, MediaState, evolve, initial
from perdure.actors.views import Handle, View
from perdure.events.command import Command
from perdure.events.cost import dollars
from perdure.events.errors import BlobLost, OperationError, OutcomeUncertain
from perdure.events.media import CancelMedia, MediaOrdered, ResubmitMedia, ResumeMedia, SpeechRequest, StoredItem
from perdure.events.supervision import SUPERVISION_EVENTS
from perdure.store.blobs import BlobReader

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredMedia:
    """One picture or recording whose bytes are kept here, for as long as the log is.

    `id` is `<operation>-<n>`, counted from 0. `mime_type` is what the bytes are. `width` and `height` are in pixels,
    `duration_s` in seconds, `sample_rate` in hertz; None where the bytes do not tell. `cost` is what the operation cost
    in US dollars, on its first item, so that sums are right; None where no price is known, and on the others. `prompt`
    is the text that was spoken, for speech; None where it was erased.
    """

    id: str
    mime_type: str
    size_bytes: int
    provider: str
    model: str
    prompt: str | None = None
    revised_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    sample_rate: int | None = None
    cost: Decimal | None = None
    _blob: str = field(repr=False, default="")
    _blobs: BlobReader | None = field(repr=False, compare=False, default=None)

    async def read(self) -> AsyncGenerator[bytes]:
        """The bytes, about a megabyte at a time. Leave it early through `aclosing`.

        Raises `BlobLost`, `Unavailable`.
        """
        if self._blobs is None:
            raise BlobLost(f"{self.id} was not read from a log: ask for it by its id", id=self.id)
        async for chunk in self._blobs.chunks(self._blob):
            yield chunk

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the bytes to `path`, whole or not at all: whoever looks finds the old file or the new one.

        Raises `BlobLost`, `Unavailable`, and OSError where the file cannot be written.
        """
        place = Path(path)
        partial = place.with_name(f".{place.name[:200]}.{secrets.token_hex(8)}.partial")
        file = await trio.to_thread.run_sync(partial.open, "xb")
        try:
            async with aclosing(self.read()) as chunks:
                async for chunk in chunks:
                    await trio.to_thread.run_sync(file.write, chunk)
            await trio.to_thread.run_sync(_finish, file, place)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        finally:
            file.close()
        return place


def _finish(file: IO[bytes], place: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    os.replace(file.name, place)


class MediaView(View[R_co]):
    """An operation that makes media, as any process sees it."""

    async def stored(self) -> list[StoredMedia]:
        """What is kept of it, also after it was cancelled or has expired; nothing is waited for."""
        state = await self._media()
        ordered = state.ordered
        if ordered is None or not state.items:
            return []
        prompt = await self._prompt(ordered)
        return [self._shown(state, ordered, prompt, number, item) for number, item in enumerate(state.items)]

    def _shown(
        self, state: MediaState, ordered: MediaOrdered, prompt: str | None, number: int, item: StoredItem
    ) -> StoredMedia:
        revised = item.revised_prompt.open()
        first = number == 0 and state.cost_ticks is not None
        return StoredMedia(
            id=f"{self.id}-{number}",
            mime_type=item.mime_type,
            size_bytes=item.size_bytes,
            provider=ordered.provider,
            model=ordered.model,
            prompt=prompt,
            revised_prompt=revised if isinstance(revised, str) else None,
            width=item.width,
            height=item.height,
            duration_s=item.duration_s,
            sample_rate=item.sample_rate_hz,
            cost=dollars(state.cost_ticks or 0) if first else None,
            _blob=item.blob,
            _blobs=self._backing.blobs,
        )

    async def _prompt(self, ordered: MediaOrdered) -> str | None:
        """What was said, None where it was erased."""
        said = ordered.request.text.open()
        if ordered.request.blob:
            body = await self._backing.blobs.read(ordered.request.blob)
        elif isinstance(said, str):
            body = said.encode()
        else:
            return None
        request = decode_request(body)
        return request.text if isinstance(request, SpeechRequest) else request.prompt

    async def _reason(self) -> str:
        state = await self._media()
        return ": ".join(part for part in (state.code, state.message) if part)

    async def _failure(self, status: str) -> Exception:
        failure = await super()._failure(status)
        state = await self._media()
        if isinstance(failure, OperationError) and state.cost_ticks is not None:
            failure.cost = dollars(state.cost_ticks)
        if isinstance(failure, OutcomeUncertain) and state.ordered is not None:
            failure.policy = state.ordered.on_uncertain
        return failure

    async def _media(self) -> MediaState:
        """The state as it is now: its stream is short, and reading it is shared with others."""
        stream = await self._backing.looking.stream(self.id)
        state = initial(self.id, stream.row.tenant)
        for _, _, payload in stream.events:
            event = CODECS[self.kind].decode(payload)
            if not isinstance(event, SUPERVISION_EVENTS):
                state = evolve(state, event)
        return state


class ImageView(MediaView[list[StoredMedia]]):
    """Images, as any process sees them."""

    async def _value(self) -> list[StoredMedia]:
        return await self.stored()


class AudioView(MediaView[StoredMedia]):
    """Speech, as any process sees it."""

    async def _value(self) -> StoredMedia:
        return (await self.stored())[0]


class MediaHandle(MediaView[R_co], Handle[R_co]):
    """An operation of a running service that makes media."""

    def _cancel_command(self) -> Command:
        return CancelMedia()

    def _resubmit_command(self) -> Command:
        return ResubmitMedia()

    def _resume_command(self) -> Command:
        return ResumeMedia()


class ImageHandle(ImageView, MediaHandle[list[StoredMedia]]):
    """Images of a running service."""


class AudioHandle(AudioView, MediaHandle[StoredMedia]):
    """Speech of a running service."""
