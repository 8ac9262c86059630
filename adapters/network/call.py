"""One call: its attempts, and what each of them proves.

An attempt ends as an answer or as a `_Failure`; the loop decides whether another may follow. For a `create` that is so
only where the failure proves that nothing was accepted. One deadline covers everything: the queue, the attempts, the
waits between them, the answer's body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from random import Random
from typing import Final, Literal, Protocol, TypedDict

import trio
from msgspec import Struct

from perdure.actors.fetch import FetchError, HttpAnswer, HttpRequest, NotSent, Refused, Unknown
from perdure.actors.lane import Lane
from perdure.adapters.network import http
from perdure.adapters.network.answers import BodyFailed, header_map, read_error_body, read_whole, request_id
from perdure.adapters.network.config import Priority
from perdure.adapters.network.endpoint import Endpoint
from perdure.adapters.network.observation import (
    AttemptFailed,
    Completed,
    Enqueued,
    Event,
    QueueTimedOut,
    RateLimitHit,
    RateLimitLearnt,
    Retried,
    Started,
)
from perdure.adapters.network.progress import Progress
from perdure.adapters.network.queue import CallQueue
from perdure.adapters.network.rate_headers import Parser
from perdure.adapters.network.redact import redact_text, redact_url, secrets_of
from perdure.adapters.network.refusal import RETRIED_STATUSES, kind_of, parse_fault, proves_refusal, provider_code
from perdure.adapters.network.request import IDEMPOTENCY_HEADER, build_request
from perdure.adapters.network.retry import FailureKind, RetryPolicy, parse_retry_after_s
from perdure.store.crash_points import crash_point

_BEFORE_SENDING: Final = (http.ConnectError, http.ConnectTimeout, http.PoolTimeout, http.UnsupportedProtocol)
"""Failures of a transport that come before any byte of a request leaves."""

_UNCERTAIN_STATUSES: Final = frozenset({502, 504})
"""A gateway speaks for a server whose answer it did not get (RFC 9110, 15.6.3 and 15.6.5)."""

_SHOWN_CHARACTERS: Final = 500
"""How much of a provider's message an error repeats."""

CLOSE_S: Final = 1.0
"""How long closing an answer may take when the call was cancelled, in seconds; ours takes none."""


class Outside(Protocol):
    """What a call needs of its engine."""

    transport: http.AsyncBaseTransport
    tracks_progress: bool
    observe: Callable[[Event], None] | None
    random: Random
    wall_clock: Callable[[], datetime]
    max_answer_bytes: int
    parse_url: Callable[[str], http.URL]

    def resolve(self, lane: Lane) -> Endpoint:
        """The lane's endpoint now."""
        ...


class Opened(Struct):
    """An answer whose body was not read. Its owner closes `stream` and gives the slot back."""

    status: int
    headers: Mapping[str, str]
    stream: http.AsyncByteStream


class _Failure(Struct):
    """Why an attempt did not end in an answer. `proven`: nothing was accepted. `retryable`: a repeat may help."""

    kind: FailureKind
    error: FetchError
    proven: bool
    retryable: bool
    retry_after_s: float | None = None


