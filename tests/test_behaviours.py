"""The map of required behaviours is complete, true and up to date; so is the map of guarantees."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs/behaviours.md"

_REQUIRED: Final = "B-1..11 B-20..34 C-1..24 D-3..6 F-1..17 N-1..21 N-25 P-1..5 S-1..5 W-1..25 W-45..78"


def _numbers(ranges: str) -> Iterator[str]:
    for part in ranges.split():
        letter, _, span = part.partition("-")
        first, _, last = span.partition("..")
        yield from (f"{letter}-{ordinal}" for ordinal in range(int(first), int(last or first) + 1))


REQUIRED: Final = tuple(_numbers(_REQUIRED))


def _tests_by_number() -> dict[str, list[str]]:
    """Number to the ids of its tests, as the generated page has them (an empty list where a row names none)."""
    found: dict[str, list[str]] = {}
    for number, tests in re.findall(r"^\| ([A-Z]-\d+) \|.*(?<!\\)\| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.M):
        found.setdefault(number, []).extend(re.findall(r"`([^`]+)`", tests))
    return found


def _node(test_id: str) -> str | None:
    """Why no test has this id, or None. Parameters in brackets are not looked at."""
    name, *parts = test_id.partition("[")[0].split("::")
    if not parts:
        return f"{test_id}: names a file and no test in it"
    if not (ROOT / name).is_file():
        return f"{test_id}: there is no {name}"
    return None if tuple(parts) in _functions(name) else f"{test_id}: {name} has no {'::'.join(parts)}"


@functools.cache
def _functions(name: str) -> frozenset[tuple[str, ...]]:
    """The test functions of a file and the methods of its classes, as paths of names; inherited methods too."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    found: set[tuple[str, ...]] = set()
    methods: dict[str, set[str]] = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=function) | ast.AsyncFunctionDef(name=function):
                found.add((function,))
            case ast.ClassDef(name=cls, bases=bases, body=body):
                own = {item.name for item in body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
                for base in bases:
                    own |= methods.get(base.id, set()) if isinstance(base, ast.Name) else set()
                methods[cls] = own
                found |= {(cls, method) for method in own}
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Attribute(attr="TestCase")):
                found.add((target,))  # a hypothesis machine, run through its test case
            case _:
                pass
    return frozenset(found)


def test_every_required_number_has_a_test() -> None:
    found = _tests_by_number()
    assert [number for number in REQUIRED if not found.get(number)] == []


def test_every_named_test_exists() -> None:
    found = _tests_by_number()
    named = sorted({test_id for tests in found.values() for test_id in tests})
    assert [why for why in map(_node, named) if why] == []


def test_every_named_test_carries_its_number() -> None:
    without = [
        f"{number}: {test_id}"
        for number, tests in _tests_by_number().items()
        for test_id in tests
        if not _carries(test_id, number)
    ]
    assert without == []


def _carries(test_id: str, number: str) -> bool:
    """Whether the id has the number as a word of its own: `n14` in `test_n14_window_closes`."""
    word = number.replace("-", "").lower()
    return re.search(rf"(?<![a-z0-9]){word}(?![0-9])", test_id.partition("::")[2].lower()) is not None


@pytest.mark.parametrize(
    ("test_id", "number", "carries"),
    [
        ("tests/a.py::test_n14_window", "N-14", True),
        ("tests/a.py::test_n14_n15_window", "N-15", True),
        ("tests/a.py::test_n141_window", "N-14", False),
        ("tests/a.py::test_column14", "N-14", False),
        ("tests/test_n14.py::test_window", "N-14", False),
        ("tests/a.py::test_window[n14 by time]", "N-14", True),
    ],
)
def test_number_is_found_as_a_word(test_id: str, number: str, carries: bool) -> None:
    assert _carries(test_id, number) is carries


def test_required_numbers_are_all_there() -> None:
    assert len(REQUIRED) == len(set(REQUIRED)) == 11 + 15 + 24 + 4 + 17 + 21 + 1 + 5 + 5 + 25 + 34


def test_page_is_up_to_date() -> None:
    ended = subprocess.run(
        [sys.executable, "tools/write_behaviours.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_every_guarantee_has_tests_that_exist() -> None:
    rows = re.findall(r"^\| (\d) \|.*\| (.*?) ?\|$", (ROOT / "docs/guarantees.md").read_text(encoding="utf-8"), re.M)
    tests = {number: re.findall(r"`(tests/[^`]+)`", cell) for number, cell in rows}
    assert list(tests) == ["1", "2", "3", "4", "5", "6"]
    assert [number for number, named in tests.items() if not named] == []
    assert [why for named in tests.values() for why in map(_node, named) if why] == []
