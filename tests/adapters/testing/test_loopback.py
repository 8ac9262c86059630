"""The simulator on a port: from tests that are not asynchronous, in real time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio

import perdure
from perdure.testing import LoopbackSimulator, faults, loopback_simulator
from tests.secrets import unique_key

CREATE = "POST /openai/v1/batches"
PATIENCE_S = 30.0


def ask(path: Path, config: perdure.Config) -> perdure.BatchSummary:
    """Runs a batch of one request, as an application would."""

    async def main() -> perdure.BatchSummary:
        with trio.fail_after(PATIENCE_S):
            async with perdure.open(path, config=config) as service:
                prompt = perdure.Prompt("question", model="m", custom_id="r")
                handle = await service.batches.submit(
                    [prompt], provider="openai", key="k", polling=perdure.Polling(first_s=0.01, every_s=0.01)
                )
                return await handle.result()

    return trio.run(main)


def test_a_service_of_this_process(perdure_simulator: LoopbackSimulator, tmp_path: Path) -> None:
    armed = perdure_simulator.faults.arm(
        faults.AnswerStatus(route=CREATE, status=429, headers={"retry-after-ms": "10"})
    )
    assert perdure_simulator.faults.armed() == armed
    assert ask(tmp_path / "p.db", perdure_simulator.config).ok == 1
    assert perdure_simulator.faults.armed() == []
    assert [seen.status for seen in perdure_simulator.requests(CREATE)] == [429, 200]
    assert len(perdure_simulator.requests()) > 2
    assert [purchase.kind for purchase in perdure_simulator.account.purchases()] == ["file", "batch"]
    assert perdure_simulator.account.bought_twice() == []


def test_another_process(perdure_simulator: LoopbackSimulator, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"custom_id": "a", "prompt": "question"}\n', encoding="utf-8")
    command = [sys.executable, "-m", "perdure", "batches", "run", "in.jsonl", "-o", "out.jsonl", "--model", "m"]
    environment = {**os.environ, **perdure_simulator.environment}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "question" in (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert [purchase.kind for purchase in perdure_simulator.account.purchases()] == ["file", "batch"]


def test_holds(tmp_path: Path) -> None:
    given = perdure.ProviderConfig(credentials={"default": perdure.Secret(unique_key())})
    with loopback_simulator(directory=tmp_path / "provider") as simulator:
        simulator.faults.arm(faults.Hold(route=CREATE))
        with pytest.raises(trio.TooSlowError):
            simulator.holds.wait_held(timeout_s=0.01)
        config = simulator.aim(perdure.Config(providers={"openai": given}))
        asking = threading.Thread(target=ask, args=(tmp_path / "p.db", config))
        asking.start()
        [held] = simulator.holds.wait_held()
        assert held.acted
        assert [purchase.kind for purchase in simulator.account.purchases()] == ["file", "batch"]
        assert simulator.holds.release() == [held]
        asking.join(PATIENCE_S)
        assert not asking.is_alive()
        simulator.faults.arm(faults.Stuck())
        simulator.faults.clear()
        assert simulator.faults.armed() == []


def test_batches_get_on_when_the_clock_is_moved(tmp_path: Path) -> None:
    with loopback_simulator(batch_s=86_000) as simulator:
        simulator.faults.arm(faults.Hold(route="GET /openai/v1/batches/*", act=False))
        asking = threading.Thread(target=ask, args=(tmp_path / "p.db", simulator.config))
        asking.start()
        simulator.holds.wait_held()
        simulator.advance(86_000)
        simulator.holds.release()
        asking.join(PATIENCE_S)
        assert not asking.is_alive()
        [batch] = simulator.account.purchases(kind="batch")
        assert batch.units == 1


def test_nothing_is_left_running() -> None:
    before = threading.active_count()
    with loopback_simulator() as simulator:
        assert threading.active_count() > before
        url = simulator.url
    with loopback_simulator() as other:
        assert other.url != url
        assert other.account.purchases() == []