class Call:
    """One call on its way. `run_whole` or `run_opened` once."""

    def __init__(
        self,
        outside: Outside,
        lane: Lane,
        request: HttpRequest,
        *,
        queue: CallQueue,
        policy: RetryPolicy,
        priority: Priority,
        parser: Parser,
        trace: str,
        before_send: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._outside = outside
        self._lane = lane
        self._request = request
        self._queue = queue
        self._policy = policy
        self._priority = priority
        self._parser = parser
        self._trace = trace
        self._before_send = before_send if request.safety == "create" else None
        self._phase: Literal["queue", "attempt", "wait"] = "queue"
        self._asked_at = 0.0
        self._attempt = 0
        self._progress = Progress()
        self._last: _Failure | None = None
        self._left_uncertain = False
        self._body_opened = False
        self._key: str | None = None
        self.deadline = 0.0

    async def run_whole(self) -> HttpAnswer:
        """Sends until there is an answer, and reads it. Raises `Refused`, `NotSent`, `Unknown`."""
        with trio.CancelScope(deadline=self._begin()):
            outcome = await self._attempts(whole=True)
            assert isinstance(outcome, HttpAnswer)
            return outcome
        raise self._out_of_time()

    async def run_opened(self) -> Opened:
        """Sends until there is an answer, and leaves its body unread and its slot taken. Raises as `run_whole`."""
        with trio.CancelScope(deadline=self._begin()):
            outcome = await self._attempts(whole=False)
            assert isinstance(outcome, Opened)
            return outcome
        raise self._out_of_time()

    def _begin(self) -> float:
        self._asked_at = trio.current_time()
        self.deadline = self._asked_at + self._request.deadline_s
        return self.deadline

    def describe(self) -> str:
        """The call in a message: method, URL without secrets, queue."""
        return f"{self._request.method} {redact_url(self._request.path)} in queue {self._queue.name!r}"

    # ------------------------------------------------------------ the loop

    async def _attempts(self, whole: bool) -> HttpAnswer | Opened:
        queue, priority, ticket = self._queue, self._priority, self._queue.ticket()
        while True:
            self._phase, self._asked_at = "queue", trio.current_time()
            if self._outside.observe is not None:
                self._outside.observe(Enqueued(**self._about(), waiting=queue.waiting))
            await queue.acquire(priority, ticket, self._request.estimated_tokens)
            outcome: HttpAnswer | Opened | _Failure | None = None
            try:
                outcome = await self._one_attempt(whole)
            finally:
                if not isinstance(outcome, Opened):
                    queue.release()
            if not isinstance(outcome, _Failure):
                return outcome
            self._last = outcome
            self._left_uncertain |= not outcome.proven
            await self._wait_for_retry(outcome)
            priority = Priority.RETRY

    async def _wait_for_retry(self, failure: _Failure) -> None:
        """Waits until the next attempt; raises the failure's error where there must be none."""
        wait = self._retry_wait_s(failure)
        status = failure.error.status
        observe = self._outside.observe
        if observe is not None:
            observe(
                AttemptFailed(
                    **self._about(),
                    attempt=self._attempt,
                    kind=failure.kind,
                    status=status,
                    will_retry=wait is not None,
                )
            )
        if wait is None:
            raise self._final(failure.error)
        if observe is not None:
            observe(
                Retried(
                    **self._about(),
                    attempt=self._attempt + 1,
                    wait_s=wait,
                    reason=failure.kind,
                    idempotency_key=self._key,
                )
            )
        self._phase = "wait"
        await trio.sleep(wait)

    def _retry_wait_s(self, failure: _Failure) -> float | None:
        policy = self._policy
        if not failure.retryable or not policy.allows(failure.kind, self._attempt - 1):
            return None
        if self._request.safety == "create" and (not failure.proven or self._body_opened):
            return None
        if failure.retry_after_s is not None and failure.retry_after_s > policy.max_retry_after_s:
            return None
        wait = policy.wait_s(failure.kind, self._attempt, failure.retry_after_s, self._outside.random)
        return None if trio.current_time() + wait >= self.deadline else wait

    def _out_of_time(self) -> FetchError:
        """The error of a call whose deadline passed."""
        limit = f"the deadline of {self._request.deadline_s:g} s passed"
        if self._phase == "attempt":
            if self._progress.started:
                return Unknown(f"{self.describe()}: {limit} before the answer was whole", retryable=True)
            return self._final(NotSent(f"{self.describe()}: {limit} before anything was sent", retryable=True))
        if self._outside.observe is not None:
            self._outside.observe(QueueTimedOut(**self._about(), waited_s=trio.current_time() - self._asked_at))
        if self._last is not None:
            return self._final(self._last.error)
        return NotSent(
            f"{self.describe()}: timed out in queue, {limit}; allow more time or raise the queue's limits",
            retryable=True,
        )

    def _final(self, error: FetchError) -> FetchError:
        """`error`, unless it claims that no byte left although an earlier attempt may have been accepted."""
        if isinstance(error, NotSent) and self._left_uncertain:
            return Unknown(f"{error}; an earlier attempt may have been accepted", retryable=error.retryable)
        return error

    # ------------------------------------------------------------ one attempt

    async def _one_attempt(self, whole: bool) -> HttpAnswer | Opened | _Failure:
        self._attempt += 1
        self._phase = "attempt"
        now = trio.current_time()
        if self._progress.announced:
            self._before_send = None
        self._progress = Progress(self._before_send)
        if self._outside.observe is not None:
            self._outside.observe(Started(**self._about(), attempt=self._attempt, waited_s=now - self._asked_at))
        limit = now + self._policy.attempt_s
        if limit >= self.deadline:
            return await self._exchange(whole)
        with trio.CancelScope(deadline=limit):
            return await self._exchange(whole)
        return self._broken("timeout", f"no whole answer within {self._policy.attempt_s:g} s")

    async def _exchange(self, whole: bool) -> HttpAnswer | Opened | _Failure:
        outside, progress = self._outside, self._progress
        try:
            endpoint = outside.resolve(self._lane)
        except NotSent as error:
            final = self._final(error)
            if final is error:
                raise
            raise final from error
        request, source = build_request(
            self._request,
            endpoint,
            idempotency_key=self._idempotency_key(endpoint),
            progress=progress,
            parse=outside.parse_url,
        )
        started_at = trio.current_time()
        stream: http.AsyncByteStream | None = None
        keep = False
        try:
            if not outside.tracks_progress:
                await progress.announce()
                progress.first_byte()
            response = await outside.transport.handle_async_request(request)
            if not outside.tracks_progress:
                progress.last_byte()
            assert isinstance(response.stream, http.AsyncByteStream)
            stream = response.stream
            status, headers = response.status_code, header_map(response)
            self._learn(headers)
            if not (200 <= status < 300 or status in self._request.expected):
                body = await read_error_body(stream, self._request.idle_s)
                return self._refused(status, headers, body, endpoint)
            if not whole:
                crash_point("answer.received")
                self._completed(status, started_at, 0)
                keep = True
                return Opened(status, headers, stream)
            content = await read_whole(stream, self._request.idle_s, outside.max_answer_bytes)
            keep = outside.tracks_progress  # read to its end, our stream has closed itself
            crash_point("answer.received")
            self._completed(status, started_at, len(content))
            return HttpAnswer(status, headers, content)
        except BodyFailed as error:
            return self._broken(error.kind, str(error), retryable=error.repeatable)
        except http.TransportError as error:
            if progress.hook_error is error or (source is not None and source.error is error):
                raise
            return self._transport_failure(error)
        finally:
            self._body_opened |= source is not None and source.opened
            if stream is not None and not keep:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
                    await stream.aclose()

    def _idempotency_key(self, endpoint: Endpoint) -> str | None:
        """One key for all attempts, where the provider honours it; the caller's own header goes first."""
        if not endpoint.idempotency_keys or self._request.safety == "read":
            return None
        if self._key is None:
            given = (value for name, value in self._request.headers.items() if name.lower() == IDEMPOTENCY_HEADER)
            self._key = next(given, None) or f"{self._outside.random.getrandbits(128):032x}"
        return self._key

    # ------------------------------------------------------------ what an attempt proves

    def _transport_failure(self, error: http.TransportError) -> _Failure:
        kind: FailureKind = "timeout" if isinstance(error, http.TimeoutException) else "network"
        if self._progress.started and not isinstance(error, _BEFORE_SENDING):
            return self._broken(kind, str(error))
        retryable = not isinstance(error, http.UnsupportedProtocol)
        message = f"{self.describe()}: nothing was sent, {error}"
        return _Failure(kind, NotSent(message, retryable=retryable), proven=True, retryable=retryable)

    def _broken(self, kind: FailureKind, reason: str, *, retryable: bool = True) -> _Failure:
        """No whole answer came. What was not sent was not bought; all else is unknown."""
        message = f"{self.describe()}: {reason}"
        if not self._progress.started:
            return _Failure(kind, NotSent(message, retryable=retryable), proven=True, retryable=retryable)
        return _Failure(kind, Unknown(message, retryable=retryable), proven=False, retryable=retryable)

    def _refused(self, status: int, headers: Mapping[str, str], body: bytes, endpoint: Endpoint) -> _Failure:
        fault = parse_fault(body)
        kind = kind_of(status, fault)
        retry_after_s = parse_retry_after_s(headers, self._outside.wall_clock())
        if retry_after_s is None and fault is not None:
            retry_after_s = fault.retry_after_s
        said = fault.message if fault is not None and fault.message else f"a body of {len(body)} bytes"
        message = f"{self.describe()}: {self._lane.provider or 'the server'} answered {status}: {_cut(said)}"
        message = redact_text(message, secrets_of(endpoint.headers))
        retryable = (
            status in RETRIED_STATUSES
            and kind in ("rate_limit", "server_error")
            and headers.get("x-should-retry") != "false"  # OpenAI and Anthropic say so (contracts/providers.md 1, 2)
        )
        if status == 429 and kind == "rate_limit":
            self._pause(retry_after_s)
        proven = proves_refusal(status, fault)
        error: FetchError
        if status in _UNCERTAIN_STATUSES or (self._request.safety == "create" and not proven):
            error = Unknown(
                message,
                status=status,
                provider_code=provider_code(fault),
                provider_request_id=request_id(headers),
                retryable=retryable,
                retry_after_s=retry_after_s,
            )
        else:
            error = Refused(
                message,
                kind=kind,
                status=status,
                provider_code=provider_code(fault),
                provider_request_id=request_id(headers),
                retryable=retryable,
                retry_after_s=retry_after_s,
            )
        return _Failure(kind, error, proven=proven, retryable=retryable, retry_after_s=retry_after_s)

    # ------------------------------------------------------------ what the others learn from it

    def _pause(self, retry_after_s: float | None) -> None:
        """A 429 is about all calls of the queue: none starts before the provider wants to be asked again."""
        wait = self._policy.wait_s("rate_limit", self._attempt, retry_after_s, self._outside.random)
        wait = min(wait, self._policy.max_retry_after_s)
        self._queue.pause(wait)
        if self._outside.observe is not None:
            self._outside.observe(RateLimitHit(**self._about(), paused_s=wait))

    def _learn(self, headers: Mapping[str, str]) -> None:
        report = self._parser(headers, self._outside.wall_clock())
        if report is None:
            return
        self._queue.learn(report)
        if self._outside.observe is not None:
            self._outside.observe(
                RateLimitLearnt(
                    **self._about(),
                    requests_remaining=report.requests.remaining if report.requests is not None else None,
                    tokens_remaining=report.tokens.remaining if report.tokens is not None else None,
                )
            )

    def _completed(self, status: int, started_at: float, answer_bytes: int) -> None:
        if self._outside.observe is not None:
            body = self._request.body
            size = len(body) if isinstance(body, bytes) else 0 if body is None else self._request.body_bytes
            self._outside.observe(
                Completed(
                    **self._about(),
                    attempt=self._attempt,
                    status=status,
                    latency_s=trio.current_time() - started_at,
                    request_bytes=size,
                    answer_bytes=answer_bytes,
                )
            )

    def _about(self) -> _About:
        return {
            "queue": self._queue.name,
            "provider": self._lane.provider,
            "model": self._request.model,
            "trace": self._trace,
        }


class _About(TypedDict):
    queue: str
    provider: str
    model: str
    trace: str


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
