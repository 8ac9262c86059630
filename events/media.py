"""Images and speech: what applications ask for, what happens to such an operation, and what may be asked of it.

One operation is one round trip and one purchase with the ordinal 0, which nobody can look up at the provider: see
`events/purchase.py`. The provider's answer and its cost are recorded before the bytes are kept (W-37), so that money
that was spent is on record whatever becomes of what it was spent on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias

from msgspec import Struct

from perdure.events.command import Command
from perdure.events.cost import Cost
from perdure.events.event import Event
from perdure.events.messages import Source
from perdure.events.purchase import OnUncertain
from perdure.events.request import Content, HeldFile
from perdure.events.requests import Usage
from perdure.events.sealed import Sealed

Capability = Literal["image_generation", "image_editing", "audio_generation"]
"""What a provider of media can do."""

# ---------------------------------------------------------------- what is asked for


class _Pictured(Struct, frozen=True):
    prompt: str


class ImageRequest(_Pictured, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="image"):
    """Pictures of a prompt. None leaves a parameter to the provider; one that it cannot honour is refused by name.

    `model` None: the provider's usual one. `n`: how many pictures. `size` is in pixels (`1024x1024`); `aspect_ratio`
    (`16:9`), `image_size` (`2K`) and `resolution` are other providers' words for it. `quality`, `background` and
    `style` are the provider's words. `output_format`: `png`, `jpeg` or `webp`. `strength`, 0 to 1: how far a source is
    left behind. `response_format`: how the provider hands over the bytes, which are kept here in either way.
    """

    model: str | None = None
    n: int | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    image_size: str | None = None
    resolution: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    style: str | None = None
    strength: float | None = None
    response_format: Literal["b64_json", "url"] | None = None


class ImageEdit(ImageRequest, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="edit"):
    """Pictures that are made of others. `images` are the sources, at least one; `mask` is as large as the first of
    them, and what is transparent in it is changed."""

    images: Sequence[Source]
    mask: Source | None = None


class _Spoken(Struct, frozen=True):
    text: str


class SpeechRequest(_Spoken, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="speech"):
    """A text that is read aloud. None leaves a parameter to the provider; one that it cannot honour is refused by name.

    `voice` is the provider's word, or one of `neutral`, `warm`, `bright`, `deep`. `format`: `mp3`, `opus`, `aac`,
    `flac`, `wav` or `pcm`. `speed` 1 is the usual one. `instructions` say how to speak. `language` is a BCP 47 tag.
    """

    model: str | None = None
    voice: str | None = None
    format: str | None = None
    speed: float | None = None
    instructions: str | None = None
    sample_rate_hz: int | None = None
    language: str | None = None


MediaRequest: TypeAlias = ImageRequest | ImageEdit | SpeechRequest

# ---------------------------------------------------------------- what happens


class StoredItem(Struct, frozen=True, gc=False, omit_defaults=True):
    """One picture or recording that is kept: the digest of its bytes, and what was measured in them.

    `mime_type` is what the bytes are, whatever they were called. None: not measurable, or of no meaning for the type.
    """

    blob: str
    mime_type: str
    size_bytes: int
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    sample_rate_hz: int | None = None
    revised_prompt: Sealed[str] = Sealed()


class MediaOrdered(Event, frozen=True, tag="MediaOrdered"):
    """The operation is durable and may be sent. `request` is a `MediaRequest` as JSON; `files` are those of ours that
    it names. `digest` tells a repeat from another request; `deadline_at` is µs since 1970 UTC, 0: none."""

    provider: str
    capability: str
    model: str
    credential: str
    request: Content
    digest: str
    on_uncertain: str
    deadline_at: int = 0
    tags: Mapping[str, str] = {}
    files: Sequence[HeldFile] = ()
    subject: str = ""


class MediaAnswered(Event, frozen=True, tag="MediaAnswered"):
    """The provider answered attempt `attempt` with `count` items: it is paid for. Its bytes are in the memory of one
    process until `MediaStored`. `usage` None: not reported, which is not zero."""

    attempt: int
    count: int
    usage: Usage | None = None


class MediaStored(Event, frozen=True, tag="MediaStored"):
    """The bytes of an answer are kept."""

    attempt: int
    items: Sequence[StoredItem]


class MediaLost(Event, frozen=True, tag="MediaLost"):
    """The process ended after attempt `attempt` was answered and before its bytes were kept: what was paid for is
    gone. What comes of that is the operation's policy for doubts."""

    attempt: int


class MediaFailed(Event, frozen=True, tag="MediaFailed"):
    """It was refused for good, cannot be sent, or what came is not what was ordered. `status` is the provider's HTTP
    status, 0 when it gave none."""

    code: str
    message: Sealed[str] = Sealed()
    status: int = 0


class MediaCancelled(Event, frozen=True, tag="MediaCancelled"):
    """Its caller does not want it any more. What is owed is settled first; an answer that still comes is kept."""


class MediaExpired(Event, frozen=True, tag="MediaExpired"):
    """Its deadline passed; else as `MediaCancelled`."""


class MediaFilesReleased(Event, frozen=True, tag="MediaFilesReleased"):
    """The operation needs the bytes of its sources no more: `blobs` are their digests."""

    blobs: Sequence[str]


MEDIA_EVENTS = (
    MediaOrdered,
    MediaAnswered,
    MediaStored,
    MediaLost,
    MediaFailed,
    MediaCancelled,
    MediaExpired,
    MediaFilesReleased,
)
"""The types that are written today."""

# ---------------------------------------------------------------- what may be asked of it


class OrderMedia(Command, frozen=True, kw_only=True):
    """Has media made, once. `deadline_us` is µs from now, 0 for none. A repeat of the same order changes nothing."""

    provider: str
    capability: Capability
    model: str
    credential: str
    request: Content
    digest: str
    on_uncertain: OnUncertain = "fail"
    deadline_us: int = 0
    tags: Mapping[str, str] = {}
    files: Sequence[HeldFile] = ()
    subject: str = ""


class CancelMedia(Command, frozen=True):
    """The caller's wish to end it."""


class ExpireMedia(Command, frozen=True):
    """Report: the deadline is here."""


class ResumeMedia(Command, frozen=True):
    """Tries a blocked operation again now."""


class ResubmitMedia(Command, frozen=True):
    """Has it made again, although it may be made and paid for already: the caller has looked, or accepts that."""


class NoteMediaAnswered(Command, frozen=True):
    """Report: the provider answered; fields as in `MediaAnswered`, and what it cost."""

    bought: ClassVar[bool] = True

    attempt: int
    count: int
    usage: Usage | None = None
    cost: Cost | None = None


class KeepMedia(Command, frozen=True):
    """Report: the bytes of an answer are in the blob store, durable and pinned."""

    bought: ClassVar[bool] = True

    attempt: int
    items: Sequence[StoredItem]


class SpoilMedia(Command, frozen=True):
    """Report: what the provider answered is not what was ordered."""

    attempt: int
    code: str
    message: str


class LoseMedia(Command, frozen=True):
    """Report: an answer was paid for, and the process that had its bytes has ended."""

    attempt: int


class FailMedia(Command, frozen=True):
    """Report: it cannot be sent, whatever is tried."""

    code: str
    message: str


class ReleaseMediaFiles(Command, frozen=True):
    """Report: the operation has ended, and its sources may go."""
