"""What a file is: its bytes first, then what it is declared as, then its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.sources.media_type import (
    DEFAULT,
    HEAD_BYTES,
    MediaType,
    accepted,
    extension_for,
    parse_media_type,
    recognise,
)
from tests.actors.sources.samples import PDF, PNG, SAMPLES, ZIP

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize("mime_type", SAMPLES)
def test_w57_what_is_not_declared_is_told_by_the_bytes(mime_type: str) -> None:
    assert recognise(SAMPLES[mime_type]) == MediaType(mime_type)
    assert recognise(SAMPLES[mime_type], declared="") == MediaType(mime_type)
    assert recognise(SAMPLES[mime_type], declared=DEFAULT) == MediaType(mime_type)


@pytest.mark.parametrize("mime_type", SAMPLES)
def test_a_right_declaration_stays(mime_type: str) -> None:
    assert recognise(SAMPLES[mime_type], declared=mime_type) == MediaType(mime_type)


@pytest.mark.parametrize(
    ("head", "declared", "mime_type"),
    [
        (PNG, "image/jpeg", "image/png"),
        (PNG, "text/plain", "image/png"),
        (PDF, "image/png", "application/pdf"),
        (SAMPLES["audio/mpeg"], "audio/wav", "audio/mpeg"),
        (SAMPLES["image/webp"], "image/png", "image/webp"),
        (ZIP, "image/png", "application/zip"),
        (b"just words", "image/png", "text/plain"),
        (b"just words", "no media type", "text/plain"),
        (bytes(100), "image/gif", DEFAULT),
    ],
)
def test_a_declaration_that_the_bytes_contradict_is_corrected_and_noted(
    head: bytes, declared: str, mime_type: str
) -> None:
    assert recognise(head, declared=declared) == MediaType(mime_type, corrected_from=declared)


@pytest.mark.parametrize(
    ("head", "declared"),
    [
        (ZIP, DOCX),
        (ZIP, "application/epub+zip"),
        (SAMPLES["video/mp4"], "audio/mp4"),
        (SAMPLES["image/heif"], "image/heic"),
        (SAMPLES["audio/ogg"], "audio/opus"),
        (SAMPLES["video/webm"], "audio/webm"),
        (b'{"a": 1}', "application/json"),
        (b"a,b\n1,2", "text/csv"),
        (b"<svg xmlns='x'/>", "image/svg+xml"),
        (b"# A title", "text/markdown"),
        (bytes(100), "application/x-our-own"),
        (b"\xff\xfb\x90\x64" + bytes(40), "audio/mpeg"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_declaration_that_the_bytes_allow_stays(head: bytes, declared: str) -> None:
    assert recognise(head, declared=declared) == MediaType(declared)


@pytest.mark.parametrize(
    ("declared", "mime_type", "charset"),
    [
        ("text/plain; charset=UTF-8", "text/plain", "utf-8"),
        ('Text/CSV;header=present;charset="iso-8859-1"', "text/csv", "iso-8859-1"),
        ("text/html;charset=utf-8; x=y", "text/html", "utf-8"),
    ],
)
def test_f1_a_charset_behind_the_type_is_kept_apart(declared: str, mime_type: str, charset: str) -> None:
    assert recognise(b"a,b\n", declared=declared) == MediaType(mime_type, charset)


@pytest.mark.parametrize(
    ("declared", "usual"), [("image/jpg", "image/jpeg"), ("audio/x-wav", "audio/wav"), ("IMAGE/PNG", "image/png")]
)
def test_other_spellings_become_the_usual_one_without_a_note(declared: str, usual: str) -> None:
    assert recognise(SAMPLES[usual], declared=declared) == MediaType(usual)


@pytest.mark.parametrize(
    ("filename", "mime_type"),
    [
        ("a.csv", "text/csv"),
        ("a.md", "text/markdown"),
        ("a.json", "application/json"),
        ("a.txt.gz", "text/plain"),
        ("a.PNG", "text/plain"),
        ("a.nothing", "text/plain"),
        ("", "text/plain"),
    ],
)
def test_the_name_tells_where_nothing_is_declared_and_the_bytes_do_not_object(filename: str, mime_type: str) -> None:
    assert recognise(b"some, words\n", filename=filename) == MediaType(mime_type)


def test_the_bytes_win_over_the_name_without_a_note() -> None:
    assert recognise(PNG, filename="a.pdf") == MediaType("image/png")
    assert recognise(ZIP, filename="a.docx") == MediaType(DOCX)


def test_text_may_be_cut_in_a_character_and_may_be_utf_16() -> None:
    assert recognise(("é" * HEAD_BYTES).encode()[1:][: HEAD_BYTES - 1] + b"\xc3").mime_type == DEFAULT
    assert recognise(("xé" + "é" * HEAD_BYTES).encode()[:HEAD_BYTES]).mime_type == "text/plain"
    assert recognise("fjord".encode("utf-16")).mime_type == "text/plain"


@given(st.binary(min_size=1, max_size=300), st.none() | st.text(max_size=40), st.text(max_size=20))
def test_whatever_comes_has_a_type_that_can_be_sent(head: bytes, declared: str | None, filename: str) -> None:
    found = recognise(head, declared=declared, filename=filename)
    assert parse_media_type(found.mime_type) == (found.mime_type, "")
    assert recognise(head, declared=found.mime_type) == MediaType(found.mime_type)


@pytest.mark.parametrize(
    ("mime_type", "patterns", "admitted"),
    [
        ("application/pdf", ["application/pdf"], True),
        ("application/json", ["application/pdf"], False),
        ("application/json", ["application/*"], True),
        ("image/png", ["image/*"], True),
        ("image/png", ["application/*", "text/plain"], False),
        ("image/jpg", ["image/jpeg"], True),
        ("image/jpeg", ["image/jpg"], True),
        ("Text/Plain; charset=utf-8", ["text/plain"], True),
        ("video/mp4", ["*/*"], True),
        ("imagex/png", ["image/*"], False),
        ("image/png", [], False),
        ("image/png", ["image"], False),
    ],
)
def test_w50_a_type_is_admitted_exactly_or_by_a_declared_wildcard(
    mime_type: str, patterns: list[str], admitted: bool
) -> None:
    assert accepted(mime_type, patterns) is admitted


@pytest.mark.parametrize(
    ("mime_type", "extension"),
    [("application/pdf", ".pdf"), ("image/png", ".png"), ("audio/wav", ".wav"), ("x/y", ""), ("video/mp4", ".mp4")],
)
def test_usual_extensions(mime_type: str, extension: str) -> None:
    assert extension_for(mime_type) == extension
