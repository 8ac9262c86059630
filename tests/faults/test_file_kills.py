"""Files in real processes that are killed by SIGKILL, at real sockets: once at each provider, and hardly sent twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import trio

import perdure
from perdure.adapters.simulator.faults import CutRequest, Hold
from perdure.store.crash_points import CRASH_POINTS
from perdure.testing import LoopbackSimulator, loopback_simulator
from tests.faults.crowding import ROOT, Worker, working
from tests.faults.file_ways import WAYS, document

KILLED: Final = ("anthropic", "google", "openai", "openai-parts", "xai")
BETWEEN_INTENT_AND_OUTCOME: Final = ("send.before", "send.after_last_byte", "answer.received", "report.before")
MIB: Final = 1 << 20


@pytest.fixture
def simulator() -> Iterator[LoopbackSimulator]:
    """All four providers, in this process."""
    with loopback_simulator() as simulator:
        yield simulator


class Program:
    """A program that puts a file of `size` bytes at a provider, over one process after the other."""

    def __init__(self, path: Path, simulator: LoopbackSimulator, provider: str, size: int, piece: int) -> None:
        self._arguments = (path, provider, size, piece)
        self._environment: Mapping[str, str] = {**simulator.environment, "PYTHONPATH": str(ROOT)}
        self.path = path

    def start(self, end: str, *death: object) -> Any:
        """A process of it; see `workers/file_worker.py`."""
        return working("file_worker", *self._arguments, end, *death, environment=self._environment)

    async def run(self, end: str, *death: object) -> Any:
        """Runs it until it dies of itself (None) or ends (what it tells)."""
        worker: Worker
        async with self.start(end, *death) as worker:
            return await worker.ends()


async def check(program: Program, simulator: LoopbackSimulator, content: bytes, file: str) -> None:
    """The provider was given the file once and whole, has it no more, and nothing is left of it here."""
    (bought,) = simulator.account.purchases(kind="file")
    assert bought.identity.endswith(f"-{file}-0.pdf")
    assert bought.payload == hashlib.sha256(content).hexdigest()
    async with perdure.read(program.path) as reader:
        (await reader.log.verify()).raise_if_bad()
        happened = [record.type async for record in (await reader.get(file)).events(follow=False)]
    assert happened.count("CopyStored") == happened.count("CopyDeleted") == happened.count("ContentReleased") == 1


async def die_twice(
    path: Path, simulator: LoopbackSimulator, way: str, first: tuple[str, int], second: tuple[str, int]
) -> None:
    """Dies while it puts the file there, and while it deletes it; then comes to its end."""
    told = WAYS[way]
    size = len(told.content)
    program = Program(path, simulator, told.provider, size, 0)
    assert await program.run("push", *first) is None, f"{first} was not hit"
    assert await program.run("delete", *second) is None, f"{second} was not hit"
    ended = await program.run("delete")
    await check(program, simulator, document(size), ended["id"])


@pytest.mark.trio
@pytest.mark.parametrize("way", ["google", "xai"])
async def test_w52_a_sample_of_kills(tmp_path: Path, simulator: LoopbackSimulator, way: str) -> None:
    await die_twice(tmp_path / "log.db", simulator, way, ("send.after_last_byte", 1), ("report.before", 1))


@pytest.mark.trio
async def test_an_undisturbed_program_passes_every_crash_point(tmp_path: Path, simulator: LoopbackSimulator) -> None:
    program = Program(tmp_path / "log.db", simulator, "xai", 90_000, 0)
    told = await program.run("delete")
    assert set(told["hits"]) == CRASH_POINTS
    await check(program, simulator, document(90_000), told["id"])


@pytest.mark.sweep
@pytest.mark.trio
@pytest.mark.parametrize("point", BETWEEN_INTENT_AND_OUTCOME)
@pytest.mark.parametrize("way", KILLED)
async def test_w52_kills_between_intent_and_outcome(
    tmp_path: Path, simulator: LoopbackSimulator, way: str, point: str
) -> None:
    last = 3 if way == "openai-parts" else 1
    await die_twice(tmp_path / "log.db", simulator, way, (point, last), ("send.after_last_byte", last))


# ---------------------------------------------------------------- what is sent twice


def size_of(piece: int) -> int:
    """How large a file is that goes in two whole pieces and a large part of a third one."""
    return piece * 8 // 3


SENDS: Final = {"google": (WAYS["google"].sends, 2), "openai": (WAYS["openai-parts"].sends, 1)}
"""Where the pieces go, and how many requests to that route come before the second one."""


async def check_sent(simulator: LoopbackSimulator, route: str, piece: int) -> None:
    """The provider has the whole file, and was sent less than a piece more, counting what broke off and all forms."""
    seen = await trio.to_thread.run_sync(simulator.requests, route)
    assert all(one.end for one in seen), "everything that was sent has been counted"
    sent = sum(one.body_bytes for one in seen if one.headers.get("x-goog-upload-command") != "start")
    assert any(one.end != "answered" for one in seen)
    assert size_of(piece) <= sent < size_of(piece) + piece
    (bought,) = simulator.account.purchases(kind="file")
    assert bought.payload == hashlib.sha256(document(size_of(piece))).hexdigest()


@pytest.mark.trio
@pytest.mark.parametrize("provider", SENDS)
async def test_w52_after_a_kill_in_the_middle_less_than_a_piece_is_sent_again(
    tmp_path: Path, simulator: LoopbackSimulator, provider: str
) -> None:
    """A piece has more than the buffers of a connection hold, so that it really is cut in its middle."""
    (route, before), piece = SENDS[provider], 16 * MIB
    program = Program(tmp_path / "log.db", simulator, provider, size_of(piece), piece)
    await trio.to_thread.run_sync(simulator.faults.arm, Hold(route=route, skip=before, act=False))
    worker: Worker
    async with program.start("push") as worker:
        await trio.to_thread.run_sync(simulator.holds.wait_held)
        worker.process.kill()
        assert await worker.ends() is None
    await trio.to_thread.run_sync(simulator.holds.release)
    assert await program.run("push") is not None
    await check_sent(simulator, route, piece)


@pytest.mark.trio
@pytest.mark.parametrize("provider", SENDS)
async def test_after_a_cut_in_the_middle_less_than_a_piece_is_sent_again(
    tmp_path: Path, simulator: LoopbackSimulator, provider: str
) -> None:
    (route, before), piece = SENDS[provider], MIB
    program = Program(tmp_path / "log.db", simulator, provider, size_of(piece), piece)
    cut = CutRequest(route=route, skip=before, after_bytes=piece // 2 + 1_000)
    await trio.to_thread.run_sync(simulator.faults.arm, cut)
    assert await program.run("push") is not None
    assert await trio.to_thread.run_sync(simulator.faults.armed) == []
    await check_sent(simulator, route, piece)
