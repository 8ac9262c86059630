"""System calls that fail under the log and the blobs: once, or from some moment on.

Nothing acknowledged is lost, and nothing answered "failed" ever reappears: a worker says what it was told, is killed
with SIGKILL, and the next process looks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.faults.judges import judge_blobs, judge_log
from tests.faults.lab import Ended, Kind, Rule, run_worker

pytestmark = pytest.mark.compiler

KINDS: Final[tuple[Kind, ...]] = ("sync", "full", "half", "short")
LASTS: Final = pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
FAILURES: Final = pytest.mark.parametrize("kind", KINDS)

TASKS, ROUNDS = "6", "6"


def run_log(folder: Path, shim: Path, rule: Rule, *, armed_when_ready: bool = True) -> Ended:
    """Runs the log's worker with one fault and judges what it left."""
    ended = run_worker("log_worker", folder, shim, rule, armed_when_ready=armed_when_ready, arguments=[TASKS, ROUNDS])
    known = {word: ended.ids(word) for word in ("ack", "fail", "unknown")}
    judge_log(
        ended.root,
        acknowledged=known["ack"],
        failed=known["fail"],
        possible=known["ack"] | known["unknown"],
    )
    return ended


def run_blobs(folder: Path, shim: Path, rule: Rule) -> Ended:
    """Runs the blobs' worker with one fault and judges what it left."""
    ended = run_worker("blob_worker", folder, shim, rule, arguments=[TASKS, ROUNDS])
    judge_blobs(ended.root, acknowledged=ended.ids("ack"))
    return ended


@FAILURES
@LASTS
@pytest.mark.parametrize("nth", [1, 4])
def test_the_log_tells_the_truth_about_a_failing_call(
    tmp_path: Path, shim: Path, kind: Kind, lasting: bool, nth: int
) -> None:
    ended = run_log(tmp_path / "run", shim, Rule(kind, nth, lasting, "log.db-wal"))
    assert ended.struck
    if kind == "short":
        assert ended.ids("ack")
    elif lasting:
        assert ended.ids("fail") | ended.ids("unknown")


@FAILURES
@LASTS
@pytest.mark.parametrize("nth", [1, 6])
def test_blobs_survive_a_failing_call(tmp_path: Path, shim: Path, kind: Kind, lasting: bool, nth: int) -> None:
    ended = run_blobs(tmp_path / "run", shim, Rule(kind, nth, lasting))
    assert ended.struck
    if kind == "short":
        assert not ended.ids("fail")
    else:
        assert ended.ids("fail")


@FAILURES
@LASTS
@pytest.mark.parametrize("part", ["*", "log.db-wal", "log.db-shm"])
@pytest.mark.sweep
def test_every_failing_call_under_the_log(tmp_path: Path, shim: Path, kind: Kind, lasting: bool, part: str) -> None:
    nth = 1
    while run_log(tmp_path / str(nth), shim, Rule(kind, nth, lasting, part)).struck:
        nth += 1
    assert nth > 1 or part == "log.db-shm"


@FAILURES
@LASTS
@pytest.mark.sweep
def test_every_failing_call_while_the_log_is_made(tmp_path: Path, shim: Path, kind: Kind, lasting: bool) -> None:
    for nth in range(1, 40):
        run_log(tmp_path / str(nth), shim, Rule(kind, nth, lasting), armed_when_ready=False)


@FAILURES
@LASTS
@pytest.mark.sweep
def test_every_failing_call_under_the_blobs(tmp_path: Path, shim: Path, kind: Kind, lasting: bool) -> None:
    nth = 1
    while run_blobs(tmp_path / str(nth), shim, Rule(kind, nth, lasting)).struck:
        nth += 1
    assert nth > 20
