"""Appends to a log from several tasks at once and says what it was told. See `tests/faults/lab.py`.

Arguments: the folder for the log, number of tasks, appends for each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from perdure.events.errors import OutcomeUnknown, PerdureError
from perdure.events.event import EncodedEvent
from perdure.store.records import Append, Standing
from perdure.store.sqlite import SqliteLog, open_log

AT = 1_700_000_000_000_000


def say(line: str) -> None:
    """One write for each line: it has its place among the writes to the disk."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def append(actor: str, expected: int, id: str) -> Append:
    """One event that carries an id nobody else has."""
    payload = b'{"event":"noted","id":"%s","filler":"%s"}' % (id.encode(), b"x" * 300)
    return Append(
        actor=actor,
        kind="toy",
        tenant="",
        expected_version=expected,
        events=[EncodedEvent("noted", 1, AT, payload)],
        standing=Standing(status="running", fold=1, next_due=None),
    )


async def work(log: SqliteLog, actor: str, count: int) -> None:
    """Appends `count` times; what failed for certain is tried again with another id at the same version."""
    version = 0
    for n in range(count):
        id = f"{actor}:{n}"
        try:
            version = (await log.append(append(actor, version, id))).version
        except OutcomeUnknown:
            say(f"unknown {id}")
            return
        except PerdureError:
            say(f"fail {id}")
        else:
            say(f"ack {id}")


async def main() -> None:
    root, tasks, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    try:
        async with open_log(root / "log.db", codecs=None) as log:
            say("ready")
            await trio.to_thread.run_sync(sys.stdin.readline)
            async with trio.open_nursery() as nursery:
                for task in range(tasks):
                    nursery.start_soon(work, log, f"actor{task}", count)
            say("done")
            await trio.to_thread.run_sync(sys.stdin.read)
    except PerdureError as error:
        say(f"refused {type(error).__name__}")
        await trio.to_thread.run_sync(sys.stdin.read)


trio.run(main)
