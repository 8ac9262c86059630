"""Batches that are in the log: listed, shown, cancelled, and their results given out, also while others write it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.adapters.cli.shell import FIELDS, SECRET, Shell, batch_line, read_until, run_arguments, texts
from tests.secrets import assert_no_key

CONTENT = "GET /openai/v1/files/*/content"
LINES = 1_500
"""More than one run of results, so that a part of them can be in the log while the rest is not."""
SHOWN_BYTES = 1_100_000
"""How much of the output the provider shows at first: more than a thousand lines and less than all."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, simulator_url: str) -> Shell:
    """A folder whose log holds two batches, `mine` and then `other`, and the file that `mine` went in as."""
    shell = Shell(tmp_path_factory.mktemp("finished"), simulator_url)
    shell.questions(5)
    for key, tag in [("mine", "team=north"), ("other", "team=south")]:
        ended = shell.perdure(*run_arguments("--key", key, "--tag", tag, output=f"{key}.jsonl"))
        assert ended.code == 0, ended.err
    return shell


@pytest.fixture
def log(finished: Shell, tmp_path: Path) -> Shell:
    """A copy of that folder, to do with as a test likes."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    return Shell(tmp_path, finished.url)


def show(shell: Shell, name: str = "mine") -> dict[str, Any]:
    ended = shell.refused("batches", "show", name)
    assert ended.code == 0, ended.err
    (row,) = ended.rows()
    return row


@contextmanager
def half_read(shell: Shell) -> Generator[subprocess.Popen[bytes]]:
    """A process that writes the log and has `mine` in it, with the first thousand of its results; the others wait until
    the simulator lets go."""
    shell.questions(LINES)
    shell.arm(fault="truncate", route=CONTENT, after_bytes=SHOWN_BYTES, silent=True)
    with shell.started(*run_arguments("--key", "mine", "--poll", "0.1")) as process:
        read_until(process, b"running")
        with shell.started("events", "tail", "--id", "mine", "--type", "ResultsTaken") as tail:
            read_lines(tail, 1)
        yield process


def read_lines(process: subprocess.Popen[bytes], count: int) -> list[dict[str, Any]]:
    """The next lines of a started command's standard output."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count)]
    for line in lines:
        assert_no_key("standard output", line)
    return [msgspec.json.decode(line) for line in lines]


# ---------------------------------------------------------------- list


def test_batches_are_listed_newest_first_and_filtered(log: Shell) -> None:
    rows = log.refused("batches", "list").rows()
    assert [row["key"] for row in rows] == ["other", "mine"], "the file that they went in as is no batch"
    assert rows[1]["progress"] == {"status": "succeeded", "done": 5, "total": 5, "note": ""}
    for option, value, count in [
        ("--tag", "team=north", 1),
        ("--provider", "openai", 2),
        ("--provider", "xai", 0),
        ("--status", "succeeded", 2),
        ("--status", "running", 0),
        ("--limit", "1", 1),
    ]:
        assert len(log.refused("batches", "list", option, value).rows()) == count, (option, value)
    listed = msgspec.json.decode(log.refused("batches", "list", "--format", "json").out)
    assert [row["key"] for row in listed] == ["other", "mine"]
    assert rows[0]["id"] in log.refused("batches", "list", "--format", "table").out


# ---------------------------------------------------------------- show


def test_a_batch_is_shown_with_its_parts(log: Shell) -> None:
    row = show(log)
    assert (row["key"], row["status"], row["provider"], row["model"]) == ("mine", "succeeded", "openai", "gpt")
    assert (row["lines"], row["ok"], row["failed"], row["waiting"], row["overdue"]) == (5, 5, 0, 0, False)
    assert row["cost_usd"] is not None
    (part,) = row["parts"]
    assert part["provider_batch"].startswith("batch_")
    assert (part["phase"], part["provider_status"], part["lines"], part["round"]) == ("settled", "completed", 5, 0)
    assert show(log, row["id"]) == row, "by id and by key"
    table = log.refused("batches", "show", "mine", "--format", "table").out
    assert part["provider_batch"] in table
    assert "batch there" in table


