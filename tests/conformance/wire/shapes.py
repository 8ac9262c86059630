"""Shapes of JSON: what an answer's body must be, and nothing beside it.

A shape is a literal (`"file"`, `b"words"`, `None`), a type (`int` takes no `True`), a compiled pattern that a whole
text must match, a function that says whether a value will do, a tuple of shapes of which one must fit, a list of one
shape for arrays of it, or a dict for objects. A name in a dict that ends in `?` may be absent; a field that is not
named is a mismatch, for the simulator claims nothing that is not there, unless the dict has `...`, whose shape all
other fields then have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from types import EllipsisType
from typing import TypeAlias, cast

Shape: TypeAlias = object
"""One of what the module says."""


def unix_time(value: object) -> bool:
    """Whole seconds since 1970, of this century: no milliseconds, no text."""
    return isinstance(value, int) and not isinstance(value, bool) and 1_000_000_000 < value < 4_000_000_000


def rfc3339(value: object) -> bool:
    """A time as text, in UTC, as RFC 3339 has it."""
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", value):
        return False
    return datetime.fromisoformat(value).tzinfo is not None


def said(value: object) -> bool:
    """A text with something in it."""
    return isinstance(value, str) and bool(value)


def apart(seconds: int) -> Callable[[object], bool]:
    """An object that expires so long after it was made; both times are numbers, or both are texts."""

    def fits(value: object) -> bool:
        made, over = (_moment(cast("dict[str, object]", value)[name]) for name in ("created_at", "expires_at"))
        return over - made == seconds

    return fits


def _moment(value: object) -> float:
    if isinstance(value, int | float):
        return value
    return datetime.fromisoformat(str(value)).timestamp()


def positive(value: object) -> bool:
    """A whole number above zero."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def count_text(value: object) -> bool:
    """A number that comes as text."""
    return isinstance(value, str) and value.isdecimal()


def mismatches(shape: Shape, value: object, place: str = "$") -> list[str]:
    """Where `value` has another shape, one sentence for each place; empty when it fits."""
    match shape:
        case dict():
            return _of_object(cast("dict[str | EllipsisType, Shape]", shape), value, place)
        case list():
            if not isinstance(value, list):
                return [f"{place} is no array: {value!r}"]
            (each,), items = cast("list[object]", shape), cast("list[object]", value)
            return [told for n, item in enumerate(items) for told in mismatches(each, item, f"{place}[{n}]")]
        case tuple():
            tried = [mismatches(one, value, place) for one in cast("tuple[object, ...]", shape)]
            return [] if not all(tried) else min(tried, key=len)
        case re.Pattern():
            pattern = cast("re.Pattern[str]", shape)
            fits = isinstance(value, str) and pattern.fullmatch(value) is not None
            return [] if fits else [f"{place} does not match {pattern.pattern}: {value!r}"]
        case type():
            kind = cast("type[object]", shape)
            is_one = isinstance(value, kind) and (kind is not int or not isinstance(value, bool))
            return [] if is_one else [f"{place} is no {kind.__name__}: {value!r}"]
        case str() | bytes() | int() | bool() | None:
            return [] if type(value) is type(shape) and value == shape else [f"{place} is not {shape!r}: {value!r}"]
        case _:
            does_fit = cast("Callable[[object], bool]", shape)
            return [] if does_fit(value) else [f"{place} is no {getattr(shape, '__name__', 'such value')}: {value!r}"]


def _of_object(shape: dict[str | EllipsisType, Shape], value: object, place: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{place} is no object: {value!r}"]
    fields = cast("dict[str, object]", value)
    named = {name.removesuffix("?"): one for name, one in shape.items() if isinstance(name, str)}
    needed = [name for name in shape if isinstance(name, str) and not name.endswith("?")]
    found = [f"{place} lacks {name!r}" for name in needed if name not in fields]
    for name, inner in fields.items():
        if name in named:
            found += mismatches(named[name], inner, f"{place}.{name}")
        elif ... in shape:
            found += mismatches(shape[...], inner, f"{place}.{name}")
        else:
            found.append(f"{place} has {name!r}, which no contract names: {inner!r}")
    return found
