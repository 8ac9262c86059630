"""The power is cut: what was not synced is gone, or any part of it, content and names alike.

One run of a worker is recorded; the disk as of many moments in it is rebuilt, and the next process looks at each.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.judges import judge_blobs, judge_log
from tests.faults.lab import Ended, ids, run_worker
from tests.faults.power_cut import Record, images, random_cuts, said, sync_boundaries

pytestmark = pytest.mark.compiler


def judge_cuts(ended: Ended, worker: str, cuts: Sequence[int], target: Path, seeds: Sequence[int | None]) -> int:
    """Judges the disk at each cut, for each seed that decides about what was not synced (None: all of it is gone).
    Returns the number of disks."""
    disks = 0
    for cut, image in images(ended.records, ended.root, cuts):
        acknowledged = ids(said(ended.records[:cut]), "ack")
        for seed in seeds:
            root = target / f"{cut}-{seed}"
            image.write(root, None if seed is None else random.Random(f"{cut} {seed}"))
            if worker == "log_worker":
                judge_log(root, acknowledged=acknowledged)
            else:
                judge_blobs(root, acknowledged=acknowledged)
            disks += 1
    return disks


def ready(records: Sequence[Record]) -> int:
    """The first cut at which the worker had opened what it works on."""
    return next(cut for cut in range(len(records) + 1) if "ready" in said(records[:cut]))


def sample(records: Sequence[Record], count: int, seed: int) -> list[int]:
    """Some of the sync boundaries, some moments between, and the end."""
    boundaries = sync_boundaries(records)
    chosen = random.Random(seed).sample(boundaries, min(count, len(boundaries)))
    return [*chosen, *random_cuts(records, count, seed), len(records)]


@pytest.mark.parametrize("worker", ["log_worker", "blob_worker"])
def test_nothing_acknowledged_is_lost_in_a_sample_of_cuts(tmp_path: Path, shim: Path, worker: str) -> None:
    ended = run_worker(worker, tmp_path / "run", shim, arguments=["4", "6"])
    assert len(ended.ids("ack")) >= 20
    opened = ready(ended.records)
    cuts = [cut for cut in sample(ended.records, 20, seed=1) if cut >= opened]
    assert judge_cuts(ended, worker, cuts, tmp_path, [None, 1]) >= 10


def test_a_log_whose_making_was_cut_short_can_be_made(tmp_path: Path, shim: Path) -> None:
    ended = run_worker("log_worker", tmp_path / "run", shim, arguments=["1", "1"])
    opened = ready(ended.records)
    cuts = [cut for cut in sync_boundaries(ended.records) if cut < opened]
    assert judge_cuts(ended, "log_worker", cuts, tmp_path, [None]) >= 5


@pytest.mark.parametrize("worker", ["log_worker", "blob_worker"])
@pytest.mark.parametrize("run", range(3))
@pytest.mark.sweep
def test_nothing_acknowledged_is_lost_in_any_cut(tmp_path: Path, shim: Path, worker: str, run: int) -> None:
    ended = run_worker(worker, tmp_path / "run", shim, arguments=["8", "12"])
    cuts = [*sync_boundaries(ended.records), *random_cuts(ended.records, 100, seed=run)]
    # How many depends on how the appends met in commits: some 450 to 700.
    assert judge_cuts(ended, worker, cuts, tmp_path, [None, *range(3)]) > 300
