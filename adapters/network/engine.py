"""The engine: queues by name, a transport, and the `Fetch` that each effect is handed.

It keeps no state beyond its own object and runs no task but `run`, which its owner starts in a nursery; calls run in
the tasks of their callers. Credentials come from the resolver at each attempt and are kept nowhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import lru_cache
from random import Random
from typing import Final

import trio

from perdure.actors.fetch import HttpAnswer, HttpRequest, HttpStream, NotSent
from perdure.actors.lane import Lane
from perdure.adapters.network import http
from perdure.adapters.network.call import Call
from perdure.adapters.network.config import EngineSettings, Priority, QueueSettings, default_queue
from perdure.adapters.network.endpoint import Endpoint, Resolver
from perdure.adapters.network.observation import Observer, QueueSnapshot, guarded
from perdure.adapters.network.queue import CallQueue, ConnectionBudget
from perdure.adapters.network.rate_headers import openai_dialect
from perdure.adapters.network.request import parse_url
from perdure.adapters.network.retry import RetryOverride, RetryPolicy
from perdure.adapters.network.stream import StreamBlock
from perdure.adapters.network.transport import PooledTransport
from perdure.events.errors import Conflict

_PARSED_URLS: Final = 1024
"""How many parsed URLs are kept, so that a poll does not parse its own again and again; some 0.5 MB."""

_KEPT_QUEUES: Final = 1024
"""Above this number of queues those at rest are forgotten when another is made: names contain models, and models come
from callers."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Engine:
    """Implements `perdure.actors.fetch.Network`.

    `resolve` finds a lane's endpoint. `transport` replaces the pool, with any transport of the HTTP library's seam.
    `observer` is told what happens and cannot change it. `random` gives jitter and idempotency keys; seed it to repeat
    a run. `wall_clock` (UTC) dates `Retry-After` and reset times.
    """

    def __init__(
        self,
        resolve: Resolver,
        *,
        settings: EngineSettings | None = None,
        transport: http.AsyncBaseTransport | None = None,
        observer: Observer | None = None,
        random: Random | None = None,
        wall_clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.settings = settings if settings is not None else EngineSettings()
        self.transport = transport if transport is not None else PooledTransport()
        self.tracks_progress = isinstance(self.transport, PooledTransport)
        self.observe = None if observer is None else guarded(observer)
        self.random = random if random is not None else Random()
        self.wall_clock = wall_clock
        self.max_answer_bytes = self.settings.max_answer_bytes
        self.parse_url: Callable[[str], http.URL] = lru_cache(maxsize=_PARSED_URLS)(parse_url)
        self._resolve = resolve
        self._budget = ConnectionBudget(self.settings.max_connections)
        self._configured: dict[str, QueueSettings] = dict(self.settings.queues)
        self._queues: dict[str, CallQueue] = {}
        self._policies: dict[str, RetryPolicy] = {}
        self._base_policy = RetryPolicy().overlaid(self.settings.retry)
        self._closed = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Closes connections that idle too long; when it is cancelled, closes the engine. Start it in a nursery."""
        task_status.started()
        try:
            if isinstance(self.transport, PooledTransport):
                await self.transport.expire_idle()
            else:
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await self.aclose()

    async def aclose(self) -> None:
        """Takes no further calls and closes idle connections; calls under way end by themselves. Idempotent."""
        self._closed = True
        await self.transport.aclose()

    def resolve(self, lane: Lane) -> Endpoint:
        """The lane's endpoint now. Raises `CredentialMissing`."""
        return self._resolve(lane)

    def bind(
        self,
        lane: Lane,
        *,
        trace: str = "",
        before_send: Callable[[], Awaitable[None]] | None = None,
        queue: str = "",
        priority: Priority | None = None,
        retry: RetryOverride | None = None,
    ) -> BoundFetch:
        """A `Fetch` for `lane`; see `Network.bind`. `queue` names a queue, `priority` and `retry` override what the
        queue's settings say for the calls of this `Fetch` alone."""
        return BoundFetch(self, lane, trace, before_send, queue, priority, retry)

    # ------------------------------------------------------------ queues

    def queue_name(self, lane: Lane, endpoint: Endpoint, model: str, named: str = "") -> str:
        """The queue of a call: the name given to `bind`, else the endpoint's, else the lane (tenant, provider,
        credential, traffic class) with the model, because providers count limits by account and model."""
        return named or endpoint.queue or (f"{lane}/{model}" if model else str(lane))

    def configure_queue(self, name: str, settings: QueueSettings) -> None:
        """Settings for a queue that has not been used. Raises `Conflict` where it has: drop it first."""
        if name in self._queues:
            raise Conflict(f"queue {name!r} is in use, its settings are frozen; drop it, then configure it")
        self._configured[name] = settings

    def drop_queue(self, name: str) -> None:
        """Forgets a queue and its settings; the next call makes it anew. Calls in it keep their places and end there.

        Forgetting what does not exist is no error."""
        self._queues.pop(name, None)
        self._policies.pop(name, None)
        self._configured.pop(name, None)

    def snapshot(self) -> tuple[QueueSnapshot, ...]:
        """All queues at this moment, by name."""
        return tuple(self._queues[name].snapshot() for name in sorted(self._queues))

    def _queue(self, name: str, lane: Lane) -> CallQueue:
        queue = self._queues.get(name)
        if queue is None:
            if len(self._queues) >= _KEPT_QUEUES:
                for other in [other for other in self._queues.values() if other.at_rest()]:
                    del self._queues[other.name]
                    self._policies.pop(other.name, None)
            settings = self._configured.get(name) or default_queue(self.settings.defaults, lane.provider, lane.traffic)
            queue = self._queues[name] = CallQueue(name, settings, self._budget)
            self._policies[name] = self._base_policy.overlaid(settings.retry)
        return queue

    def prepare(self, fetch: BoundFetch, request: HttpRequest) -> tuple[Call, CallQueue]:
        """A call of `fetch`, and its queue. Raises `NotSent`: closed, or `CredentialMissing`."""
        if self._closed:
            raise NotSent("the network engine is closed; send again when it is open", retryable=True)
        lane = fetch.lane
        name = self.queue_name(lane, self._resolve(lane), request.model, fetch.queue)
        queue = self._queue(name, lane)
        call = Call(
            self,
            lane,
            request,
            queue=queue,
            policy=self._policies[name].overlaid(fetch.retry),
            priority=queue.settings.priority if fetch.priority is None else fetch.priority,
            parser=self.settings.rate_headers.get(lane.provider, openai_dialect),
            trace=fetch.trace,
            before_send=fetch.before_send,
        )
        return call, queue


class BoundFetch:
    """Sends requests in one lane, on one trace, for one effect; see `perdure.actors.fetch.Fetch`."""

    __slots__ = ("_engine", "before_send", "lane", "priority", "queue", "retry", "trace")

    def __init__(
        self,
        engine: Engine,
        lane: Lane,
        trace: str,
        before_send: Callable[[], Awaitable[None]] | None,
        queue: str,
        priority: Priority | None,
        retry: RetryOverride | None,
    ) -> None:
        self._engine = engine
        self.lane = lane
        self.trace = trace
        self.before_send = before_send
        self.queue = queue
        self.priority = priority
        self.retry = retry

    async def __call__(self, request: HttpRequest) -> HttpAnswer:
        """Sends `request` and reads the whole answer.

        Raises `Refused`, `NotSent` (also `CredentialMissing`), `Unknown`; `InvalidRequest` for a URL or a body length
        that cannot be; and unchanged whatever `before_send` or the body's source raise."""
        call, _ = self._engine.prepare(self, request)
        return await call.run_whole()

    def stream(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpStream]:
        """Sends `request` on entry and hands out the answer's body as it comes. Raises as a call does."""
        return StreamBlock(lambda: self._engine.prepare(self, request), request.idle_s)
