"""The one error hierarchy: a tree by what the caller can do about it.

Each class carries its facts as attributes, not only in its text, and an `exit_code` that the command line ends with.
Messages name the thing, the value (shortened, secrets never) and the next step.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Literal

_SHOWN_CHARACTERS = 80

SourceTrouble = Literal[
    "kind",
    "missing",
    "unreadable",
    "directory",
    "device",
    "changed",
    "empty",
    "data_url",
    "url",
    "not_allowed",
    "refused",
    "not_downloadable",
]
"""Why a source cannot be read: see `InvalidSource`."""

WebhookTrouble = Literal["headers", "timestamp", "signature", "body", "too_large"]
"""Why a webhook is refused: see `InvalidWebhook`."""


def shorten(value: object) -> str:
    """`repr(value)`, cut to a length that fits into one line of an error message."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


class PerdureError(Exception):
    """The root of every error that perdure raises on purpose."""

    exit_code: ClassVar[int] = 1


# ---------------------------------------------------------------- the request is wrong: change it


class Rejected(PerdureError):
    """The request cannot be accepted as it is; nothing was recorded.

    Attributes: `field` (which part of the request), `limit` (what it may be, or None), `value` (what it was).
    """

    exit_code = 2

    def __init__(self, message: str, *, field: str = "", limit: object = None, value: object = None) -> None:
        super().__init__(message)
        self.field = field
        self.limit = limit
        self.value = None if value is None else shorten(value)


class InvalidRequest(Rejected):
    """A request is malformed. `line` is its line number in the input, counted from 1, or None."""

    def __init__(
        self, message: str, *, line: int | None = None, field: str = "", limit: object = None, value: object = None
    ) -> None:
        super().__init__(message if line is None else f"line {line}: {message}", field=field, limit=limit, value=value)
        self.line = line


class InvalidSource(InvalidRequest):
    """A file's source cannot be read; nothing was stored. `reason` says why in one word.

    `kind` (not a source at all), `missing`, `unreadable`, `directory`, `device` (no regular file), `changed` (while it
    was read), `empty`, `data_url`, `url` (not one that can be fetched), `not_allowed` (fetching is off, or the address
    is not public), `refused` (by the server that has it), `not_downloadable` (its provider keeps it to itself).
    """

    def __init__(
        self, message: str, *, reason: SourceTrouble, limit: object = None, value: object = None, field: str = "source"
    ) -> None:
        super().__init__(message, field=field, limit=limit, value=value)
        self.reason: SourceTrouble = reason


class InvalidWebhook(Rejected):
    """A webhook that came in is not believed, or cannot be read; nothing was done. `reason` says why in one word.

    `headers` (missing or malformed), `timestamp` (too far from now), `signature` (made by nobody known), `body` (cannot
    be read, or names nothing), `too_large`.
    """

    def __init__(self, message: str, *, reason: WebhookTrouble, limit: object = None, value: object = None) -> None:
        super().__init__(f"the webhook is refused: {message}", field=reason, limit=limit, value=value)
        self.reason: WebhookTrouble = reason


class UnknownProvider(Rejected):
    """No adapter is registered under this provider's name."""


class Unsupported(Rejected):
    """The provider cannot do what was asked. Attributes: `capability`, `parameter` (or None)."""

    def __init__(self, message: str, *, capability: str, parameter: str | None = None) -> None:
        super().__init__(message, field=parameter or capability)
        self.capability = capability
        self.parameter = parameter


class TooLarge(Rejected):
    """Something exceeds a size limit. Attributes: `limit` and `size`, in bytes unless the message says otherwise."""

    def __init__(self, message: str, *, limit: int, size: int, field: str = "") -> None:
        super().__init__(message, field=field, limit=limit, value=size)
        self.size = size


class BudgetExceeded(Rejected):
    """A budget that stops is used up. Attributes: `budget` (its name), `limit_usd`, `spent_usd`."""

    def __init__(self, message: str, *, budget: str, limit_usd: Decimal, spent_usd: Decimal) -> None:
        super().__init__(message, field="budget", limit=limit_usd, value=budget)
        self.budget = budget
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd


class Superseded(Rejected):
    """A report names an effect that the actor's state no longer asks for; it was not recorded."""


# ---------------------------------------------------------------- there is no such thing


class NotFound(PerdureError):
    """Nothing has this `id`."""

    exit_code = 3

    def __init__(self, message: str, *, id: str = "") -> None:
        super().__init__(message)
        self.id = id


