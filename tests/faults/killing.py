"""Batches in processes that are killed: the jobs, their workers, and what must hold of each afterwards.

Every job has a log of its own; one simulator serves them all, and each job finds its own purchases on the account by
the id of its log.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final

import httpx
import trio
from msgspec import Struct

import perdure
from perdure.events.ids import derived_id
from tests.adapters.simulator.process import Running
from tests.secrets import assert_no_key, unique_key

WORKER: Final = Path(__file__).with_name("workers") / "batch_worker.py"
ROOT: Final = Path(__file__).resolve().parents[2]
OPENAI: Final = "/openai/v1"
PATIENCE_S: Final = 60.0
"""How long a worker may take before it counts as hung."""


class Told(Struct, frozen=True):
    """What a worker that came to its end told."""

    answers: Mapping[str, str]
    hits: Mapping[str, int]


class Job:
    """A batch of `lines` lines on a log of its own, run by one worker after another."""

    def __init__(self, directory: Path, simulator: Running, *, lines: int = 3) -> None:
        directory.mkdir()
        self.directory = directory
        self.path = directory / "log.db"
        self.key = unique_key()
        self.lines = lines
        self._simulator = simulator

    async def work(self, *death: str, kill_after_s: float | None = None) -> Told | None:
        """Runs a worker until it ends (its answers), dies of itself or is killed (None)."""
        process = await trio.lowlevel.open_process(
            [sys.executable, str(WORKER), str(self.path), self._simulator.url + OPENAI, str(self.lines), *death],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "PERDURE_TEST_KEY": self.key},
            cwd=ROOT,
        )
        said, complained = bytearray(), bytearray()
        try:
            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_gather, process.stdout, said)
                    nursery.start_soon(_gather, process.stderr, complained)
                    if kill_after_s is not None:
                        with trio.move_on_after(kill_after_s):
                            await process.wait()
                        process.kill()
                    await process.wait()
        finally:
            process.kill()
            assert_no_key("what a worker wrote", bytes(said + complained))
        if process.returncode == -9:
            return None
        assert process.returncode == 0, complained.decode()
        told = json.loads(said)
        return Told(told["answers"], told["hits"])

    async def check(self, told: Told) -> None:
        """Every answer once and right; one purchase of each kind, by identity and by payload; the log verifies."""
        assert sorted(told.answers) == sorted(f"r-{number}" for number in range(self.lines))
        for name, answer in told.answers.items():
            assert answer.endswith(f"question {name.removeprefix('r-')}"), f"{name}: {answer}"
        async with perdure.read(self.path) as reader:
            (await reader.log.verify()).raise_if_bad()
            batch = await reader.find("job")
            assert isinstance(batch, perdure.BatchView)
            state = await batch.state()
            assert (batch.status, state.ok, state.failed, state.duplicate) == ("succeeded", self.lines, 0, 0)
            types = [record.type async for record in reader.log.read()]
            assert types.count("BatchFinished") == types.count("PartSettled") == 1
        self.check_account(batch.id)

    def check_account(self, batch: str) -> None:
        """One batch and one file were bought for this job, under any name."""
        bought = [
            (entry["kind"], entry["identity"], entry["payload"])
            for entry in _purchases(self._simulator.http)
            if batch in entry["identity"] or self._file_of(batch) in entry["identity"]
        ]
        assert Counter(kind for kind, _, _ in bought) == {"batch": 1, "file": 1}, bought
        assert twice(self._simulator.http) == []

    def _file_of(self, batch: str) -> str:
        return derived_id("pfile", batch, 0)


def twice(http: httpx.Client) -> list[str]:
    """What stands on the whole account more than once, by identity or payload. Batches of nobody (`filler`) aside."""
    marks = Counter(
        f"{entry['kind']} {entry[field]}"
        for entry in _purchases(http)
        if not entry["identity"].startswith("filler")
        for field in ("identity", "payload")
    )
    return sorted(mark for mark, times in marks.items() if times > 1)


def add_newer_batches(http: httpx.Client, count: int = 250) -> None:
    """Has somebody else buy `count` batches, so that whoever looks for an older one must page."""
    line = {"custom_id": "x", "method": "POST", "url": "/v1/responses", "body": {"model": "m", "input": "x"}}
    content = json.dumps(line).encode() + b"\n"
    stored = http.post(f"{OPENAI}/files", data={"purpose": "batch"}, files={"file": ("filler.jsonl", content)})
    for number in range(count):
        http.post(
            f"{OPENAI}/batches",
            json={
                "input_file_id": stored.json()["id"],
                "endpoint": "/v1/responses",
                "completion_window": "24h",
                "metadata": {"perdure_identity": f"filler-{number}"},
            },
        ).raise_for_status()


async def die_everywhere(
    root: Path,
    simulator: Running,
    names: Iterable[str],
    *,
    only: Sequence[int] | None = None,
    at_a_time: int = 4,
    newer: int = 0,
) -> dict[str, int]:
    """For each name a job for each occurrence of it: dies there, goes on, is checked. Gives the deaths by name.

    A name is done when a worker passes without dying. `only`: these occurrences and no others. `newer`: how many
    batches others buy between the death and the restart.
    """
    deaths: Counter[str] = Counter()
    limiter = trio.CapacityLimiter(at_a_time)

    async def one(name: str, occurrence: int) -> bool:
        job = Job(root / f"{name}-{occurrence}", simulator)
        told = await job.work(name, str(occurrence))
        died = told is None
        if told is None:
            deaths[name] += 1
            if newer:
                await trio.to_thread.run_sync(add_newer_batches, simulator.http, newer)
            told = await job.work()
        assert told is not None
        try:
            await job.check(told)
        except AssertionError as error:
            error.add_note(f"after dying at {name}, occurrence {occurrence}")
            raise
        return died

    async def all_of(name: str) -> None:
        for occurrence in only or itertools.count(1):
            async with limiter:
                if not await one(name, occurrence) and only is None:
                    return

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(all_of, name)
    return dict(deaths)


RANDOM_LINES: Final = 1_500


async def life_s(root: Path, simulator: Running) -> float:
    """How long a worker takes here for a job of `RANDOM_LINES` that nobody disturbs, in seconds."""
    job = Job(root / "undisturbed", simulator, lines=RANDOM_LINES)
    start = trio.current_time()
    assert await job.work() is not None
    return trio.current_time() - start


async def die_at_random(root: Path, simulator: Running, seed: int, life: float, *, most: int = 4) -> int:
    """One job whose workers are killed at random times of their life, `most` of them, and then left alone.

    `life` is how long an undisturbed one takes, in seconds; its first third is Python starting. Gives the deaths.
    """
    random = Random(seed)
    job = Job(root / f"seed-{seed}", simulator, lines=RANDOM_LINES)
    deaths = 0
    told: Told | None = None
    while told is None:
        told = await job.work(kill_after_s=random.uniform(life / 3, life) if deaths < most else None)
        deaths += told is None
    try:
        await job.check(told)
    except AssertionError as error:
        error.add_note(f"seed {seed}, after {deaths} deaths")
        raise
    return deaths


async def _gather(stream: trio.abc.ReceiveStream | None, into: bytearray) -> None:
    assert stream is not None
    async for chunk in stream:
        into += chunk


def _purchases(http: httpx.Client) -> list[dict[str, str]]:
    found: list[dict[str, str]] = http.get("/_sim/purchases").json()["purchases"]
    return found
