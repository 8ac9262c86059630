"""What holds for every command: help, examples, exit codes, formats, colour, and what is loaded when."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys

import click
import pytest

from perdure.adapters.cli.entry import root
from perdure.adapters.cli.exit_codes import MEANINGS, ExitCode
from perdure.events import errors
from tests.adapters.cli.shell import ROOT, Shell, run_arguments
from tests.secrets import assert_no_key
from tools.write_cli_reference import commands, help_of

ALL = dict(commands(root, "perdure"))


@pytest.mark.parametrize("path", ALL)
def test_every_command_has_a_summary_a_paragraph_and_an_example(path: str) -> None:
    command = ALL[path]
    assert command.help is not None
    summary, paragraph, *_ = re.split(r"\n\s*\n", command.help.strip())
    assert summary.endswith("."), "a sentence"
    assert "\n" not in summary
    assert len(summary) <= 80
    assert len(paragraph) > 40
    shown = help_of(command, path)
    assert all(len(line) <= 80 for line in shown.splitlines())
    (example,) = re.findall(r"Example:\n\s+(perdure .*)", shown)
    if path != "perdure" and not isinstance(command, click.Group):
        assert example.startswith(path), "an example of this very command"
    _check_arguments(shlex.split(example)[1:])


def _check_arguments(arguments: list[str]) -> None:
    """The words name a command and options that there are."""
    command: click.Command = root
    while isinstance(command, click.Group):
        context = click.Context(command)
        found = command.get_command(context, arguments.pop(0))
        assert found is not None
        command = found
    options = {name for parameter in command.params for name in parameter.opts}
    used = [word for word in arguments if word.startswith("-")]
    assert set(used) <= options
    assert all(word.startswith("--") for word in used), "examples have long options"


@pytest.mark.parametrize("path", [path for path, command in ALL.items() if not isinstance(command, click.Group)])
def test_every_command_has_the_common_options(path: str) -> None:
    options = {name for parameter in ALL[path].params for name in parameter.opts}
    assert options >= {"--color", "--quiet", "--verbose"}
    assert not {option for option in options if re.search("secret|password|token|api", option)}, (
        "secrets are no options"
    )


def test_the_reference_is_up_to_date() -> None:
    command = [sys.executable, "tools/write_cli_reference.py", "--check"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_exit_codes_are_printed(shell: Shell) -> None:
    rows = shell.refused("help", "exit-codes").rows()
    assert [row["code"] for row in rows] == [0, 1, 2, 3, 4, 5, 6, 7, 130, 143]
    assert set(MEANINGS) == set(ExitCode)


def test_every_error_ends_with_a_known_code() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {value.exit_code for value in classes if issubclass(value, errors.PerdureError)} <= {*ExitCode}


def test_formats(shell: Shell) -> None:
    def shown(name: str) -> str:
        return shell.refused("help", "exit-codes", "--format", name).out

    assert shown("json").startswith("[\n  {")
    assert shown("jsonl").splitlines()[0] == '{"code":0,"name":"done","meaning":"done"}'
    assert list(csv.reader(shown("csv").splitlines()))[:2] == [["code", "name", "meaning"], ["0", "done", "done"]]
    assert shown("none") == ""
    table = shown("table").splitlines()
    assert table[0].split() == ["code", "name", "meaning"]
    assert all(meaning in shown("table") for meaning in MEANINGS.values()), "nothing is cut in a pipe"


@pytest.mark.parametrize(
    ("environment", "options", "colored"),
    [
        pytest.param({}, [], False, id="a pipe"),
        pytest.param({}, ["--color", "always"], True, id="asked for"),
        pytest.param({"FORCE_COLOR": "1"}, [], True, id="FORCE_COLOR"),
        pytest.param({"FORCE_COLOR": "1"}, ["--color", "never"], False, id="the option wins"),
        pytest.param({"NO_COLOR": "1"}, ["--color", "always"], True, id="the option wins over NO_COLOR"),
        pytest.param({"NO_COLOR": "1", "FORCE_COLOR": "1"}, [], True, id="FORCE_COLOR wins over NO_COLOR"),
    ],
)
def test_colour(shell: Shell, environment: dict[str, str], options: list[str], colored: bool) -> None:
    ended = shell.refused("ops", "list", *options, **environment)
    assert ended.code == 3
    assert ("\x1b[" in ended.err) == colored


def test_wrong_usage_ends_with_two(shell: Shell) -> None:
    for arguments in (["nonsense"], ["ops", "nonsense"], ["ops", "list", "--nonsense"], ["ops"]):
        assert shell.refused(*arguments).code == 2, arguments


def test_version(shell: Shell) -> None:
    assert shell.refused("--version").out.startswith("perdure, version 0.1.0")


def test_import_loads_neither_click_nor_rich() -> None:
    script = "import sys, perdure; assert not {'click', 'rich', 'sqlite3', 'httpx'} & set(sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("arguments", [["help", "exit-codes"], ["--help"], ["batches", "run", "--help"]], ids=" ".join)
def test_what_needs_no_log_loads_no_network_and_no_rich(shell: Shell, arguments: list[str]) -> None:
    script = (
        "import sys\nfrom perdure.adapters.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: assert not {'rich', 'httpx', 'sqlite3'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(
        command, cwd=shell.folder, env=shell.environment(), capture_output=True, timeout=60, check=False
    )
    assert_no_key("what was written", ended.stdout + ended.stderr)
    assert ended.returncode == 0, ended.stderr


def test_the_log_of_perdure_itself_is_shown_when_asked_for(shell: Shell) -> None:
    quiet = shell.perdure(*run_arguments(source="-"), stdin=b"")
    loud = shell.perdure(*run_arguments("--verbose", source="-"), stdin=b"")
    assert "DEBUG" not in quiet.err
    assert "DEBUG perdure: reading standard input" in loud.err
