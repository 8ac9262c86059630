"""What happens to a file of ours and to its copies at providers, and what may be asked of it.

A copy is one upload of the file to one provider under one credential; `ordinal` numbers them from 0 and never comes
again, so each is one purchase with an identity of its own: see `events/purchase.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from perdure.events.command import Command
from perdure.events.event import Event
from perdure.events.sealed import Sealed


class FileCreated(Event, frozen=True, tag="FileCreated"):
    """The file is durable: `blob` is the digest of its content. Times are µs since 1970 UTC; `expires_at` 0: never.

    `filename` is safe to hand on; `shown` is what its owner called it, unset where that is the same. `mime_type` is
    what the content is; `declared` what it was said to be, "" where that does not differ.
    """

    blob: str
    size_bytes: int
    filename: Sealed[str]
    mime_type: str
    at: int
    expires_at: int = 0
    shown: Sealed[str] = Sealed()
    declared: str = ""
    charset: str = ""
    subject: str = ""
    tags: Mapping[str, str] = {}


class FileTimedOut(Event, frozen=True, tag="FileTimedOut"):
    """Its time to live is over: nobody is given it any more. What was being sent of it is sent to its end."""


class FileRemoved(Event, frozen=True, tag="FileRemoved"):
    """Somebody deleted it at `at` (µs since 1970 UTC); `everywhere`: its copies at providers too."""

    at: int
    everywhere: bool = False


class ContentReleased(Event, frozen=True, tag="ContentReleased"):
    """It is over and nothing needs its bytes any more: `blob` may be swept unless something else names it."""

    blob: str


class CopyOrdered(Event, frozen=True, tag="CopyOrdered"):
    """The file is to be at the provider, from `at` (µs since 1970 UTC) on it is pending.

    `settle_us` and `searchable`: how a copy can be found again. `replaces_lost`: the provider had lost the one before.
    """

    ordinal: int
    provider: str
    credential: str
    purpose: str
    at: int
    settle_us: int = 0
    searchable: bool = False
    replaces_lost: bool = False


class CopySessionKept(Event, frozen=True, tag="CopySessionKept"):
    """The provider gave the upload a place at which it can be taken up again after it broke off."""

    ordinal: int
    session: Sealed[str]


class CopyStored(Event, frozen=True, tag="CopyStored"):
    """The provider has it. `remote_id` is for its file routes, `reference` for requests; `expires_at` 0: never, or not
    told. `processing`: it cannot be used yet. `reconciled`: it was found there after its outcome had been unknown.
    """

    ordinal: int
    attempt: int
    remote_id: str
    reference: str
    at: int
    expires_at: int = 0
    processing: bool = False
    reconciled: bool = False


class CopyReady(Event, frozen=True, tag="CopyReady"):
    """The provider has processed it: it can be used. Fields as in `CopyStored`."""

    ordinal: int
    reference: str
    expires_at: int = 0


class CopyFailed(Event, frozen=True, tag="CopyFailed"):
    """It cannot be put there or cannot be used there. `status` is the provider's HTTP status, 0 where it gave none."""

    ordinal: int
    code: str
    message: Sealed[str] = Sealed()
    status: int = 0


class CopyWithdrawn(Event, frozen=True, tag="CopyWithdrawn"):
    """Nobody wants it there any more, and nothing of it has been sent."""

    ordinal: int


class CopyExpired(Event, frozen=True, tag="CopyExpired"):
    """The provider's time for it is over, or as good as over: it is not used any more."""

    ordinal: int


class CopyLost(Event, frozen=True, tag="CopyLost"):
    """The provider did not know it when it was used, although its time is not over."""

    ordinal: int


class SurplusFound(Event, frozen=True, tag="SurplusFound"):
    """An upload that nobody waits for any more left something at the provider at `at` (µs since 1970 UTC): it will be
    deleted there."""

    provider: str
    credential: str
    remote_id: str
    at: int


class CopyDeleted(Event, frozen=True, tag="CopyDeleted"):
    """The provider does not have it any more."""

    provider: str
    credential: str
    remote_id: str


class CopyLeft(Event, frozen=True, tag="CopyLeft"):
    """It could not be deleted at the provider and may still be there."""

    provider: str
    credential: str
    remote_id: str
    code: str
    message: Sealed[str] = Sealed()


FILE_EVENTS: tuple[type[Event], ...] = (
    FileCreated,
    FileTimedOut,
    FileRemoved,
    ContentReleased,
    CopyOrdered,
    CopySessionKept,
    CopyStored,
    CopyReady,
    CopyFailed,
    CopyWithdrawn,
    CopyExpired,
    CopyLost,
    SurplusFound,
    CopyDeleted,
    CopyLeft,
)
"""The types that are written today."""


# ---------------------------------------------------------------- what people and other actors ask


class CreateFile(Command, frozen=True, kw_only=True):
    """Names content that is in the blob store. `ttl_us` is its time to live in µs, 0: until somebody deletes it."""

    blob: str
    size_bytes: int
    filename: str
    mime_type: str
    ttl_us: int
    shown: str = ""
    declared: str = ""
    charset: str = ""
    subject: str = ""
    tags: Mapping[str, str] = {}


class RemoveFile(Command, frozen=True):
    """Deletes it; `everywhere`: its copies at providers too, also those of a file that is over already."""

    everywhere: bool = False


class PushFile(Command, frozen=True, kw_only=True):
    """Wants it at a provider. Nothing happens while it is there or on its way. `max_bytes`: the largest file there.

    `life_us`: how long it should be there from now on, in µs; one that will not, and is not new, is joined by another.
    """

    provider: str
    credential: str
    purpose: str
    settle_us: int
    searchable: bool
    max_bytes: int
    life_us: int = 0


class LoseCopy(Command, frozen=True):
    """The provider did not know `reference` when a request named it."""

    provider: str
    reference: str


class ResumeCopies(Command, frozen=True):
    """Tries blocked uploads again now: all of them, or (`ordinal` not below 0) one."""

    ordinal: int = -1


class WithdrawCopy(Command, frozen=True):
    """Gives an upload up, unless it has been sent."""

    ordinal: int


# ---------------------------------------------------------------- reports


class ExpireFile(Command, frozen=True):
    """Report: its time to live may be over."""


class ReleaseContent(Command, frozen=True):
    """Report: nothing needs its bytes."""


class KeepSession(Command, frozen=True):
    """Report: an upload can be taken up again at `session`."""

    ordinal: int
    attempt: int
    session: str


class NoteCopyStored(Command, frozen=True, kw_only=True):
    """Report: the provider has it; fields as in `CopyStored`. `failed` says why it cannot be used, "" when it can."""

    bought: ClassVar[bool] = True

    ordinal: int
    attempt: int
    provider: str
    credential: str
    remote_id: str
    reference: str
    expires_at: int = 0
    processing: bool = False
    reconciled: bool = False
    failed: str = ""


class NoteCopyReady(Command, frozen=True):
    """Report: it has been processed."""

    ordinal: int
    reference: str
    expires_at: int = 0


class FailCopy(Command, frozen=True):
    """Report: it cannot be put there or used there, whatever is tried."""

    ordinal: int
    code: str
    message: str


class ExpireCopy(Command, frozen=True):
    """Report: the provider's time for it may be over."""

    ordinal: int


class NoteCopyDeleted(Command, frozen=True):
    """Report: the provider does not have it any more."""

    provider: str
    credential: str
    remote_id: str


class LeaveCopy(Command, frozen=True):
    """Report: it cannot be deleted there, whatever is tried."""

    provider: str
    credential: str
    remote_id: str
    code: str
    message: str
