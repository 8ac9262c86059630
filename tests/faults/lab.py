"""Runs a worker, a process of real perdure code, under the shim, and kills it at the end.

What a worker says, line by line on standard output:

    ready           it has opened what it works on and waits for a line on standard input
    ack <id>        it was told that <id> is durable
    fail <id>       it was told that <id> was certainly not stored
    unknown <id>    it was told that nobody knows
    refused <name>  opening was refused with this error; it waits to be killed
    done            it has nothing more to do and waits to be killed
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from tests.faults.power_cut import STRUCK, Record, read_trace, said

WORKERS: Final = Path(__file__).with_name("workers")

Kind = Literal["sync", "full", "half", "short"]

_rule_ids = itertools.count(1)


class Rule(Struct, frozen=True):
    """Which call fails: the nth of a kind on a path with `part` in it ("*": any below the root), once or for good."""

    kind: Kind
    nth: int
    lasting: bool = False
    part: str = "*"

    def __str__(self) -> str:
        return f"{self.kind} {self.nth} {'lasting' if self.lasting else 'once'} {self.part}"


class Ended(Struct, frozen=True):
    """What a worker that was killed has left: its records, what it said, and the folder it worked on."""

    root: Path
    records: Sequence[Record]
    lines: Sequence[str]

    def ids(self, word: str) -> set[str]:
        """What was said to have become of which ids."""
        return ids(self.lines, word)

    @property
    def struck(self) -> int:
        """How many calls failed by the rule."""
        return sum(record.op == STRUCK for record in self.records)


def ids(lines: Sequence[str], word: str) -> set[str]:
    """The ids in the lines that begin with `word`."""
    return {line.removeprefix(f"{word} ") for line in lines if line.startswith(f"{word} ")}


def run_worker(
    name: str,
    folder: Path,
    shim: Path,
    rule: Rule | None = None,
    *,
    armed_when_ready: bool = True,
    arguments: Sequence[str] = (),
) -> Ended:
    """Runs `workers/<name>.py <root> <arguments>` under the shim until it says that it is done, then kills it.

    With `armed_when_ready` the rule counts from the moment the worker is ready, else from its start. Raises
    AssertionError if the worker ends by itself.
    """
    root, trace, control = folder / "root", folder / "trace", folder / "control"
    root.mkdir(parents=True)
    text = "" if rule is None else f"{next(_rule_ids)} {rule}\n"
    control.write_text("" if armed_when_ready else text)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "PERDURE_SHIM_ROOT": str(root),
        "PERDURE_SHIM_TRACE": str(trace),
        "PERDURE_SHIM_CONTROL": str(control),
    }
    with subprocess.Popen(
        [sys.executable, WORKERS / f"{name}.py", root, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            for line in worker.stdout:
                if line == "ready\n":
                    if armed_when_ready:
                        control.write_text(text)
                    worker.stdin.write("go\n")
                    worker.stdin.flush()
                elif line == "done\n" or line.startswith("refused "):
                    break
            else:
                raise AssertionError(f"the worker ended by itself with {worker.wait()}")
        finally:
            worker.kill()
    records = read_trace(trace)
    return Ended(root, records, said(records))
