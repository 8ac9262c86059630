"""The virtual clock of these tests: it jumps whenever all tasks wait."""

from __future__ import annotations

import pytest
from trio.testing import MockClock


@pytest.fixture
def clock() -> MockClock:
    """A clock that jumps; as an argument of a test it is the test's clock."""
    return MockClock(autojump_threshold=0)
