"""How far one attempt got: the facts that decide whether something may have been bought.

The engine makes one `Progress` for each attempt and hands it to the transport as the request extension
`PROGRESS_EXTENSION`. A transport that knows it (ours) keeps it up to date at the wire; for any other transport the
engine itself assumes the worst before it hands the request over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from perdure.store.crash_points import crash_point

PROGRESS_EXTENSION: Final = "perdure.progress"


class Progress:
    """`announced`: `before_send` is done. `started`: a byte may have left. `whole`: the last byte left. `hook_error`:
    what `before_send` raised."""

    __slots__ = ("_before_send", "announced", "hook_error", "started", "whole")

    def __init__(self, before_send: Callable[[], Awaitable[None]] | None = None) -> None:
        self._before_send = before_send
        self.announced = False
        self.started = False
        self.whole = False
        self.hook_error: Exception | None = None

    async def announce(self) -> bool:
        """Awaits `before_send` unless that is done; True if that took place. Else returns without a checkpoint."""
        if self._before_send is None or self.announced:
            return False
        try:
            await self._before_send()
        except Exception as error:
            self.hook_error = error
            raise
        self.announced = True
        return True

    def first_byte(self) -> None:
        """The next instruction hands bytes to the system."""
        if not self.started:
            crash_point("send.before")
            self.started = True

    def last_byte(self) -> None:
        """The system took the last byte of the request."""
        self.whole = True
        crash_point("send.after_last_byte")
