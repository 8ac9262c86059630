"""Shapes tell what fits from what does not: a contract that could not fail would be none."""

from __future__ import annotations

import re

import pytest

from tests.conformance.wire.shapes import Shape, count_text, mismatches, rfc3339, said, unix_time

THING: dict[str, Shape] = {"id": re.compile("x_.+"), "at": unix_time, "note?": (str, None)}


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (THING, {"id": "x_1", "at": 1_795_000_000}),
        (THING, {"id": "x_1", "at": 1_795_000_000, "note": None}),
        ([THING], []),
        (("a", "b"), "b"),
        ({...: str}, {"any": "thing"}),
        (0, 0),
        (None, None),
        (rfc3339, "2026-11-20T16:00:00Z"),
        (rfc3339, "2026-11-20T16:00:00.123456Z"),
        (count_text, "12"),
        (said, "x"),
    ],
)
def test_what_fits(shape: Shape, value: object) -> None:
    assert mismatches(shape, value) == []


@pytest.mark.parametrize(
    ("shape", "value", "place"),
    [
        (THING, {"id": "y_1", "at": 1_795_000_000}, "$.id"),
        (THING, {"id": "x_1", "at": "1795000000"}, "$.at"),
        (THING, {"id": "x_1", "at": 1_795_000_000_000}, "$.at"),
        (THING, {"id": "x_1", "at": True}, "$.at"),
        (THING, {"id": "x_1"}, "$ lacks 'at'"),
        (THING, {"id": "x_1", "at": 1_795_000_000, "more": 1}, "$ has 'more'"),
        (THING, [], "$ is no object"),
        ([THING], {}, "$ is no array"),
        ([str], ["a", 1], "$[1]"),
        (("a", "b"), "c", "$"),
        ({...: str}, {"any": 1}, "$.any"),
        (int, True, "$"),
        (0, False, "$"),
        (0, "", "$"),
        (False, 0, "$"),
        (None, "", "$"),
        (rfc3339, "2026-11-20T16:00:00", "$"),
        (rfc3339, "2026-11-20 16:00:00Z", "$"),
        (rfc3339, 1_795_000_000, "$"),
        (count_text, 12, "$"),
        (said, "", "$"),
    ],
)
def test_what_does_not_fit_is_named(shape: Shape, value: object, place: str) -> None:
    (complaint,) = mismatches(shape, value)
    assert complaint.startswith(place)
