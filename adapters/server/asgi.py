"""The words of ASGI 3 as types, and what this server adds to a scope.

Our addition stands under `scope["extensions"]["perdure.server"]`. Applications should not touch it but call `draining`
and `limit_body` with their scope: under another server both do nothing, so the same application runs everywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import trio

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

EXTENSION = "perdure.server"


class Control:
    """What an application may see and change of the request it answers.

    Attributes: `draining` (set when the server has begun to stop), `body_bytes` (what the body may hold, in bytes).
    """

    __slots__ = ("body_bytes", "draining")

    def __init__(self, draining: trio.Event, body_bytes: int) -> None:
        self.draining = draining
        self.body_bytes = body_bytes


def _control(scope: Scope) -> Control | None:
    extensions: dict[str, object] = scope.get("extensions") or {}
    control = extensions.get(EXTENSION)
    return control if isinstance(control, Control) else None


def draining(scope: Scope) -> trio.Event:
    """The event that is set when the server begins to stop: a stream should say a last word and end then.

    It has `Limits.farewell_s` for that; afterwards `receive` answers with `http.disconnect` or `websocket.disconnect`.
    Under another server this is an event that is never set.
    """
    control = _control(scope)
    return trio.Event() if control is None else control.draining


def limit_body(scope: Scope, size_bytes: int) -> None:
    """Let this request's body hold `size_bytes` bytes instead of `Limits.body_bytes`.

    To be called before the first `receive`; a body that declares or turns out to hold more is answered with 413.
    """
    control = _control(scope)
    if control is not None:
        control.body_bytes = size_bytes
