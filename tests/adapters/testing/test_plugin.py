"""The fixtures as projects meet them, under every runner, and what merely installing perdure costs a test run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
import pytest
import trio
import trio.testing

import perdure
from perdure.testing import simulation

ANSWERED: Final = """
    handle = await service.batches.submit([perdure.Prompt("x", model="m")], provider="openai")
    assert (await handle.result()).ok == 1
"""

RUNNERS: Final = {
    "pytest-trio": f"""
import perdure, pytest

@pytest.mark.trio
async def test_it(autojump_clock, perdure_simulation):
  async with perdure_simulation(batch_s=80_000) as simulated, simulated.open() as service:
    {ANSWERED}
""",
    "anyio": f"""
import perdure, pytest, trio.testing

@pytest.fixture
def anyio_backend():
    return "trio", {{"clock": trio.testing.MockClock(autojump_threshold=0)}}

@pytest.mark.anyio
async def test_it(perdure_simulation):
  async with perdure_simulation(batch_s=80_000) as simulated, simulated.open() as service:
    {ANSWERED}
""",
    "trio.run": f"""
import perdure, trio, trio.testing

def test_it(perdure_simulation, tmp_path):
  async def main():
   async with perdure_simulation(batch_s=80_000) as simulated, simulated.open() as service:
    assert simulated.path.is_relative_to(tmp_path)
    {ANSWERED}
   async with perdure_simulation() as again:
    assert len(again.account.purchases()) == 2

  trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
""",
    "no runner": """
def test_it(perdure_simulator):
    assert perdure_simulator.url.startswith("http://127.0.0.1:")
    assert perdure_simulator.account.purchases() == []
""",
}


def _python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("runner", RUNNERS)
def test_fixtures_are_there_wherever_perdure_is_installed(runner: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(RUNNERS[runner], encoding="utf-8")
    ended = _python("-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout


def test_fixtures_say_what_they_are(tmp_path: Path) -> None:
    ended = _python("-m", "pytest", "--fixtures", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    for name in ("perdure_simulation", "perdure_simulator"):
        assert name in ended.stdout
        assert f"{name} -- no docstring" not in ended.stdout


def test_a_run_that_needs_nothing_of_it_loads_nothing_of_it() -> None:
    heavy = ("trio", "anyio", "httpx", "starlette", "sqlite3", "eventsourcing", "perdure.adapters.simulator")
    script = "import sys, perdure.adapters.testing.plugin; print(*(n for n in sys.argv[1:] if n in sys.modules))"
    ended = _python("-c", script, *heavy)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == []


def test_perdure_testing_needs_no_pytest() -> None:
    blocked = "import sys\nfor name in ('pytest', '_pytest', 'pytest_trio'): sys.modules[name] = None\n"
    ended = _python("-c", blocked + "import perdure.testing")
    assert ended.returncode == 0, ended.stderr


def test_anyio_without_pytest() -> None:
    async def main() -> perdure.BatchSummary:
        async with simulation() as simulated, simulated.open() as service:
            handle = await service.batches.submit([perdure.Prompt("x", model="m")], provider="openai")
            return await handle.result()

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert anyio.run(main, backend="trio", backend_options={"clock": clock}).ok == 1
