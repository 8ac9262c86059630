"""A live request dies at every crash point and goes on: what is paid for twice is the policy's doing, and on record.

A request cannot be looked up, so a death between its intent and its answer leaves a doubt. With "resubmit" the account
then shows two purchases where the first one arrived; with "fail" never more than one, and the request rests uncertain.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.events.purchase import OnUncertain
from perdure.store.crash_points import CRASH_POINTS
from tests.faults.request_case import POINTS, CancelledRequest, ExpiredRequest, LargeRequest, OneRequest
from tests.faults.sweep import Death, live_through, sweep

POLICIES: list[OnUncertain] = ["resubmit", "fail"]


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Path]:
    """Where lives are lived: in memory where there is such a folder, for no power is cut here."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as place:
        yield Path(place) / "lives"


def test_w23_every_death_of_a_request_that_is_resubmitted(lives: Path) -> None:
    met: set[tuple[str, int]] = set()
    swept = sweep(lambda: OneRequest("resubmit", met), lives, expected=POINTS)
    assert swept.names == POINTS
    assert met == {("succeeded", 1), ("succeeded", 2)}, "a doubt may cost a second purchase, and never a third"


def test_w23_every_death_of_a_request_that_is_not(lives: Path) -> None:
    met: set[tuple[str, int]] = set()
    swept = sweep(lambda: OneRequest("fail", met), lives, expected=POINTS)
    assert swept.names == POINTS
    assert met == {("succeeded", 1), ("uncertain", 1), ("uncertain", 0)}


def test_every_death_of_a_request_with_large_bodies(lives: Path) -> None:
    swept = sweep(lambda: LargeRequest("resubmit", set()), lives, expected=CRASH_POINTS)
    assert swept.names == CRASH_POINTS


@pytest.mark.parametrize("policy", POLICIES)
def test_every_death_of_a_request_that_is_cancelled(lives: Path, policy: OnUncertain) -> None:
    met: set[tuple[str, int]] = set()
    sweep(lambda: CancelledRequest(policy, met), lives, expected=POINTS)
    assert met == {("cancelled", 0), ("cancelled", 1)}


@pytest.mark.parametrize("policy", POLICIES)
def test_every_death_of_a_request_that_expires(lives: Path, policy: OnUncertain) -> None:
    met: set[tuple[str, int]] = set()
    sweep(lambda: ExpiredRequest(policy, met), lives, expected=POINTS)
    assert {status for status, _ in met} == {"expired"} | ({"uncertain"} if policy == "fail" else set())


@pytest.mark.sweep
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("then", sorted(POINTS))
def test_every_death_followed_by_a_second_one(lives: Path, then: str, policy: OnUncertain) -> None:
    kind = "" if then == "commit.after" or then.startswith(("send", "answer")) else "request"

    class Twice(OneRequest):
        def judge(self, status: str, sold: int, again: int, lost: int) -> None:
            if self.on_uncertain == "resubmit":
                assert (status, lost) == ("succeeded", 0)
                assert sold <= 3
            else:
                super().judge(status, sold, again, lost)

    sweep(lambda: Twice(policy, set()), lives, expected=POINTS, then=[Death(then, kind, 1)])


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(20))
def test_seeds(lives: Path, seed: int) -> None:
    sweep(lambda: OneRequest("resubmit", set()), lives, expected=POINTS, seed=seed * 1_000)


class Careless(OneRequest):
    """One that asks again although it is judged as one that must not."""

    def judge(self, status: str, sold: int, again: int, lost: int) -> None:
        self.on_uncertain = "fail"
        super().judge(status, sold, again, lost)


def test_a_sweep_sees_a_purchase_that_the_policy_forbids(lives: Path) -> None:
    with pytest.RaisesGroup(AssertionError, flatten_subgroups=True):
        live_through(lambda: Careless("resubmit", set()), lives, [Death("report.before", "request", 2)])
