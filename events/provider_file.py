"""What happens to a file that is put at a provider on behalf of another operation, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from perdure.events.command import Command
from perdure.events.event import Event
from perdure.events.sealed import Sealed


class UploadAsked(Event, frozen=True, tag="UploadAsked"):
    """`owner` wants these blobs, one after the other, to be a file at the provider. `patience_us`: see `AskUpload`."""

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


class FileUploaded(Event, frozen=True, tag="FileUploaded"):
    """The provider has it as `provider_file`; `expires_at` is µs since 1970 UTC, 0 for never."""

    attempt: int
    provider_file: str
    expires_at: int = 0
    reconciled: bool = False


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
    on_uncertain: str


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


class FailUpload(Command, frozen=True):
    """Report: it cannot be done, whatever is tried."""

    code: str
    message: str


class NoteOwnerWarned(Command, frozen=True):
    """Report: the owner knows that it is blocked."""

    attempt: int


class NoteOwnerTold(Command, frozen=True):
    """Report: the owner knows."""


PROVIDER_FILE_EVENTS = (UploadAsked, FileUploaded, UploadFailed, UploadWithdrawn, OwnerWarned, OwnerTold)
