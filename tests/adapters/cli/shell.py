"""A shell for tests: `perdure` in processes of its own, against a simulator on loopback, in a folder for each test."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import msgspec
import pytest
import trio

import perdure
from perdure.adapters.cli import main
from perdure.adapters.testing.aim import KEY_VARIABLES, environment
from tests.secrets import assert_no_key, unique_key

ROOT: Final = Path(__file__).resolve().parents[3]
SECRET: Final = unique_key("sk-proj-")
PATIENCE_S: Final = 30
FIELDS: Final = ["custom_id", "index", "status", "text", "usage", "response", "error"]


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, Any]]:
        """Standard output as JSON Lines."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


class Shell:
    """A folder, a simulator, and the environment of a newcomer."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def environment(self, **changes: str) -> Mapping[str, str]:
        """What commands get: nothing of perdure's from outside, every provider at the simulator, and the secret."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "OPENAI_"))}
        for name in ("NO_COLOR", "FORCE_COLOR"):
            kept.pop(name, None)
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "XDG_CONFIG_HOME": str(self.folder / "user"),
            **environment(self.url),
            **dict.fromkeys(KEY_VARIABLES.values(), SECRET),
            "TERM": "xterm",
            **changes,
        }

    def perdure(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Ended:
        """Runs a command to its end."""
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-m", "perdure", *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return self._noted(ended.returncode, ended.stdout, ended.stderr)

    def refused(self, *arguments: str, **environment: str) -> Ended:
        """Runs a command in this process: for the many that end before they have begun."""
        written = io.BytesIO()
        out, err = io.TextIOWrapper(written, "utf-8", write_through=True), io.StringIO()
        before = dict(os.environ)
        logger = logging.getLogger("perdure")
        kept = (logger.handlers[:], logger.level, logger.propagate)  # the entry point sets them for its process
        os.environ.update(self.environment(**environment))
        try:
            with (
                contextlib.chdir(self.folder),
                redirect_stdout(out),
                redirect_stderr(err),
                pytest.raises(SystemExit) as end,
            ):
                main(arguments)
        finally:
            os.environ.clear()
            os.environ.update(before)
            logger.handlers[:], logger.level, logger.propagate = kept
        code = end.value.code
        assert isinstance(code, int)
        return self._noted(code, written.getvalue(), err.getvalue().encode())

    def measured(self, *arguments: str) -> tuple[Ended, int]:
        """Runs a command to its end; gives the most that it had resident, in KiB, too.

        A small process starts it: what the system counts begins with the memory of whoever forked.
        """
        program = (
            "import resource, subprocess, sys\n"
            "code = subprocess.call(sys.argv[1:])\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n"
            "sys.exit(code)"
        )
        ended = subprocess.run(
            [sys.executable, "-S", "-c", program, sys.executable, "-m", "perdure", *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        err, _, peak = ended.stderr.rstrip(b"\n").rpartition(b"\n")
        return self._noted(ended.returncode, ended.stdout, err), int(peak)

    @contextmanager
    def started(self, *arguments: str, **environment: str) -> Generator[subprocess.Popen[bytes]]:
        """A command that runs during the block and is killed at its end if it is still there."""
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "perdure", *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                process.kill()
                for stream in (process.stdout, process.stderr):
                    if stream is not None and not stream.closed:
                        assert_no_key("what nobody read", stream.read())

    def ended(self, process: subprocess.Popen[bytes]) -> Ended:
        """Waits for a started command."""
        out, err = process.communicate(timeout=PATIENCE_S)
        return self._noted(process.returncode, out, err)

    def _noted(self, code: int, out: bytes, err: bytes) -> Ended:
        assert_no_key("standard output", out)
        assert_no_key("standard error", err)
        return Ended(code, out.decode(), err.decode())

    # ------------------------------------------------------------ files

    def write(self, name: str, text: str | bytes) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def questions(self, count: int, name: str = "questions.jsonl") -> Path:
        """An input of prompts."""
        return self.write(name, "".join(prompt_line(f"q-{number}", f"Fjord {number}?") for number in range(count)))

    def answers(self, name: str = "answers.jsonl") -> list[dict[str, Any]]:
        """The lines of an output."""
        return [msgspec.json.decode(line) for line in (self.folder / name).read_bytes().splitlines()]

    def leftovers(self) -> list[str]:
        """Names of unfinished outputs."""
        return [path.name for path in self.folder.iterdir() if path.name.endswith(".partial")]

    # ------------------------------------------------------------ the other side

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Asks the simulator's control routes."""
        with httpx.Client(base_url=self.url, timeout=PATIENCE_S) as http:
            answer = http.request(method, path, json=body)
            answer.raise_for_status()
            return answer.json()

    def arm(self, **fault: object) -> None:
        """Arms a fault."""
        self.control("POST", "/_sim/faults", fault)

    def bought(self, kind: str = "batch", db: str = "perdure.db") -> list[Mapping[str, Any]]:
        """What the simulator sold to this folder's log."""
        log_id = self.log_id(db)
        account = self.control("GET", f"/_sim/purchases?kind={kind}")["purchases"]
        return [bought for bought in account if bought["identity"].startswith(log_id)]

    def log_id(self, db: str = "perdure.db") -> str:
        """The id of this folder's log."""

        async def read() -> str:
            async with perdure.read(self.folder / db) as reader:
                return reader.log.id

        return trio.run(read)

    def operations(self, db: str = "perdure.db") -> list[tuple[str, str]]:
        """Id and status of all batches in this folder's log; none where there is no log."""

        async def read() -> list[tuple[str, str]]:
            async with perdure.read(self.folder / db) as reader:
                return [(found.id, found.status) async for found in reader.list(kind="batch")]

        return trio.run(read) if (self.folder / db).exists() else []


def prompt_line(custom_id: str, prompt: str) -> str:
    """A line with a prompt."""
    return msgspec.json.encode({"custom_id": custom_id, "prompt": prompt}).decode() + "\n"


def batch_line(custom_id: str, model: str = "gpt", url: str = "/v1/responses", text: str = "hello") -> str:
    """A line as OpenAI documents it."""
    body = {"model": model, "input": text}
    line = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return msgspec.json.encode(line).decode() + "\n"


def run_arguments(*more: str, output: str = "answers.jsonl", source: str = "questions.jsonl") -> Sequence[str]:
    """The arguments of the main job."""
    return ["batches", "run", source, "-o", output, "--model", "gpt", *more]


def read_until(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    """Reads a started command's standard error up to the line that has `word`."""
    assert process.stderr is not None
    seen: list[bytes] = []
    watchdog = threading.Timer(PATIENCE_S, process.kill)  # a command that says nothing more is a failure, not a hang
    watchdog.start()
    try:
        for line in iter(process.stderr.readline, b""):
            seen.append(line)
            assert_no_key("standard error", line)
            if word in line:
                return b"".join(seen)
    finally:
        watchdog.cancel()
    raise AssertionError(f"{word!r} never came: {b''.join(seen)!r}")


def texts(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the answers say, without the simulator's digest."""
    return [line["text"].partition("] ")[2] for line in lines]
