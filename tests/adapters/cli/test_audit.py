"""`perdure audit`: what was spent, from the command line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.adapters.cli.shell import Shell, run_arguments


@pytest.fixture
def spent(tmp_path: Path, simulator_url: str) -> Shell:
    """A folder whose log holds one finished batch with a tag."""
    shell = Shell(tmp_path, simulator_url)
    shell.questions(5)
    (tmp_path / "perdure.toml").write_text(
        "[prices.gpt]\ninput_per_m_tok = 1.0\noutput_per_m_tok = 2.0\n", encoding="utf-8"
    )
    ended = shell.perdure(*run_arguments("--key", "mine", "--tag", "team=north"))
    assert ended.code == 0, ended.err
    return shell


@pytest.mark.parametrize(
    ("by", "group"), [("provider", "openai"), ("tier", "batch"), ("key", "mine"), ("tag:team", "north"), ("tenant", "")]
)
def test_costs_by_group(spent: Shell, by: str, group: str) -> None:
    ended = spent.refused("audit", "costs", "--by", by)
    (row,) = ended.rows()
    assert (row["group"], row["requests"], row["unpriced"]) == (group, 5, 0)
    assert Decimal(row["amount_usd"]) > 0
    assert f"{row['amount_usd']} USD for 5 answers" in ended.err


def test_costs_of_a_span(spent: Shell) -> None:
    assert spent.refused("audit", "costs", "--until", "2020-01-01").rows() == []
    assert len(spent.refused("audit", "costs", "--since", "2020-01-01").rows()) == 1


def test_c18_what_could_not_be_priced_is_told(tmp_path: Path, simulator_url: str) -> None:
    shell = Shell(tmp_path, simulator_url)
    shell.questions(2)
    assert shell.perdure(*run_arguments()).code == 0
    ended = shell.refused("audit", "costs")
    assert [(row["amount_usd"], row["unpriced"]) for row in ended.rows()] == [("0", 2)]
    assert "2 of them could not be priced: openai/gpt" in ended.err


def test_another_word_is_refused(spent: Shell) -> None:
    ended = spent.perdure("audit", "costs", "--by", "colour")
    assert ended.code == 2
    assert "colour" in ended.err
    assert "tag:NAME" in ended.err
