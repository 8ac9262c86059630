"""The main job: lines in, lines out, once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from tests.adapters.cli.shell import FIELDS, Shell, batch_line, prompt_line, run_arguments, texts
from tests.secrets import assert_no_key


def test_b1_a_file_of_prompts_becomes_a_file_of_answers(shell: Shell) -> None:
    shell.questions(25)
    ended = shell.perdure(*run_arguments())
    assert ended.code == 0, ended.err
    assert ended.out == ""
    answers = shell.answers()
    assert [list(line) for line in answers] == [FIELDS] * 25
    assert [(line["custom_id"], line["index"]) for line in answers] == [(f"q-{n}", n) for n in range(25)]
    assert texts(answers) == [f"Fjord {number}?" for number in range(25)]
    assert all(line["status"] == "ok" and line["error"] is None for line in answers)
    assert answers[0]["response"]["object"] == "response"
    assert answers[0]["usage"]["total_tokens"] > 0
    assert f"log: {shell.folder / 'perdure.db'}" in ended.err
    assert shell.leftovers() == []
    assert len(shell.bought()) == 1


def test_lines_as_the_provider_documents_them(shell: Shell) -> None:
    shell.write("questions.jsonl", "\ufeff" + batch_line("ä", text="æøå") + batch_line("b").rstrip() + "\n\n")
    ended = shell.perdure("batches", "run", "questions.jsonl", "-o", "answers.jsonl")
    assert ended.code == 0, ended.err
    assert [line["custom_id"] for line in shell.answers()] == ["ä", "b"]
    assert texts(shell.answers()) == ["æøå", "hello"]


def test_b2_progress_shows_the_terminal_status(shell: Shell) -> None:
    shell.questions(3)
    ended = shell.perdure(*run_arguments())
    shown = [line for line in ended.err.splitlines() if " lines after " in line]
    assert [line.partition(":")[0] for line in shown] == ["pending", "running", "succeeded"]
    assert shown[-1].startswith("succeeded: 3 of 3 lines")


@pytest.mark.parametrize("option", ["--no-progress", "--quiet"])
def test_progress_can_be_silenced(shell: Shell, option: str) -> None:
    shell.questions(1)
    ended = shell.perdure(*run_arguments(option))
    assert " lines after " not in ended.err
    assert (ended.err == "") == (option == "--quiet")


def test_b3_detach_returns_the_id_at_once(shell: Shell) -> None:
    shell.questions(2)
    shell.arm(fault="hold", route="POST /openai/v1/batches")
    with shell.started("batches", "run", "questions.jsonl", "--model", "gpt", "--detach") as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert_no_key("standard output", line)
        shell.control("GET", "/_sim/held?wait=1&timeout_s=30")
        assert shell.operations() == [(line.split('"')[3], "pending")], "the id came before the provider had answered"
        assert '"provider":"openai"' in line
        shell.control("POST", "/_sim/release")
        ended = shell.ended(process)
    assert ended.code == 0, ended.err
    assert "openai has it as batch_" in ended.err
    collected = shell.perdure(*run_arguments())
    assert collected.code == 0, collected.err
    assert texts(shell.answers()) == ["Fjord 0?", "Fjord 1?"]
    assert len(shell.bought()) == 1


def test_w22_more_lines_than_one_batch_takes_in_bounded_memory(shell: Shell) -> None:
    shell.questions(50_001)
    ended, peak = shell.measured(*run_arguments())
    assert ended.code == 0, ended.err
    assert peak < 200 * 1024, f"{peak} KiB"
    answers = shell.answers()
    assert [line["custom_id"] for line in answers] == [f"q-{number}" for number in range(50_001)]
    assert {line["status"] for line in answers} == {"ok"}
    assert sorted(bought["units"] for bought in shell.bought()) == [1, 50_000]


def test_the_same_command_again_buys_nothing_and_writes_the_same(shell: Shell) -> None:
    shell.questions(4)
    shell.perdure(*run_arguments())
    again = shell.perdure(*run_arguments(output="again.jsonl"), PERDURE_OPENAI_BASE_URL="http://127.0.0.1:9")
    assert again.code == 0, again.err
    assert (shell.folder / "again.jsonl").read_bytes() == (shell.folder / "answers.jsonl").read_bytes()
    assert len(shell.bought()) == 1


def test_from_standard_input_to_standard_output(shell: Shell) -> None:
    stdin = "".join(prompt_line(f"q{number}", f"Fjord {number}?") for number in range(6)).encode()
    ended = shell.perdure(*run_arguments(source="-", output="-"), stdin=stdin)
    assert ended.code == 0, ended.err
    assert sorted(line["custom_id"] for line in ended.rows()) == [f"q{number}" for number in range(6)]
    again = shell.perdure(*run_arguments(source="-", output="-"), stdin=stdin)
    assert "on record" in again.err
    assert sorted(again.out.splitlines()) == sorted(ended.out.splitlines())


def test_standard_output_is_in_order_of_arrival_and_a_file_in_order_of_input(shell: Shell) -> None:
    shell.questions(40)
    shell.arm(fault="shuffled")
    ended = shell.perdure(*run_arguments(output="-"))
    indexes = [line["index"] for line in ended.rows()]
    assert sorted(indexes) == list(range(40)) != indexes
    assert shell.perdure(*run_arguments()).code == 0
    assert [line["index"] for line in shell.answers()] == list(range(40))


def test_output_into_a_pipe_with_a_name(shell: Shell) -> None:
    shell.questions(3)
    os.mkfifo(shell.folder / "pipe")
    with subprocess.Popen(["cat", "pipe"], cwd=shell.folder, stdout=subprocess.PIPE) as reader:
        ended = shell.perdure(*run_arguments(output="pipe"))
        out, _ = reader.communicate(timeout=30)
    assert_no_key("the pipe", out)
    assert ended.code == 0, ended.err
    assert len(out.splitlines()) == 3
    assert stat.S_ISFIFO((shell.folder / "pipe").stat().st_mode)


def test_a_reader_that_leaves_ends_the_command_quietly(shell: Shell) -> None:
    shell.questions(3)
    with shell.started(*run_arguments(output="-")) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert_no_key("standard error", said)
        assert process.wait(30) == 1
    assert b"Traceback" not in said


def test_an_output_that_is_replaced_keeps_its_permissions_and_its_link(shell: Shell) -> None:
    shell.questions(1)
    real = shell.write("real.jsonl", "old")
    real.chmod(0o640)
    (shell.folder / "answers.jsonl").symlink_to("real.jsonl")
    assert shell.perdure(*run_arguments()).code == 0
    assert (shell.folder / "answers.jsonl").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert len(real.read_bytes().splitlines()) == 1


@pytest.mark.parametrize("source", ["option", "variable"])
def test_the_log_is_named_by_option_or_variable(shell: Shell, source: str) -> None:
    shell.questions(1)
    place = shell.folder / "other.db"
    if source == "option":
        ended = shell.perdure(*run_arguments("--db", f"sqlite:///{place}"), PERDURE_DB="wrong.db")
    else:
        ended = shell.perdure(*run_arguments(), PERDURE_DB=str(place))
    assert ended.code == 0, ended.err
    assert [path.name for path in shell.folder.glob("*.db")] == ["other.db"]
    assert f"log: {place}" in ended.err


def test_dry_run_submits_nothing_and_makes_nothing(shell: Shell) -> None:
    shell.questions(7)
    before = sorted(shell.folder.iterdir())
    ended = shell.perdure(*run_arguments("--dry-run"))
    assert ended.code == 0, ended.err
    (plan,) = ended.rows()
    assert (plan["would"], plan["lines"], plan["batches"], plan["model"]) == ("submit", 7, 1, "gpt")
    assert sorted(shell.folder.iterdir()) == before
    shell.perdure(*run_arguments())
    (plan,) = shell.perdure(*run_arguments("--dry-run")).rows()
    assert (plan["would"], plan["status"]) == ("go on", "succeeded")


def test_a_job_is_its_input_model_endpoint_and_credential(shell: Shell) -> None:
    shell.questions(1)
    for more in ([], ["--model", "other"], ["--endpoint", "/v1/chat/completions"]):
        assert shell.perdure(*run_arguments(*more)).code == 0
    assert len(shell.bought()) == 3
    assert shell.perdure(*run_arguments()).code == 0
    assert len(shell.bought()) == 3


@pytest.mark.parametrize(
    ("options", "code"),
    [
        pytest.param([], 1, id="no errors allowed"),
        pytest.param(["--allow-errors"], 0, id="any allowed"),
        pytest.param(["--allow-errors=2"], 0, id="as many allowed"),
        pytest.param(["--allow-errors", "1"], 1, id="fewer allowed"),
    ],
)
def test_lines_with_an_error(shell: Shell, options: list[str], code: int) -> None:
    shell.write("questions.jsonl", batch_line("a", "nope") + batch_line("b", "nope"))
    ended = shell.perdure("batches", "run", *options, "questions.jsonl", "-o", "answers.jsonl")
    assert ended.code == code, ended.err
    assert [line["status"] for line in shell.answers()] == ["error", "error"]
    error = shell.answers()[0]
    assert list(error) == FIELDS
    assert (error["text"], error["usage"], error["response"]) == (None, None, None)
    assert error["error"]["code"] == "model_not_found"
    assert ("2 of 2 lines have an error, first 'a' (line 1): model_not_found" in ended.err) == (code == 1)


def test_a_live_bar_on_a_terminal(shell: Shell) -> None:
    shell.questions(2)
    leader, follower = os.openpty()
    with (
        open(leader, "rb", buffering=0) as terminal,
        subprocess.Popen(
            [sys.executable, "-m", "perdure", *run_arguments()],
            cwd=shell.folder,
            env=shell.environment(NO_COLOR="1"),
            stdin=subprocess.DEVNULL,
            stderr=follower,
        ) as process,
    ):
        os.close(follower)
        shown = _read_all(terminal.fileno())
        assert process.wait(30) == 0
    assert_no_key("the terminal", shown)
    assert b"\x1b[?25l" in shown, "the cursor is hidden while the bar is drawn over"
    assert b"succeeded" in shown
    assert b"2/2 lines" in shown


def _read_all(descriptor: int) -> bytes:
    """All that is written to a terminal until its last writer closes it."""
    shown: list[bytes] = []
    while True:
        try:
            chunk = os.read(descriptor, 65_536)
        except OSError:  # how Linux says that nobody holds the other end any more
            return b"".join(shown)
        if not chunk:
            return b"".join(shown)
        shown.append(chunk)


def test_a_path_in_another_folder(shell: Shell) -> None:
    shell.questions(1)
    deep = shell.folder / "deep"
    deep.mkdir()
    assert shell.perdure(*run_arguments(output="deep/answers.jsonl")).code == 0
    assert [path.name for path in deep.iterdir()] == ["answers.jsonl"]
