"""The pages as a reader uses them: what they show runs, what they link to exists, what is generated is up to date.

A `python` block is a whole program; one that defines tests is run by pytest. A `console` block is a session: each line
that begins with `$ ` is run by the shell, and the lines under it, if there are any, must be what it prints (`...`
stands for any text within a line, or for any lines when it stands alone). Both run in one temporary folder for each
page, in the order in which they stand, with the simulator behind the provider's address. `sh` blocks are for what needs
a person or a key; they are not run.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

from tests.secrets import assert_no_key, unique_key

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
_BLOCK_TIMEOUT_S: Final = 120


def _environment(folder: Path, base_url: str) -> dict[str, str]:
    """What a newcomer's shell has, with the simulator in the provider's place."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return kept | {
        "PATH": path,
        "HOME": str(folder),
        "PYTHONUTF8": "1",
        "OPENAI_API_KEY": unique_key(),
        "PERDURE_OPENAI_BASE_URL": base_url,
    }


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of OpenAI's part of a simulator that runs as long as the tests of this file."""
    command = [sys.executable, "-m", "perdure", "simulate", "--port", "0", "--batch-seconds", "0.1"]
    folder = tmp_path_factory.mktemp("simulator")
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, bufsize=1) as simulator:
        try:
            assert simulator.stdout is not None
            readable, _, _ = select.select([simulator.stdout], [], [], 30)
            assert readable, "the simulator said nothing for 30 seconds"
            yield simulator.stdout.readline().strip() + "/openai/v1"
        finally:
            simulator.kill()


def _program(example: Example) -> str | None:
    """Runs a `python` block as a file of its own."""
    folder, environment = example.namespace["folder"], example.namespace["environment"]
    (folder / "block.py").write_text(example.parsed, encoding="utf-8")
    defines_tests = re.search(r"^(?:async )?def test_", example.parsed, re.MULTILINE) is not None
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if defines_tests else []
    ended = subprocess.run(
        [sys.executable, "-W", "error", *runner, "block.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_BLOCK_TIMEOUT_S,
        check=False,
    )
    assert_no_key(_where(example), ended.stdout + ended.stderr)
    said = ended.stdout + ended.stderr
    return f"{_where(example)}: ended with {ended.returncode}\n{said}" if ended.returncode else None


def _session(example: Example) -> str | None:
    """Runs a `console` block command by command."""
    folder, environment = example.namespace["folder"], example.namespace["environment"]
    for command, expected in session_commands(example.parsed):
        ended = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BLOCK_TIMEOUT_S,
            check=False,
        )
        assert_no_key(_where(example), ended.stdout + ended.stderr)
        if ended.returncode:
            return f"{_where(example)}: {command!r} ended with {ended.returncode}\n{ended.stdout}{ended.stderr}"
        if expected and not output_matches(expected, ended.stdout):
            return f"{_where(example)}: {command!r} printed\n{ended.stdout}\ninstead of\n{expected}"
    return None


def _where(example: Example) -> str:
    return f"{Path(example.path).relative_to(ROOT)}:{example.line}"


def session_commands(block: str) -> list[tuple[str, str]]:
    """The commands of a `console` block in order, each with the output that stands under it ("" for none).

    A command goes on in the next line after a backslash. Raises `ValueError` for output above the first command.
    """
    commands: list[tuple[str, str]] = []
    goes_on = False
    for line in block.splitlines():
        if goes_on:
            commands[-1] = (f"{commands[-1][0]}\n{line}", "")
        elif line.startswith("$ "):
            commands.append((line[2:], ""))
        elif commands:
            command, expected = commands[-1]
            commands[-1] = (command, f"{expected}{line}\n")
        elif line.strip():
            raise ValueError(f"a console block begins with a line that is no command: {line!r}")
        goes_on = bool(commands) and not commands[-1][1] and commands[-1][0].endswith("\\")
    return [(command, expected if expected.strip() else "") for command, expected in commands]


def output_matches(expected: str, printed: str) -> bool:
    """Whether `printed` is `expected`, in which `...` stands for any text in its line, or alone for any lines."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "..." else ".*".join(map(re.escape, line.split("..."))) + r"[ \t]*\n"
        for line in expected.strip("\n").splitlines()
    )
    return re.fullmatch(pattern, printed.strip("\n") + "\n") is not None


def _parse(page: Path) -> Document:
    return Document.parse(str(page), CodeBlockParser("python", _program), CodeBlockParser("console", _session))


_WITH_BLOCKS: Final = [page for page in PAGES if list(_parse(page))]


@pytest.mark.parametrize("page", _WITH_BLOCKS, ids=lambda page: page.name)
def test_blocks_run(page: Path, base_url: str, tmp_path: Path) -> None:
    document = _parse(page)
    document.namespace.update(folder=tmp_path, environment=_environment(tmp_path, base_url))
    for example in document:
        example.evaluate()


def test_the_readme_shows_a_program() -> None:
    assert ROOT / "README.md" in _WITH_BLOCKS


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", *(ROOT / "benchmarks").glob("*.md")], ids=str)
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_make_targets_in_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.M)
    }
    assert named >= {"demo", "test"}
    assert sorted(named - targets) == []


@pytest.mark.parametrize(
    "command",
    sorted(
        {
            name
            for row in re.findall(r"`perdure ([a-z|\\ -]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
            for name in (
                [f"{row.split()[0]} {part}" for part in row.split()[1].split("\\|")] if "|" in row else [row.strip()]
            )
        }
    ),
)
def test_commands_in_the_readme_exist(command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "perdure", *command.split(), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("Usage: ") or command.startswith("help"), ended.stdout


# ---------------------------------------------------------------- the two small languages of this file


@pytest.mark.parametrize(
    ("block", "commands"),
    [
        pytest.param("$ one\n$ two\n", [("one", ""), ("two", "")], id="commands alone"),
        pytest.param(
            "$ one\nout\n\nmore\n$ two\n", [("one", "out\n\nmore\n"), ("two", "")], id="output under a command"
        ),
        pytest.param("$ one \\\n  two\nout\n", [("one \\\n  two", "out\n")], id="a command over two lines"),
    ],
)
def test_console_blocks_are_read(block: str, commands: list[tuple[str, str]]) -> None:
    assert session_commands(block) == commands


def test_console_block_must_begin_with_a_command() -> None:
    with pytest.raises(ValueError, match="no command"):
        session_commands("output first\n")


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n", "a\nb\n", False),
        ("a ... c\n", "a and so on c\n", True),
        ("a ... c\n", "a\nc\n", False),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a.c\n", "abc\n", False),
    ],
)
def test_output_is_compared_literally_but_for_the_dots(expected: str, printed: str, same: bool) -> None:
    assert output_matches(expected, printed) is same
