"""What every test shares: which tests this machine can run.

A test that needs more than Python carries a marker. Where the part is missing the test is deselected and the run says
so in plain words; with `CI=true` a missing part ends the run instead, so that a green build has run everything.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["tests.key_search"]


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def _has_browser() -> bool:
    return any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))


def _has_postgres() -> bool:
    return shutil.which("initdb") is not None or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


_PARTS: dict[str, tuple[Callable[[], bool], str]] = {
    "compiler": (_has_compiler, "a C compiler (cc, gcc or clang)"),
    "browser": (_has_browser, "chromium"),
    "postgres": (_has_postgres, "a PostgreSQL server (initdb)"),
}
"""Marker: how to tell whether the part is here, and what to call it."""

_left_out = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begins the list of what was left out."""
    config.stash[_left_out] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what this machine cannot run. Raises `pytest.UsageError` in CI, where nothing may be left out."""
    said = config.stash[_left_out]
    for marker, (is_here, name) in _PARTS.items():
        concerned = [item for item in items if item.get_closest_marker(marker)]
        if not concerned or is_here():
            continue
        if os.environ.get("CI") == "true":
            raise pytest.UsageError(f"{len(concerned)} tests need {name}, which CI must install: see .ci/run")
        said.append(f"not run: {len(concerned)} tests that need {name}, which this machine lacks")
        items[:] = [item for item in items if item not in concerned]
        config.hook.pytest_deselected(items=concerned)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """The plain lines about what was left out, above the first test."""
    return config.stash[_left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The same lines again at the end, where they are read."""
    for line in config.stash[_left_out]:
        terminalreporter.write_line(line)
