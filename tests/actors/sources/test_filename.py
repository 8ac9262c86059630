"""File names come as anything and leave as something that every system takes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.sources.filename import SAFE_BYTES, FileName, name_file, safe_filename


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("a/b/report.pdf", "report.pdf"),
        ("C:\\Users\\report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("folder/", "folder"),
        ("a\0b\r\nc\x1b.txt", "abc.txt"),
        ('say "hi".txt', "say _hi_.txt"),
        ("\u202egnp.exe", "gnp.exe"),
        ("Fjorde\u0301.txt", "Fjordé.txt"),
        ("🏔️ fjord.png", "🏔️ fjord.png"),
        ("海.png", "海.png"),
        (".profile", ".profile"),
        ("a. . ", "a"),
        (".", "file"),
        ("..", "file"),
        ("/", "file"),
        ("\n", "file"),
        ("x" * 5_000 + ".pdf", "x" * 251 + ".pdf"),
        ("é" * 3_000 + ".pdf", "é" * 125 + ".pdf"),
        ("x" * 5_000, "x" * 255),
        ("x." + "y" * 5_000, "x." + "y" * 253),
    ],
    ids=lambda name: ascii(name)[:40],
)
def test_names_become_safe(name: str, safe: str) -> None:
    assert safe_filename(name) == safe


@given(st.text() | st.text(min_size=200, max_size=400) | st.from_regex(r"[ ./\\a]{0,300}", fullmatch=True))
def test_every_name_becomes_safe_and_stays_so(name: str) -> None:
    safe = safe_filename(name)
    assert 1 <= len(safe.encode()) <= SAFE_BYTES
    assert safe not in (".", "..")
    assert not set(safe) & set('/\\<>:"|?*')
    assert not [character for character in safe if unicodedata.category(character) in ("Cc", "Cf", "Cs")]
    assert safe_filename(safe) == safe


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_can_be_written_down(name: str) -> None:
    shown = name_file(name).shown
    assert 1 <= len(shown) <= 1_000
    shown.encode()


def test_the_name_as_it_came_is_kept_for_people() -> None:
    assert name_file("a/b\n.pdf") == FileName("a/b\n.pdf", "b.pdf")
    assert name_file("x" * 5_000).shown == "x" * 999 + "…"
    assert name_file("\udce9.txt") == FileName("\ufffd.txt", ".txt")


@pytest.mark.parametrize("name", [None, "", "  "])
def test_without_a_name_it_is_a_file_with_the_extension_of_its_type(name: str | None) -> None:
    assert name_file(name, extension=".pdf") == FileName("file.pdf", "file.pdf")
