"""What happens to a file that is put at a provider on behalf of another operation, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from perdure.events.codec import Upcaster
from perdure.events.command import Command
from perdure.events.event import Event
from perdure.events.sealed import Sealed


class UploadAsked(Event, frozen=True, tag="UploadAsked"):
    """Retired, see `UploadOrdered`: it also carried `on_uncertain`, which never applied to a file."""

    provider: str
    credential: str
    purpose: str
    segments: Sequence[tuple[str, int]]
    size_bytes: int
    owner_kind: str
    owner: str
    part: int
    settle_us: int
    patience_us: int
    searchable: bool = False
    on_uncertain: str = ""


class UploadOrdered(Event, frozen=True, tag="UploadOrdered"):
    """`owner` wants these blobs, one after the other, to be a file at the provider. `patience_us`: see `AskUpload`.

    No word on uncertainty: a second copy of an input file costs nothing and expires, so doubt only means another try.
    """

    provider: str
    credential: str
    purpose: str
    segments: Sequence[tuple[str, int]]
    size_bytes: int
    owner_kind: str
    owner: str
    part: int
    settle_us: int
    patience_us: int
    searchable: bool = False


def ordered(event: UploadAsked) -> UploadOrdered:
    """The upcaster from `UploadAsked`."""
    return UploadOrdered(
        provider=event.provider,
        credential=event.credential,
        purpose=event.purpose,
        segments=event.segments,
        size_bytes=event.size_bytes,
        owner_kind=event.owner_kind,
        owner=event.owner,
        part=event.part,
        settle_us=event.settle_us,
        patience_us=event.patience_us,
        searchable=event.searchable,
    )


class FileUploaded(Event, frozen=True, tag="FileUploaded"):
    """The provider has it as `provider_file`; `expires_at` is µs since 1970 UTC, 0 for never.

    `processing_since`: since when (µs UTC) the provider has been processing it; 0: it can be used at once.
    """

    schema: ClassVar[int] = 2

    attempt: int
    provider_file: str
    expires_at: int = 0
    reconciled: bool = False
    processing_since: int = 0


class UploadSessionKept(Event, frozen=True, tag="UploadSessionKept"):
    """The provider gave the upload a place at which it can be taken up again after it broke off."""

    session: Sealed[str]


class FileProcessed(Event, frozen=True, tag="FileProcessed"):
    """The provider has processed it: it can be used."""


class UploadFailed(Event, frozen=True, tag="UploadFailed"):
    """It cannot be put there."""

    code: str
    message: Sealed[str] = Sealed()


class UploadWithdrawn(Event, frozen=True, tag="UploadWithdrawn"):
    """The owner does not need it any more."""


class OwnerWarned(Event, frozen=True, tag="OwnerWarned"):
    """The owner knows that attempt `attempt` is blocked."""

    attempt: int


class OwnerTold(Event, frozen=True, tag="OwnerTold"):
    """The owner knows how it ended."""


class AskUpload(Command, frozen=True):
    """Puts blobs at a provider as a file. `segments` are (digest, bytes); after `patience_us` of refusals it fails."""

    provider: str
    credential: str
    purpose: str
    segments: Sequence[tuple[str, int]]
    size_bytes: int
    owner_kind: str
    owner: str
    part: int
    settle_us: int
    patience_us: int
    searchable: bool


class WithdrawUpload(Command, frozen=True):
    """The owner does not need the file any more."""


class ResumeUpload(Command, frozen=True):
    """Tries a blocked upload again now."""


class NoteUploaded(Command, frozen=True):
    """Report: the provider has it."""

    bought: ClassVar[bool] = True

    attempt: int
    provider_file: str
    expires_at: int = 0
    reconciled: bool = False
    processing: bool = False


class KeepUploadSession(Command, frozen=True):
    """Report: the upload can be taken up again at `session`."""

    attempt: int
    session: str


class NoteFileProcessed(Command, frozen=True):
    """Report: the provider has processed it."""


class FailUpload(Command, frozen=True):
    """Report: it cannot be done, whatever is tried."""

    code: str
    message: str


class NoteOwnerWarned(Command, frozen=True):
    """Report: the owner knows that it is blocked."""

    attempt: int


class NoteOwnerTold(Command, frozen=True):
    """Report: the owner knows."""


PROVIDER_FILE_EVENTS = (
    UploadOrdered,
    UploadSessionKept,
    FileUploaded,
    FileProcessed,
    UploadFailed,
    UploadWithdrawn,
    OwnerWarned,
    OwnerTold,
)
"""The types that are written today."""

PROVIDER_FILE_UPCASTERS: Mapping[type[Event], Upcaster] = {UploadAsked: ordered}
"""Retired types and what turns them into newer ones."""
