"""The port through which effects reach a provider over HTTP.

An adapter method is handed a `Fetch`, which works in the effect's lane: it waits for the lane's limits, adds the
credential, retries what may be retried and honours one deadline for the whole call. Adapters never hold a client and
never see a secret.

What a call can end as: an `HttpAnswer` (2xx, or a status that the request named in `expected`), or one of the three
errors below. For a `create` the difference between them is money: `NotSent` and `Refused` prove that nothing was
bought, `Unknown` proves nothing and leads to reconcile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from msgspec import Struct

from perdure.actors.lane import Lane
from perdure.events.errors import ProviderError

Safety = Literal["read", "idempotent", "create"]
"""`read` changes nothing; `idempotent` may be sent twice; `create` must never be accepted twice."""

BodySource = Callable[[], AsyncIterator[bytes]]
"""Opens a streamed request body; called once for each attempt, so it must give the same bytes each time."""


class HttpRequest(Struct, frozen=True, kw_only=True):
    """One call. `path` is below the provider's base URL (`"/files"`), or an absolute URL on another host (then no
    credential is sent, unless the host is the provider's own).

    `body` is bytes or a `BodySource`; with a source, `body_bytes` is its exact length when known (else it is sent
    chunked). `expected` lists non-2xx statuses that the adapter wants as answers instead of errors. `deadline_s` bounds
    the whole call: queueing, every attempt, the answer's body. `idle_s` bounds the silence between two chunks.
    """

    method: str
    path: str
    safety: Safety
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    body: bytes | BodySource | None = None
    body_bytes: int | None = None
    expected: frozenset[int] = frozenset()
    deadline_s: float = 120.0
    idle_s: float = 60.0
    model: str = ""
    estimated_tokens: int = 0


class HttpAnswer(Struct, frozen=True):
    """A whole answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpStream(Protocol):
    """An answer whose body is read as it comes."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]:
        """The body. Raises `Unknown` when it ends early or falls silent for longer than `idle_s`."""
        ...


class Fetch(Protocol):
    """Sends requests in one lane, on one trace, for one effect."""

    async def __call__(self, request: HttpRequest) -> HttpAnswer:
        """Sends `request` and reads the whole answer. Raises `Refused`, `NotSent`, `Unknown`."""
        ...

    def stream(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpStream]:
        """Sends `request` and hands out the answer's body as it comes. The slot is held until the block is left."""
        ...


class Network(Protocol):
    """Hands out a `Fetch` for each effect."""

    def bind(self, lane: Lane, *, trace: str = "", before_send: Callable[[], Awaitable[None]] | None = None) -> Fetch:
        """A `Fetch` for `lane`. `before_send` is awaited once for each `create` request, when it has its slot and just
        before its first byte leaves: that is where a purchase reports its intent. If it raises, nothing is sent and
        its exception comes out of the call unchanged. It is not called again for retries inside the same call."""
        ...


class FetchError(ProviderError):
    """A call did not end in an answer. `retry_after_s`: when the provider wants to be asked again, or None."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        provider_code: str | None = None,
        provider_request_id: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(
            message,
            status=status,
            provider_code=provider_code,
            provider_request_id=provider_request_id,
            retryable=retryable,
        )
        self.retry_after_s = retry_after_s


RefusalKind = Literal[
    "auth",
    "rate_limit",
    "quota_exceeded",
    "invalid_request",
    "context_overflow",
    "model_not_found",
    "unsupported",
    "content_filter",
    "not_found",
    "conflict",
    "server_error",
]


class Refused(FetchError):
    """The provider answered and did not accept. `kind` says why in our words; auth and quota block an operation."""

    def __init__(
        self,
        message: str,
        *,
        kind: RefusalKind,
        status: int,
        provider_code: str | None = None,
        provider_request_id: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(
            message,
            status=status,
            provider_code=provider_code,
            provider_request_id=provider_request_id,
            retryable=retryable,
            retry_after_s=retry_after_s,
        )
        self.kind: RefusalKind = kind


class NotSent(FetchError):
    """No byte of the request left this process: the deadline passed in the queue, or no connection could be made."""


class CredentialMissing(NotSent):
    """The named credential has no secret here (its environment variable is not set, say)."""


class Unknown(FetchError):
    """Bytes left and no answer came that proves anything: a timeout, a reset, a cut body, 502 or 504."""
