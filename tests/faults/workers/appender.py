"""A process to be killed: 64 tasks append without end and say on standard output what was acknowledged.

    python appender.py LOG ROUND

Each line is `<actor> <version> <position>`, written after `append` returned and before anything else happens.
"""

from __future__ import annotations

import os
import sys

import trio

from perdure.store.sqlite import SqliteLog, open_log
from tests.store.sqlite.toys import CODEC, Hand

TASKS = 64


async def work(log: SqliteLog, hand: Hand) -> None:
    """Appends one small event after the other."""
    while True:
        done = await hand.add(log, 1)
        os.write(1, f"{hand.actor} {done.version} {done.position}\n".encode())


async def main(path: str, turn: str) -> None:
    """Runs until killed."""
    async with open_log(path, codecs=[CODEC]) as log, trio.open_nursery() as nursery:
        for number in range(TASKS):
            nursery.start_soon(work, log, Hand(f"toy_{turn}_{number}"))


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
