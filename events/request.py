"""What happens to one live request, and what may be asked of it.

A request is one purchase with the ordinal 0 that nobody can look up at the provider: see `events/purchase.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from msgspec import Struct

from perdure.events.command import Command
from perdure.events.cost import Cost
from perdure.events.event import Event
from perdure.events.file_warnings import FILE_WARNINGS, FileWarning
from perdure.events.purchase import OnUncertain
from perdure.events.sealed import Sealed, plain

INLINE_BYTES: Final = 16 * 1024
"""The longest body that stands in its event; longer ones are blobs."""


class Content(Struct, frozen=True, gc=False, omit_defaults=True):
    """A body as an event holds it: its `text`, or the digest of the `blob` that it is. `size_bytes` is its length."""

    size_bytes: int
    text: Sealed[str] = Sealed()
    blob: str = ""


def inline(body: bytes) -> Content | None:
    """`body` as the text of an event; None where it is longer than `INLINE_BYTES` or no UTF-8."""
    if len(body) > INLINE_BYTES:
        return None
    try:
        return Content(len(body), plain(body.decode()))
    except UnicodeDecodeError:
        return None


class HeldFile(Struct, frozen=True, gc=False, omit_defaults=True):
    """A file of ours that a request names. Its bytes are kept for the request, whatever becomes of the file."""

    id: str
    blob: str
    size_bytes: int
    mime_type: str
    filename: Sealed[str] = Sealed()


class RequestOpened(Event, frozen=True, tag="RequestOpened"):
    """The request is durable and may be sent. `digest` is a hash of what is asked, which tells a repeat from another
    request; `deadline_at` is µs since 1970 UTC, 0: none.

    `on_uncertain` says what is done when it cannot be told whether the provider took it. `neutral`: `body` is a prompt
    in neutral words, which becomes the provider's body when it is sent, for it names files; `files` are those of ours,
    and `subject` is the person whom they are about.
    """

    schema: ClassVar[int] = 2

    provider: str
    endpoint: str
    model: str
    credential: str
    body: Content
    digest: str
    on_uncertain: str
    deadline_at: int = 0
    custom_id: str = ""
    tags: Mapping[str, str] = {}
    neutral: bool = False
    files: Sequence[HeldFile] = ()
    subject: str = ""


class RequestAnswered(Event, frozen=True, tag="RequestAnswered"):
    """The provider's answer to attempt `attempt`, paid for, whoever still wants it. The first one counts.

    `code` says why nothing can be read in it, "" when it is a whole answer; `message` and `status` (HTTP, 0: none) go
    with it.
    """

    attempt: int
    body: Content
    code: str = ""
    message: Sealed[str] = Sealed()
    status: int = 0


class RequestFailed(Event, frozen=True, tag="RequestFailed"):
    """It was refused for good, or cannot be sent. `status` is the provider's HTTP status, 0 when it gave none."""

    code: str
    message: Sealed[str] = Sealed()
    status: int = 0


class RequestCancelled(Event, frozen=True, tag="RequestCancelled"):
    """Its caller does not want it any more. What is owed is settled first; an answer that still comes is recorded."""


class RequestExpired(Event, frozen=True, tag="RequestExpired"):
    """Its deadline passed; else as `RequestCancelled`."""


class RequestFilesReleased(Event, frozen=True, tag="RequestFilesReleased"):
    """The request needs the bytes of its files no more: `blobs` are their digests."""

    blobs: Sequence[str]


class OpenRequest(Command, frozen=True, kw_only=True):
    """Asks a provider once. `deadline_us` is µs from now, 0 for none. A repeat of the same request changes nothing."""

    provider: str
    endpoint: str
    model: str
    credential: str
    body: Content
    digest: str
    on_uncertain: OnUncertain = "resubmit"
    deadline_us: int = 0
    custom_id: str = ""
    tags: Mapping[str, str] = {}
    neutral: bool = False
    files: Sequence[HeldFile] = ()
    subject: str = ""


class CancelRequest(Command, frozen=True):
    """The caller's wish to end it."""


class ExpireRequest(Command, frozen=True):
    """Report: the deadline is here."""


class ResumeRequest(Command, frozen=True):
    """Tries a blocked request again now."""


class ResubmitRequest(Command, frozen=True):
    """Asks again, although it may have been answered and paid for already: the caller has looked, or accepts that."""


class NoteAnswered(Command, frozen=True):
    """Report: the provider answered; fields as in `RequestAnswered`, and what it cost."""

    bought: ClassVar[bool] = True

    attempt: int
    body: Content
    code: str = ""
    message: str = ""
    status: int = 0
    cost: Cost | None = None


class FailRequest(Command, frozen=True):
    """Report: it cannot be sent, whatever is tried."""

    code: str
    message: str


class NoteFileWarnings(Command, frozen=True):
    """Report: what became of files that could not be shown to the provider as they are. Known ones change nothing."""

    warnings: Sequence[FileWarning]


class ReleaseFiles(Command, frozen=True):
    """Report: the request has ended, and its files may go."""


REQUEST_EVENTS = (
    RequestOpened,
    RequestAnswered,
    RequestFailed,
    RequestCancelled,
    RequestExpired,
    RequestFilesReleased,
    *FILE_WARNINGS,
)
"""The types that are written today."""
