"""A subscriber in a process of its own: writes down what it handles, and kills itself at its third record.

    python -m tests.faults.workers.subscriber <log> "in the log" | "in a file" <file to write to> <moment>

The moment is "before handling", "before done", "while saving" or "after done". It ends at the end of the log.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import trio

from perdure.actors.event_log import EventLog
from perdure.actors.runtime.aggregate import KindFold
from perdure.store.cursor_store import CursorStore, FileCursor
from perdure.store.sqlite import SqliteLog, open_log, open_reader
from tests.actors.toys import Added, Counters


def die(*_: Any) -> Any:
    """Ends this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(path: str, place: str, told: str, moment: str) -> None:
    """Handles what there is, or dies."""
    opened = open_log(path, codecs=[Counters.codec], wait_for_lock_s=10) if place == "in the log" else open_reader(path)
    async with opened as log:
        event_log = EventLog(log, [KindFold(Counters())])
        store: str | CursorStore = (
            "billing" if isinstance(log, SqliteLog) else FileCursor(Path(told).with_name("place"))
        )
        last = await event_log.head()
        count = 0
        descriptor = os.open(told, os.O_WRONLY | os.O_CREAT)
        async with event_log.subscribe(store, save_every_s=0) as records:
            async for record in records:
                count += 1
                if count == 3 and moment == "before handling":
                    die()
                assert isinstance(record.event, Added)
                os.write(descriptor, b"%d\n" % record.event.amount)
                if count == 3 and moment == "before done":
                    die()
                if count == 3 and moment == "while saving":
                    Path.replace = die  # type: ignore[method-assign,assignment]
                    if isinstance(log, SqliteLog):
                        log.maintain = die  # type: ignore[method-assign,assignment]
                await records.done(record)
                if count == 3 and moment == "after done":
                    die()
                if record.position == last:
                    break


if __name__ == "__main__":
    log_path, kind_of_place, told_to, when = sys.argv[1:]
    trio.run(main, log_path, kind_of_place, told_to, when)