def test_rounds_and_the_batches_of_before_are_shown(shell: Shell) -> None:
    shell.questions(8)
    shell.arm(fault="expire_now", done=0.5)
    ended = shell.perdure(*run_arguments("--resubmit", "1", "--key", "mine", "--poll", "0.1"))
    assert ended.code == 0, ended.err
    assert texts(shell.answers()) == [f"Fjord {number}?" for number in range(8)]
    assert [bought["units"] for bought in shell.bought()] == [8, 4], "only what was left"
    row = show(shell)
    (part,) = row["parts"]
    assert (row["resubmit"], part["round"], len(part["past_batches"])) == (1, 1, 1)
    assert part["provider_batch"] not in part["past_batches"]


def test_without_resubmit_what_expired_stays_an_error(shell: Shell) -> None:
    shell.questions(8)
    shell.arm(fault="expire_now", done=0.5)
    ended = shell.perdure(*run_arguments("--poll", "0.1"))
    assert ended.code == 1
    assert [line["status"] for line in shell.answers()] == ["ok"] * 4 + ["error"] * 4


def test_a_batch_that_waits_for_a_key_says_so(shell: Shell) -> None:
    shell.questions(1)
    shell.arm(fault="status", route="POST /openai/v1/batches", status=401, count=100)
    assert shell.perdure(*run_arguments("--key", "mine")).code == 6
    row = show(shell)
    assert row["status"] == "blocked"
    assert row["note"]
    assert row["parts"][0]["provider_batch"] is None


# ---------------------------------------------------------------- cancel


def test_w17_a_batch_is_cancelled_as_often_as_one_likes(shell: Shell) -> None:
    shell.questions(2)
    shell.arm(fault="stuck", done=0.5)
    detached = shell.perdure("batches", "run", "questions.jsonl", "--model", "gpt", "--key", "mine", "--detach")
    assert detached.code == 0, detached.err
    asked = shell.refused("batches", "cancel", "mine")
    assert asked.code == 2
    assert "--yes" in asked.err
    assert shell.refused("batches", "cancel", "mine", "--dry-run").code == 0
    assert show(shell)["status"] == "running"
    for _ in range(2):
        ended = shell.perdure("batches", "cancel", "mine", "--yes", "--wait")
        assert ended.code == 0, ended.err
        assert (ended.rows()[0]["answer"], ended.rows()[0]["status"]) == ("cancelled", "cancelled")
    results = shell.refused("batches", "results", "mine", "--allow-errors")
    assert results.code == 0
    assert sorted(line["status"] for line in results.rows()) == ["error", "ok"], "what was finished is kept"


def test_cancelling_what_has_ended_is_too_late(log: Shell) -> None:
    ended = log.refused("batches", "cancel", "mine", "--yes")
    assert ended.code == 1
    assert ended.rows()[0]["answer"] == "too_late"


def test_cancelling_waits_for_no_key_that_nobody_has(shell: Shell) -> None:
    shell.questions(1)
    shell.arm(fault="stuck")
    run = ("batches", "run", "questions.jsonl", "--model", "gpt", "--key", "mine", "--poll", "0.1", "--detach")
    assert shell.perdure(*run).code == 0
    ended = shell.perdure("batches", "cancel", "mine", "--yes", "--wait", OPENAI_API_KEY="")
    assert ended.code == 6
    assert "OPENAI_API_KEY" in ended.err


# ---------------------------------------------------------------- results


def test_results_are_the_lines_of_the_run_and_their_cursors(log: Shell) -> None:
    ended = log.refused("batches", "results", "mine")
    assert ended.code == 0, ended.err
    rows = ended.rows()
    assert [list(row) for row in rows] == [[*FIELDS, "cursor"]] * 5
    assert [{name: row[name] for name in FIELDS} for row in rows] == log.answers("mine.jsonl")
    assert log.refused("batches", "results", "mine", "--follow").out == ended.out
    for place, row in enumerate(rows):
        rest = log.refused("batches", "results", "mine", "--after", str(row["cursor"]))
        assert rest.rows() == rows[place + 1 :]
    written = log.refused("batches", "results", "mine", "-o", "again.jsonl", "--order", "input")
    assert (written.code, written.out) == (0, "")
    assert [line["index"] for line in log.answers("again.jsonl")] == list(range(5))
    assert log.leftovers() == []


