"""No key may be found in anything that a test made: after each test its files and its output are searched.

A pytest plugin, loaded by `tests/conftest.py`. A test that leaks fails, and the place is named; the key is not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.secrets import assert_no_key_below, holds_key

_searched = pytest.StashKey[set[Path]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begins the list of the folders that have been searched, and has every word captured that is logged."""
    config.stash[_searched] = set()
    config.option.log_level = config.option.log_level or "DEBUG"


@pytest.fixture(autouse=True)
def search_files(request: pytest.FixtureRequest) -> Iterator[None]:
    """Searches what lies below the test's `tmp_path` when everything else of the test has been taken down."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    folder: Path = request.getfixturevalue("tmp_path")
    yield
    request.config.stash[_searched].add(folder)
    assert_no_key_below(folder)


@pytest.fixture(scope="session", autouse=True)
def search_shared_files(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[None]:
    """Searches at the end what several tests made together, and what processes that were killed left behind.

    So that the latter is found, and is not left lying about, temporary directories are made in this run's own folder.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        patch.setattr(tempfile, "tempdir", None)
        yield
    searched = pytestconfig.stash[_searched]
    assert_no_key_below(tmp_path_factory.getbasetemp(), apart_from=searched)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Searches what was written to standard output and standard error, by child processes too, and what was logged."""
    report = yield
    leaks = [name for name, text in report.sections if name.endswith(call.when) and holds_key(text)]
    report.sections = [
        (name, "withheld: it holds a key" if holds_key(text) else text) for name, text in report.sections
    ]
    if leaks:
        report.outcome = "failed"
        report.longrepr = f"a key was found in {', '.join(name.lower() for name in leaks)}"
    return report