class FileExpired(NotFound):
    """The file existed and its time to live is over."""


class FileDeleted(NotFound):
    """The file existed and was deleted."""


class BlobLost(NotFound):
    """A blob that the log names is missing or damaged on disk. `id` is its digest."""


# ---------------------------------------------------------------- somebody else was first


class Conflict(PerdureError):
    """The request collides with what is recorded already."""

    exit_code = 4


class KeyConflict(Conflict):
    """The key belongs to an operation with another request. Attributes: `key`, `existing_id`, `difference`."""

    def __init__(self, message: str, *, key: str, existing_id: str, difference: str) -> None:
        super().__init__(message)
        self.key = key
        self.existing_id = existing_id
        self.difference = difference


class VersionConflict(Conflict):
    """An actor's stream is at another version than its writer expected: there is a second writer."""

    def __init__(self, message: str, *, actor: str, expected: int, found: int) -> None:
        super().__init__(message)
        self.actor = actor
        self.expected = expected
        self.found = found


class LogLocked(Conflict):
    """Another process writes this log. Attributes: `pid`, `host`, `since` (None where the lock file did not tell)."""

    def __init__(self, message: str, *, pid: int | None, host: str | None, since: datetime | None) -> None:
        super().__init__(message)
        self.pid = pid
        self.host = host
        self.since = since


# ---------------------------------------------------------------- the log cannot be trusted, or not by this build


class Corrupt(PerdureError):
    """The log does not verify. Attributes: `position` of the first bad record (None: the file itself), `reason`."""

    exit_code = 5

    def __init__(self, message: str, *, position: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.position = position
        self.reason = reason or message


class LogNewer(Corrupt):
    """A newer build of perdure wrote this log; this one would lose what it does not know."""


class LogForeign(Corrupt):
    """The file is not a perdure log."""


# ---------------------------------------------------------------- not now: nothing was recorded, try again


class Unavailable(PerdureError):
    """Not now. `retry_after_s` is when it makes sense to ask again, in seconds, or None."""

    exit_code = 6

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """A bounded queue is full."""


class DiskFull(Unavailable):
    """The disk that holds the log or the blobs is full or refuses writes."""


class Closed(Unavailable):
    """The service is draining or has ended."""


class Fenced(Unavailable):
    """This process no longer owns the log and has stopped writing."""


class OutcomeUnknown(Unavailable):
    """A commit failed and it could not be told whether it took effect. Ask again by key after the restart."""


# ---------------------------------------------------------------- the provider said no


class ProviderError(PerdureError):
    """The provider refused or failed.

    Attributes: `status` (HTTP, None when there was no answer), `provider_code`, `provider_request_id`, `retryable`.
    """

    exit_code = 6

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        provider_code: str | None = None,
        provider_request_id: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.provider_code = provider_code
        self.provider_request_id = provider_request_id
        self.retryable = retryable


class AuthenticationFailed(ProviderError):
    """The provider refuses the credential. Attributes: `provider`, `credential` (its name, never the secret)."""

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        credential: str,
        status: int | None = 401,
        provider_code: str | None = None,
        provider_request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, provider_code=provider_code, provider_request_id=provider_request_id)
        self.provider = provider
        self.credential = credential


class Timeout(PerdureError, TimeoutError):
    """Waiting ended; the operation goes on and can be asked for again by id or by key."""

    exit_code = 7


# ---------------------------------------------------------------- the operation ended without a result


class OperationError(PerdureError):
    """An operation ended without a result. Attributes: `id`, and `cost` as far as it is known."""

    def __init__(self, message: str, *, id: str, cost: object = None) -> None:
        super().__init__(message)
        self.id = id
        self.cost = cost


class OperationFailed(OperationError):
    """It failed; `cause` says why in the provider's or our words."""

    def __init__(self, message: str, *, id: str, cause: str, cost: object = None) -> None:
        super().__init__(message, id=id, cost=cost)
        self.cause = cause


class OperationCancelled(OperationError):
    """It was cancelled before there was a result."""


class OperationExpired(OperationError):
    """The provider's window or the operation's deadline passed before there was a result."""


class OutcomeUncertain(OperationError):
    """Whether the provider took the purchase cannot be told. `policy` is the `on_uncertain` that ended it."""

    def __init__(self, message: str, *, id: str, policy: str, cost: object = None) -> None:
        super().__init__(message, id=id, cost=cost)
        self.policy = policy