def test_lines_with_an_error_end_with_1(shell: Shell) -> None:
    shell.write("questions.jsonl", batch_line("a", "nope") + batch_line("b", "nope"))
    shell.perdure("batches", "run", "questions.jsonl", "-o", "answers.jsonl", "--key", "mine")
    ended = shell.refused("batches", "results", "mine")
    assert ended.code == 1
    assert "2 of 2 lines have an error, first 'a' (line 1): model_not_found" in ended.err
    assert shell.refused("batches", "results", "mine", "--allow-errors").code == 0
    assert shell.refused("batches", "results", "mine", "--allow-errors", "1").code == 1
    last = ended.rows()[-1]["cursor"]
    assert shell.refused("batches", "results", "mine", "--after", str(last)).code == 0, "about the lines it gives"


def test_what_is_there_is_given_at_once_and_the_rest_when_it_comes(shell: Shell) -> None:
    with half_read(shell) as writer:
        there = shell.refused("batches", "results", "mine")
        assert there.code == 0, there.err
        assert len(there.rows()) == 1_000
        assert shell.refused("batches", "results", "mine", "--order", "input").code == 0
        last = there.rows()[-1]["cursor"]
        with shell.started("batches", "results", "mine", "--follow", "--after", str(last)) as follower:
            read_until(follower, b"following")
            shell.control("POST", "/_sim/release")
            rest = shell.ended(follower)
        assert shell.ended(writer).code == 0
    assert rest.code == 0, rest.err
    assert len(rest.rows()) == LINES - 1_000
    indexes = [row["index"] for row in [*there.rows(), *rest.rows()]]
    assert sorted(indexes) == list(range(LINES)), "each once"


def test_w1_a_follower_goes_on_when_the_writer_is_killed(shell: Shell) -> None:
    with half_read(shell) as writer, shell.started("batches", "results", "mine", "--follow") as follower:
        first = read_lines(follower, 1_000)
        read_until(follower, b"following")
        shell.control("DELETE", "/_sim/faults")
        writer.kill()
        shell.ended(writer)
        rest = shell.ended(follower)
        shell.control("POST", "/_sim/release")
    assert rest.code == 0, rest.err
    assert sorted(row["index"] for row in [*first, *rest.rows()]) == list(range(LINES)), "each once"
    assert "is succeeded" in rest.err
    assert len(shell.bought()) == 1


def test_w1_results_are_there_after_the_writer_died(shell: Shell) -> None:
    with half_read(shell) as writer:
        writer.kill()
        shell.ended(writer)
    shell.control("DELETE", "/_sim/faults")
    shell.control("POST", "/_sim/release")
    assert len(shell.refused("batches", "results", "mine").rows()) == 1_000
    assert shell.operations()[0][1] == "running", "looking changes nothing"
    ended = shell.perdure("batches", "results", "mine", "--follow", "-o", "answers.jsonl", "--order", "input")
    assert ended.code == 0, ended.err
    assert texts(shell.answers()) == [f"Fjord {number}?" for number in range(LINES)]


@pytest.mark.parametrize("output", ["-", "answers.jsonl"], ids=["standard output", "a file"])
def test_a_follower_that_is_interrupted_says_how_to_go_on(shell: Shell, output: str) -> None:
    with half_read(shell) as writer:
        with shell.started("batches", "results", "mine", "--follow", "-o", output) as follower:
            first = read_lines(follower, 1_000) if output == "-" else []
            read_until(follower, b"following")
            follower.send_signal(signal.SIGINT)
            ended = shell.ended(follower)
        assert ended.code == 130
        assert ("--after" if output == "-" else "no file was written") in ended.err
        assert "Traceback" not in ended.err
        shell.control("POST", "/_sim/release")
        assert shell.ended(writer).code == 0
    assert len(shell.leftovers()) == 0
    if first:
        rest = shell.refused("batches", "results", "mine", "--after", str(first[-1]["cursor"])).rows()
        assert len(first) + len(rest) == LINES


def test_a_reader_that_leaves_ends_the_command_quietly(shell: Shell) -> None:
    with half_read(shell) as writer:
        with shell.started("batches", "results", "mine", "--follow") as follower:
            read_lines(follower, 1_000)
            assert follower.stdout is not None
            follower.stdout.close()
            read_until(follower, b"following")
            shell.control("POST", "/_sim/release")
            assert follower.stderr is not None
            said = follower.stderr.read()
            assert_no_key("standard error", said)
            assert follower.wait(30) == 1
        assert b"Traceback" not in said
        assert shell.ended(writer).code == 0


