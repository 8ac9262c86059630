"""What all connections of one server share: the application, the limits, and how far a drain has come."""

from __future__ import annotations

import time
from email.utils import formatdate

import trio

from perdure.adapters.server.asgi import ASGIApp
from perdure.adapters.server.limits import Limits


class Site:
    """Attributes: `app`, `limits`, `state` (copied into each scope), `draining` (set when a drain began),
    `farewell_over` (event streams and WebSockets that start now are told to end at once), `open_connections`.
    """

    __slots__ = ("_date", "_date_second", "app", "draining", "farewell_over", "limits", "open_connections", "state")

    def __init__(self, app: ASGIApp, limits: Limits, state: dict[str, object]) -> None:
        self.app = app
        self.limits = limits
        self.state = state
        self.draining = trio.Event()
        self.farewell_over = False
        self.open_connections = 0
        self._date = b""
        self._date_second = 0

    @property
    def full(self) -> bool:
        """Whether all connections we may have are open."""
        return self.open_connections >= self.limits.connections

    def date(self) -> bytes:
        """The value of a `date` header for now (RFC 9110, 6.6.1), formatted once a second."""
        second = int(time.time())
        if second != self._date_second:
            self._date_second = second
            self._date = formatdate(second, usegmt=True).encode("ascii")
        return self._date
