"""The demonstration: it ends with 0 only if all that it claims held, and says so when something did not."""

from __future__ import annotations

import pytest

from perdure.adapters.cli.stage import Broken, Stage
from perdure.adapters.cli.terminal import Terminal
from tests.adapters.cli.shell import Shell
from tests.secrets import wrong_key


def test_the_demo_holds_what_it_claims(shell: Shell) -> None:
    ended = shell.perdure("demo", "--keep", "kept", PERDURE_DB="elsewhere.db", OPENAI_API_KEY=wrong_key())
    assert ended.code == 0, ended.out + ended.err
    assert "SIGKILL" in ended.out
    assert "two kills, three starts: one batch was bought" in ended.out
    assert "claims held" in ended.out
    assert "\x1b[" not in ended.out
    assert shell.answers("kept/answers.jsonl") == shell.answers("kept/answers-again.jsonl")
    assert len(shell.answers("kept/answers.jsonl")) == 300
    assert [status for _, status in shell.operations("kept/perdure.db")] == ["succeeded"]
    assert shell.refused("events", "verify", "--db", "kept/perdure.db").code == 0
    again = shell.refused("demo", "--keep", "kept")
    assert again.code == 2
    assert "kept is not empty" in again.err


def test_a_claim_that_does_not_hold_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(Terminal({}))
    stage.claim("water is wet", held=True)
    with pytest.raises(Broken, match="the moon is cheese: rock"):
        stage.claim("the moon is cheese", held=False, found="rock")
    shown = capsys.readouterr().out
    assert "water is wet" in shown
    assert stage.claims == 1
