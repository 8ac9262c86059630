"""A command that is interrupted, in any way, and then typed again: it goes on, and buys nothing twice."""

from __future__ import annotations

import signal

import pytest

from tests.adapters.cli.shell import Shell, read_until, run_arguments, texts


@pytest.mark.parametrize("moment", ["submitted", "running"])
def test_killed_in_the_middle_and_run_again(shell: Shell, moment: str) -> None:
    shell.questions(1_200)
    with shell.started(*run_arguments("--poll", "0.1")) as process:
        read_until(process, moment.encode())
        process.kill()
        assert shell.ended(process).code == -signal.SIGKILL
    again = shell.perdure(*run_arguments("--poll", "0.1"))
    assert again.code == 0, again.err
    assert texts(shell.answers()) == [f"Fjord {number}?" for number in range(1_200)]
    assert [bought["units"] for bought in shell.bought()] == [1_200]
    assert len(shell.bought("file")) == 1
    assert len(shell.operations()) == 1
    assert shell.leftovers() == [], "the second run took up the first one's unfinished file"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_says_how_to_come_back(shell: Shell, number: signal.Signals, code: int) -> None:
    shell.questions(4)
    with shell.started(*run_arguments("--poll", "0.1")) as process:
        read_until(process, b"running")
        process.send_signal(number)
        ended = shell.ended(process)
    assert ended.code == code
    ((id_, _),) = shell.operations()
    assert f"{id_} is in the log and goes on at the provider; the same command collects it" in ended.err
    assert "Traceback" not in ended.err
    assert shell.leftovers() == []
    assert not (shell.folder / "answers.jsonl").exists()
    again = shell.perdure(*run_arguments("--poll", "0.1"))
    assert again.code == 0, again.err
    assert len(shell.answers()) == 4
    assert len(shell.bought()) == 1


def test_interrupted_while_it_reads_standard_input(shell: Shell) -> None:
    with shell.started(*run_arguments("--verbose", source="-")) as process:
        read_until(process, b"reading standard input")
        process.send_signal(signal.SIGINT)
        ended = shell.ended(process)
    assert ended.code == 130
    assert "nothing was submitted" in ended.err
    assert shell.operations() == []


def test_an_input_that_changes_under_the_command_is_noticed(shell: Shell) -> None:
    shell.questions(3)
    shell.arm(fault="hold", route="POST /openai/v1/files", act=False)
    with shell.started(*run_arguments()) as process:
        shell.control("GET", "/_sim/held?wait=1&timeout_s=30")
        process.kill()
        shell.ended(process)
    shell.control("POST", "/_sim/release")
    shell.questions(4)
    ended = shell.perdure(*run_arguments())
    assert ended.code == 0, ended.err
    assert len(shell.answers()) == 4
    assert len(shell.operations()) == 2, "another input is another job"
