"""The application's lifespan: told to start before the first request, and to stop after the last, under deadlines.

It runs shielded, because a cancelled server must still let its application shut down; the shield always ends, for
`run_within` sets a deadline on it whichever way it is left.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from perdure.adapters.server.asgi import ASGIApp, Message, Scope
from perdure.adapters.server.errors import ApplicationFault, LifespanFailed
from perdure.adapters.server.limits import Limits

_logger = logging.getLogger("perdure.server")


async def run_within(app: ASGIApp, limits: Limits, body: Callable[[dict[str, object]], Awaitable[None]]) -> None:
    """Start the application, run `body` with the state that it wants copied into each scope, and stop it.

    Raises `LifespanFailed` when the application says that it cannot start, or takes longer than `startup_s`; `body`
    does not run then. Also when its lifespan ends in an error during `body`, which is cancelled. A lifespan that raises
    before it says anything is taken for an application without one, as ASGI has it, and `body` runs. A failing or late
    shutdown (`shutdown_s`) is logged.
    """
    lifespan = _Lifespan(app)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lifespan.run, nursery.cancel_scope)
        try:
            if await lifespan.start(limits.startup_s):
                await body(lifespan.state)
        finally:
            lifespan.stop(limits.shutdown_s)
    if lifespan.failure is not None:
        raise lifespan.failure


class _Lifespan:
    """Attributes: `state`, and `failure` once the application did not start or broke down while it was served."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, object] = {}
        self.failure: LifespanFailed | None = None
        self._app = app
        self._shield = trio.CancelScope(shield=True)
        self._answered = trio.Event()
        self._stopping = trio.Event()
        self._asked = 0

    async def run(self, body: trio.CancelScope) -> None:
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            with self._shield:
                await self._app(scope, self._receive, self._send)
        except Exception as error:
            if self._stopping.is_set():
                _logger.exception("the application failed to shut down")
            elif self._answered.is_set() and self.failure is None:
                self.failure = LifespanFailed(
                    f"the application broke down while it was served: {error!r}", reason=str(error)
                )
                self.failure.__cause__ = error
                body.cancel()
            elif self.failure is None:
                _logger.info("the application has no lifespan: %r", error)
        if self._shield.cancelled_caught:
            _logger.error("the application's lifespan did not end in time and was cancelled")
        self._answered.set()

    async def start(self, startup_s: float) -> bool:
        """Wait until the application has started; whether it did."""
        with trio.move_on_after(startup_s):
            await self._answered.wait()
        if not self._answered.is_set():
            self.failure = LifespanFailed(f"the application did not start in {startup_s:g} s", reason="too slow")
        return self.failure is None

    def stop(self, shutdown_s: float) -> None:
        """Ask the application to stop, and put a deadline on it. One that never started is cancelled at once."""
        self._stopping.set()
        started = self._answered.is_set() and self.failure is None
        self._shield.deadline = trio.current_time() + (shutdown_s if started else 0)

    async def _receive(self) -> Message:
        self._asked += 1
        if self._asked == 1:
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        if self._asked > 2:
            await trio.sleep_forever()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind, reason = message["type"], str(message.get("message", ""))
        if kind == "lifespan.startup.complete":
            self._answered.set()
        elif kind == "lifespan.startup.failed":
            self.failure = LifespanFailed(f"the application did not start: {reason}", reason=reason)
            self._answered.set()
        elif kind == "lifespan.shutdown.failed":
            _logger.error("the application failed to shut down: %s", reason)
        elif kind != "lifespan.shutdown.complete":
            raise ApplicationFault(f"the application sent {kind!r} in its lifespan")
