"""The network engine: how effects reach providers over HTTP.

    engine = Engine(resolve, settings=..., observer=...)
    await nursery.start(engine.run)
    answer = await engine.bind(lane, trace=trace, before_send=report_intent)(HttpRequest(...))

| module | holds |
| --- | --- |
| `engine`, `call`, `stream` | binding, the life of one call, streamed answers |
| `queue`, `limits`, `config` | turns and limits, settings and defaults |
| `retry`, `refusal`, `rate_headers` | policies and `Retry-After`, statuses and error bodies, limit headers: pure |
| `transport`, `connection`, `http` | idle connections, one connection, the HTTP library's seam |
| `request`, `answers`, `sse`, `progress` | building, reading, server-sent events, how far an attempt got |
| `endpoint`, `redact`, `observation` | where secrets live, how they stay there, what observers are told |
"""

from __future__ import annotations

from perdure.adapters.network.answers import json_body
from perdure.adapters.network.config import DEFAULT_QUEUES, EngineSettings, Priority, QueueSettings
from perdure.adapters.network.endpoint import Endpoint, Resolver
from perdure.adapters.network.engine import BoundFetch, Engine
from perdure.adapters.network.observation import (
    AttemptFailed,
    Completed,
    Enqueued,
    Event,
    Observer,
    QueueSnapshot,
    QueueTimedOut,
    RateLimitHit,
    RateLimitLearnt,
    Retried,
    Started,
)
from perdure.adapters.network.rate_headers import RATE_HEADERS, Quota, RateReport
from perdure.adapters.network.redact import redact_headers, redact_url
from perdure.adapters.network.retry import Backoff, BackoffOverride, RetryOverride, RetryPolicy
from perdure.adapters.network.sse import SseEvent, SseParser, events_of
from perdure.adapters.network.transport import Connect, PooledTransport

__all__ = [
    "DEFAULT_QUEUES",
    "RATE_HEADERS",
    "AttemptFailed",
    "Backoff",
    "BackoffOverride",
    "BoundFetch",
    "Completed",
    "Connect",
    "Endpoint",
    "Engine",
    "EngineSettings",
    "Enqueued",
    "Event",
    "Observer",
    "PooledTransport",
    "Priority",
    "QueueSettings",
    "QueueSnapshot",
    "QueueTimedOut",
    "Quota",
    "RateLimitHit",
    "RateLimitLearnt",
    "RateReport",
    "Resolver",
    "Retried",
    "RetryOverride",
    "RetryPolicy",
    "SseEvent",
    "SseParser",
    "Started",
    "events_of",
    "json_body",
    "redact_headers",
    "redact_url",
]
