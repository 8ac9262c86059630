"""Settings of queues and of the engine, and the defaults with their reasons.

Nothing here limits how long a call waits: that is the caller's deadline alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from perdure.adapters.network.rate_headers import RATE_HEADERS, Parser
from perdure.adapters.network.retry import RetryOverride


class Priority(IntEnum):
    """Who goes first within a queue: the lower number, then who came first."""

    RETRY = 0
    INTERACTIVE = 1
    BACKGROUND = 2
    LOW = 3


class QueueSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One queue. `concurrency`: requests under way at once. The rate limits are per minute and per day, None for no
    limit of our own. `max_waiting`: calls that wait; more are refused as "Queue full". `priority`: of calls that name
    none. `retry`: this queue's layer of the retry policy."""

    concurrency: int = 16
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    max_waiting: int = 10_000
    priority: Priority = Priority.BACKGROUND
    retry: RetryOverride | None = None


_DEFAULT_QUEUES: Final[Mapping[tuple[str, str], QueueSettings]] = {
    # Answers that a person waits for: many small requests, each mostly waiting for the provider.
    ("", "live"): QueueSettings(concurrency=64, priority=Priority.INTERACTIVE),
    # Submits, polls and lists of batches: few and cheap here, and providers ask for sparse polling.
    ("", "batch"): QueueSettings(concurrency=8),
    # Transfers fill the link one by one; more at once only lengthens each and holds its buffers.
    ("", "files"): QueueSettings(concurrency=8),
    # Images and speech: each answer is some megabytes that are held whole until they are kept.
    ("", "media"): QueueSettings(concurrency=16, priority=Priority.INTERACTIVE),
    # Google's free tier counts single digits of requests a minute and its answers tell no limits: start low there.
    ("google", "live"): QueueSettings(concurrency=32, priority=Priority.INTERACTIVE),
    ("", ""): QueueSettings(),
}

DEFAULT_QUEUES: Final = MappingProxyType(_DEFAULT_QUEUES)
"""By (provider, traffic class); "" stands for any. No rate is set: an account's tier is not known here, the limits that
answers report are learnt and obeyed, and a 429 pauses its queue. Concurrency bounds what this process holds at once
(a connection and its buffers, about 0.2 MB), not what an account may do. `max_waiting` 10,000 waiting calls are some
10 MB; more than that belongs in the log, as rows, not in memory."""


class EngineSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The engine. `queues`: settings by queue name. `defaults`: by (provider, traffic), for queues without a name of
    their own. `retry`: the engine's layer of the retry policy. `max_connections`: requests under way over all queues
    (half of the 1,024 descriptors that a process commonly may open). `max_answer_bytes`: the largest answer that is
    held in memory; larger ones must be streamed. `rate_headers`: parsers by provider."""

    queues: Mapping[str, QueueSettings] = {}
    defaults: Mapping[tuple[str, str], QueueSettings] = DEFAULT_QUEUES
    retry: RetryOverride | None = None
    max_connections: int = 512
    max_answer_bytes: int = 256 * 1024 * 1024
    rate_headers: Mapping[str, Parser] = RATE_HEADERS


def default_queue(defaults: Mapping[tuple[str, str], QueueSettings], provider: str, traffic: str) -> QueueSettings:
    """The settings for a provider's traffic class: the exact entry, else the class of any provider, else any class of
    the provider, else the entry for everything, else `QueueSettings()`."""
    for key in ((provider, traffic), ("", traffic), (provider, ""), ("", "")):
        settings = defaults.get(key)
        if settings is not None:
            return settings
    return QueueSettings()
