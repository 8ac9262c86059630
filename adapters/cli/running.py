"""Running a command's work under trio, with Ctrl-C and SIGTERM turned into a clean end.

A signal cancels the work, which keeps what is in hand; then the command says how to come back and ends with 130 or 143.
A second signal is not waited for: nothing that the work does while it ends takes longer than a few seconds.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable

import trio

from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.terminal import Terminal

logger = logging.getLogger("perdure")

_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
_NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

Work = Callable[[], Awaitable[int]]


def run(terminal: Terminal, work: Work, *, come_back: Callable[[], str] = lambda: "nothing was changed") -> int:
    """Runs `work` and returns its exit code. `come_back` says, once it was interrupted, how to go on."""
    return trio.run(_run, terminal, work, come_back)


async def _run(terminal: Terminal, work: Work, come_back: Callable[[], str]) -> int:
    caught: list[signal.Signals] = []
    failure: Exception | None = None
    code = 0
    with trio.open_signal_receiver(*_CODES) as signals:
        try:
            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    async for number in signals:
                        caught.append(signal.Signals(number))
                        nursery.cancel_scope.cancel()

                nursery.start_soon(watch)
                code = await work()
                nursery.cancel_scope.cancel()
        except Exception as error:
            failure = error
    if caught:
        if failure is not None:  # what is cancelled may end with an error of its own, such as `Closed`
            logger.debug("while it ended: %r", failure)
        terminal.say(f"{_NAMES[caught[0]]}: {come_back()}")
        return int(_CODES[caught[0]])
    if failure is not None:
        raise failure
    return code
