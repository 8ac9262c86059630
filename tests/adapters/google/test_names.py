"""What files are called at Google. Pure."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.google.names import name_of, planted_name

BASE = "https://generativelanguage.googleapis.com/v1beta/files/"


@given(st.text())
def test_a_planted_name_is_one_that_google_takes_and_its_client_reads(filename: str) -> None:
    name = planted_name(filename)
    assert re.fullmatch(r"files/[a-z0-9]{1,40}", name)
    assert planted_name(filename) == name


def test_planted_names_are_told_apart() -> None:
    assert len({planted_name(f"log-file_{n}-0.pdf") for n in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    "given",
    [
        "a-1",
        "files/a-1",
        BASE + "a-1",
        "http://127.0.0.1:8900/google/v1/files/a-1",
        BASE + "a-1:download?alt=media",
        BASE + "a-1?key=x",
    ],
)
def test_f14_a_file_is_known_by_its_uri_its_name_and_its_bare_id(given: str) -> None:
    assert name_of(given) == "files/a-1"
