"""Running a command's work under trio, with Ctrl-C and SIGTERM turned into a clean end.

A signal cancels the work, which keeps what is in hand; then the command says how to come back and ends with 130 or 143.
A second signal is not waited for: nothing that the work does while it ends takes longer than a few seconds.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import trio

from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.terminal import Terminal

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
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for number in signals:
                    caught.append(signal.Signals(number))
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                code = await work()
            except Exception as error:
                failure = error  # raised below: from inside it would be wrapped into a group
            nursery.cancel_scope.cancel()
    if caught:
        terminal.say(f"{_NAMES[caught[0]]}: {come_back()}")
        return int(_CODES[caught[0]])
    if failure is not None:
        raise failure
    return code
