"""Every key that a test uses comes from here, and may be found in nothing that a test made.

All keys of a run hold one random mark, so that whoever searches for the mark searches for every key, whichever test or
process used it. `tests/key_search.py` searches files and output after each test; what a test reads itself (the output
of a process, what a simulator tells) it searches with `assert_no_key`.
"""

from __future__ import annotations

import base64
import mmap
import os
import secrets
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

MARK: Final = os.environ.setdefault("MARK_OF_TEST_KEYS", secrets.token_hex(12))
"""Stands in every key; processes that tests start have it from the environment. No encoding of URLs changes it."""


def unique_key(prefix: str = "sk-test-") -> str:
    """A key that no other test has and that looks like a provider's."""
    return f"{prefix}{MARK}{secrets.token_hex(12)}"


def wrong_key() -> str:
    """A key that no other test has and that the simulator refuses."""
    return f"{unique_key()}-bad-key"


def _forms(mark: bytes) -> tuple[bytes, ...]:
    """The mark as it is, in hexadecimal, with every character percent-encoded, and in base64 wherever it may begin."""
    encoded = (base64.b64encode(bytes(before) + mark)[4:-4] for before in range(3))
    return (mark, mark.hex().encode(), b"%" + mark.hex("%").encode(), *encoded)


_FORMS: Final = _forms(MARK.encode())


def holds_key(content: str | bytes | mmap.mmap) -> bool:
    """Whether a key stands in there, as it is or encoded."""
    searched = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    return any(searched.find(form) >= 0 for form in _FORMS)


def assert_no_key(place: str, content: str | bytes) -> None:
    """Raises AssertionError that names the place and not the key."""
    __tracebackhide__ = True  # pytest shows arguments
    if holds_key(content):
        raise AssertionError(f"a key was found in {place}")


def assert_no_key_below(folder: Path, *, apart_from: Collection[Path] = ()) -> None:
    """Searches all files below `folder` and their names, but for the folders `apart_from`.

    Raises AssertionError that names the files and not the key.
    """
    __tracebackhide__ = True
    found = sorted(str(path).replace(MARK, "[mark]") for path in _files(folder, apart_from) if _file_holds_key(path))
    if found:
        raise AssertionError(f"a key was found in {', '.join(found)}")


def _files(folder: Path, apart_from: Collection[Path]) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if here / name not in apart_from]
        yield from (here / name for name in names)


def _file_holds_key(path: Path) -> bool:
    if holds_key(str(path)):
        return True
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return holds_key(content)
