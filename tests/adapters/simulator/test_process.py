"""A simulator in a process of its own: its first line, its end, and what survives its death."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from perdure.adapters.simulator import Simulator
from perdure.events.errors import Conflict
from tests.adapters.simulator.bench import OPENAI_PREFIX, PATIENCE_S, RESPONSES, prompts
from tests.adapters.simulator.process import Running, running

FILE = {"purpose": (None, b"batch"), "file": ("in.jsonl", prompts(10))}


def ask(simulator: Running, method: str, path: str, **options: Any) -> Any:
    answer = simulator.http.request(method, path, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def create(simulator: Running, file_id: str) -> Any:
    body = {"input_file_id": file_id, "endpoint": RESPONSES, "completion_window": "24h"}
    return ask(simulator, "POST", f"{OPENAI_PREFIX}/batches", json=body)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_first_line_is_the_base_url_and_a_signal_ends_it(number: signal.Signals) -> None:
    with running("--port", "0") as simulator:
        assert simulator.url.startswith("http://127.0.0.1:")
        assert ask(simulator, "GET", f"{OPENAI_PREFIX}/models")["object"] == "list"
        simulator.process.send_signal(number)
        assert simulator.process.wait(PATIENCE_S) == 0
        assert simulator.process.stderr is not None
        assert simulator.process.stderr.read() == ""


def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    arguments = ("--data", str(tmp_path), "--batch-seconds", "1000", "--seed", "3")
    with running(*arguments) as simulator:
        file = ask(simulator, "POST", f"{OPENAI_PREFIX}/files", files=FILE)
        ended = create(simulator, file["id"])
        ask(simulator, "POST", "/_sim/clock", json={"advance_s": 1000})
        ended = ask(simulator, "GET", f"{OPENAI_PREFIX}/batches/{ended['id']}")
        output = simulator.http.get(f"{OPENAI_PREFIX}/files/{ended['output_file_id']}/content").content
        going = create(simulator, file["id"])
        ask(simulator, "POST", "/_sim/clock", json={"advance_s": 500})
        going = ask(simulator, "GET", f"{OPENAI_PREFIX}/batches/{going['id']}")
        files = ask(simulator, "GET", f"{OPENAI_PREFIX}/files")
        purchases = ask(simulator, "GET", "/_sim/purchases")
        simulator.process.kill()
        simulator.process.wait(PATIENCE_S)
    (tmp_path / "files" / "receiving-half").write_bytes(b"left behind")
    with running(*arguments) as simulator:
        assert ask(simulator, "GET", f"{OPENAI_PREFIX}/files") == files
        assert ask(simulator, "GET", "/_sim/purchases") == purchases
        assert ask(simulator, "GET", f"{OPENAI_PREFIX}/batches/{ended['id']}") == ended
        content = simulator.http.get(f"{OPENAI_PREFIX}/files/{ended['output_file_id']}/content").content
        assert content == output
        assert ask(simulator, "GET", "/_sim/clock")["advanced_s"] == 1500
        again = ask(simulator, "GET", f"{OPENAI_PREFIX}/batches/{going['id']}")
        assert (again["status"], again["in_progress_at"]) == ("in_progress", going["in_progress_at"])
        ask(simulator, "POST", "/_sim/clock", json={"advance_s": 500})
        done = ask(simulator, "GET", f"{OPENAI_PREFIX}/batches/{going['id']}")
        assert (done["status"], done["request_counts"]["completed"]) == ("completed", 10)
        assert create(simulator, file["id"])["id"] not in (ended["id"], going["id"])
    assert not (tmp_path / "files" / "receiving-half").exists()


def test_what_was_bought_and_never_answered_survives_kill_9(tmp_path: Path) -> None:
    with running("--data", str(tmp_path)) as simulator:
        file = ask(simulator, "POST", f"{OPENAI_PREFIX}/files", files=FILE)
        ask(
            simulator,
            "POST",
            "/_sim/faults",
            json={"fault": "act_then_drop", "route": f"POST {OPENAI_PREFIX}/batches"},
        )
        with pytest.raises(httpx.RemoteProtocolError):
            create(simulator, file["id"])
        simulator.process.kill()
        simulator.process.wait(PATIENCE_S)
    with running("--data", str(tmp_path)) as simulator:
        bought = ask(simulator, "GET", "/_sim/purchases", params={"kind": "batch"})["purchases"]
        listed = ask(simulator, "GET", f"{OPENAI_PREFIX}/batches")["data"]
        assert [purchase["id"] for purchase in bought] == [batch["id"] for batch in listed]
        assert len(bought) == 1


def test_a_directory_serves_one_simulator_at_a_time(tmp_path: Path) -> None:
    with Simulator(data=tmp_path):
        with pytest.raises(Conflict, match="another simulator"):
            Simulator(data=tmp_path)
        arguments = [sys.executable, "-m", "perdure.adapters.simulator", "--data", str(tmp_path)]
        second = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert (second.returncode, second.stdout) == (Conflict.exit_code, "")
        assert "another simulator" in second.stderr
    with Simulator(data=tmp_path) as simulator:
        assert simulator.account.purchases() == []


def test_without_a_directory_nothing_stays_behind() -> None:
    simulator = Simulator()
    directory = simulator.directory
    assert directory.is_dir()
    simulator.close()
    assert not directory.exists()


def test_memory_is_bounded_by_no_file() -> None:
    with running("--batch-seconds", "0") as simulator:
        ask(simulator, "GET", f"{OPENAI_PREFIX}/models")
        before = simulator.peak_bytes()
        line = b'{"custom_id":"%d","method":"POST","url":"/v1/responses","body":{"model":"m","input":"%s"}}\n'
        data = b"".join(line % (n, b"x" * 4000) for n in range(20_000))
        form = {"purpose": (None, b"batch"), "file": ("big.jsonl", data)}
        file = ask(simulator, "POST", f"{OPENAI_PREFIX}/files", files=form)
        assert file["bytes"] == len(data) > 80_000_000
        batch = ask(simulator, "GET", f"{OPENAI_PREFIX}/batches/{create(simulator, file['id'])['id']}")
        assert batch["request_counts"] == {"total": 20_000, "completed": 20_000, "failed": 0}
        with simulator.http.stream("GET", f"{OPENAI_PREFIX}/files/{batch['output_file_id']}/content") as answer:
            received = sum(len(chunk) for chunk in answer.iter_raw())
        assert received == ask(simulator, "GET", f"{OPENAI_PREFIX}/files/{batch['output_file_id']}")["bytes"]
        assert simulator.peak_bytes() - before < 24_000_000
