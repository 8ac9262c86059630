"""What the simulator saw: the last requests, without secrets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct

from perdure.adapters.simulator.routes import RoutePattern

KEPT_REQUESTS: Final = 10_000
"""How many requests are remembered; older ones are forgotten."""

REDACTED: Final = "[redacted]"

_SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
)
_SECRET_PARAMETERS: Final = frozenset({"key", "api_key", "access_token", "token", "upload_id"})


class Seen(Struct):
    """One request. `at` is when its head came, in seconds since 1970 by the simulator's clock.

    `status` is null until it is answered and stays so if it never was; `end` says how it ended: `answered`, `dropped`
    (cut on purpose), `left` (by its client) or empty while it is under way. `fault` names the fault that struck it.
    `body_bytes` is how much of its body came.
    """

    request_id: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    at: float
    status: int | None = None
    end: str = ""
    fault: str | None = None
    body_bytes: int = 0


class Traffic:
    """The last `KEPT_REQUESTS` requests of one simulator; not kept over a restart."""

    def __init__(self) -> None:
        self._seen: deque[Seen] = deque(maxlen=KEPT_REQUESTS)
        self.total = 0

    def note(self, seen: Seen) -> None:
        """Remembers a request."""
        self._seen.append(seen)
        self.total += 1

    def requests(self, route: RoutePattern | None = None) -> list[Seen]:
        """What is remembered, oldest first; only what a route pattern matches, if there is one."""
        return [seen for seen in self._seen if route is None or route.matches(seen.method, seen.path)]


def peak_per_s(requests: Iterable[Seen]) -> int:
    """The most requests that came within any one second."""
    window: deque[float] = deque()
    peak = 0
    for seen in requests:
        window.append(seen.at)
        while window[0] <= seen.at - 1.0:
            window.popleft()
        peak = max(peak, len(window))
    return peak


def redact_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as text, with the values of those that carry secrets replaced."""
    named = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
    return {name: REDACTED if name in _SECRET_HEADERS else value for name, value in named}


def redact_query(query: str) -> str:
    """A query string with the values of those parameters replaced that carry secrets."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(name.lower() in _SECRET_PARAMETERS for name, _ in pairs):
        return query
    return urlencode([(name, REDACTED if name.lower() in _SECRET_PARAMETERS else value) for name, value in pairs])