def test_following_what_waits_for_a_key(shell: Shell) -> None:
    shell.questions(2)
    shell.arm(fault="status", route="POST /openai/v1/batches", status=401, count=100)
    assert shell.perdure(*run_arguments("--key", "mine")).code == 6
    waiting = shell.perdure("batches", "results", "mine", "--follow")
    assert waiting.code == 6
    assert "put that right" in waiting.err
    assert shell.refused("batches", "results", "mine").out == "", "there is nothing yet, and nobody waits"
    shell.control("DELETE", "/_sim/faults")
    ended = shell.perdure("batches", "results", "mine", "--follow")
    assert ended.code == 0, ended.err
    assert len(ended.rows()) == 2


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("verb", [["show"], ["cancel", "--yes"], ["results"], ["results", "--follow"]])
def test_an_id_that_there_is_not_and_one_of_another_kind(log: Shell, verb: list[str]) -> None:
    for name in ["yours", "batch_" + "0" * 26, "batch-" + "9" * 5_000, "ÿ\u0007"]:
        missing = log.refused("batches", *verb, name)
        assert (missing.code, missing.out) == (3, ""), name
        assert "perdure batches list" in missing.err
        assert "Traceback" not in missing.err
    (file,) = log.refused("ops", "list", "--kind", "provider_file", "--limit", "1").rows()
    other = log.refused("batches", *verb, file["id"])
    assert (other.code, other.out) == (3, "")
    assert f"{file['id']} is no batch but a provider_file: 'perdure ops show {file['id']}'" in other.err
    line = log.refused("batches", *verb, log.operations()[0][0] + "-0")
    assert line.code == 3
    assert "is no batch but a request" in line.err
    assert log.refused("batches", *verb, log.operations()[0][0] + "-" + "9" * 20).code == 3


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param(["list", "--status", "runing"], "'runing' is no status", id="status"),
        pytest.param(["list", "--limit", "0"], "0 is not in the range", id="limit"),
        pytest.param(["list", "--tag", "north"], "NAME=VALUE", id="tag"),
        pytest.param(["results", "mine", "--after", "-1"], "is no cursor", id="a negative cursor"),
        pytest.param(["results", "mine", "--after", "9" * 30], "is no cursor", id="a cursor that is none"),
        pytest.param(["results", "mine", "-o", "."], "is a directory", id="a directory"),
        pytest.param(["results", "mine", "-o", "perdure.db"], "is the log", id="the log"),
        pytest.param(["results", "mine", "-o", "no/such/place"], "cannot be written", id="no place"),
        pytest.param(["results"], "Missing argument", id="no id"),
    ],
)
def test_bad_options(log: Shell, arguments: list[str], word: str) -> None:
    ended = log.refused("batches", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert word in ended.err
    assert log.refused("events", "verify").code == 0


@pytest.mark.parametrize("value", ["-1", "101", "many"])
def test_resubmit_has_bounds(shell: Shell, value: str) -> None:
    shell.questions(1)
    ended = shell.refused(*run_arguments("--resubmit", value))
    assert ended.code == 2
    assert value in ended.err
    assert not (shell.folder / "perdure.db").exists()


@pytest.mark.parametrize("verb", [["list"], ["show", "x"], ["cancel", "x", "--yes"], ["results", "x", "--follow"]])
def test_there_is_no_log(shell: Shell, verb: list[str]) -> None:
    ended = shell.refused("batches", *verb)
    assert ended.code == 3
    assert "there is no log at" in ended.err
    assert list(shell.folder.iterdir()) == [], "reading makes nothing"


def test_cancelling_while_another_process_writes(shell: Shell) -> None:
    shell.questions(1)
    shell.arm(fault="stuck")
    with shell.started(*run_arguments("--key", "mine")) as process:
        read_until(process, b"running")
        ended = shell.perdure("batches", "cancel", "mine", "--yes")
        assert ended.code == 4
        assert str(process.pid) in ended.err
        assert "--wait-for-lock" in ended.err
        assert SECRET not in ended.err
