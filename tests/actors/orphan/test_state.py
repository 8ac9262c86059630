"""An orphan's machine: given events, when a command comes, then events; and what holds for any order of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.orphan.effects import Orphans
from perdure.actors.orphan.state import CANCELLED, CODEC, DeleteRemote, OrphanState, orphan_id
from perdure.events.command import Command
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.file import RemoveFile
from perdure.events.ids import new_id, prefix_of
from perdure.events.orphan import (
    DeleteOrphan,
    LeaveOrphan,
    NoteOrphanDeleted,
    OrphanDeleted,
    OrphanFound,
    OrphanLeft,
    RetryOrphan,
)
from perdure.events.sealed import plain

KIND: Final = Orphans.unwired()
WISH: Final = DeleteOrphan(provider="p", credential="c", remote_id="r", filename="n", why="unused")
FOUND: Final = OrphanFound(provider="p", credential="c", remote_id="r", filename="n", why="unused", at=1)
LEFT: Final = OrphanLeft("server_error", plain("503"))


def found(at: int) -> OrphanFound:
    return OrphanFound(provider="p", credential="c", remote_id="r", filename="n", why="unused", at=at)


def folded(events: Sequence[Event]) -> OrphanState:
    state = KIND.initial("orphan_1", "t")
    for event in events:
        state = KIND.evolve(state, event)
    return state


@pytest.mark.parametrize(
    ("before", "command", "then"),
    [
        pytest.param([], WISH, [found(5)], id="found"),
        pytest.param([FOUND], WISH, [], id="found again on its way out"),
        pytest.param([FOUND, OrphanDeleted(2)], WISH, [found(5)], id="there again after it was gone"),
        pytest.param([FOUND, LEFT], WISH, [found(5)], id="left before"),
        pytest.param([FOUND], NoteOrphanDeleted(), [OrphanDeleted(5)], id="gone"),
        pytest.param([FOUND, OrphanDeleted(2)], NoteOrphanDeleted(), [], id="gone already"),
        pytest.param([FOUND, LEFT], NoteOrphanDeleted(), [], id="a late report"),
        pytest.param([FOUND], LeaveOrphan("server_error", "503"), [LEFT], id="not to be deleted"),
        pytest.param([FOUND, LEFT], LeaveOrphan(CANCELLED), [], id="left already"),
        pytest.param([FOUND, LEFT], RetryOrphan(), [found(5)], id="once more"),
        pytest.param([FOUND], RetryOrphan(), [], id="nothing to try again"),
        pytest.param([], RetryOrphan(), [], id="nothing there"),
    ],
)
def test_what_each_command_leads_to(before: list[Event], command: Command, then: list[Event]) -> None:
    assert list(KIND.decide(folded(before), command, 5)) == then


def test_what_is_not_for_an_orphan_is_refused() -> None:
    with pytest.raises(Rejected, match="RemoveFile"):
        KIND.decide(folded([FOUND]), RemoveFile(), 5)


@pytest.mark.parametrize(
    ("events", "status", "terminal"),
    [
        ([FOUND], "running", False),
        ([FOUND, OrphanDeleted(2)], "succeeded", True),
        ([FOUND, LEFT], "failed", True),
        ([FOUND, OrphanLeft(CANCELLED)], "cancelled", True),
        ([FOUND, OrphanLeft(CANCELLED), found(3)], "running", False),
    ],
)
def test_what_lists_show(events: list[Event], status: str, terminal: bool) -> None:
    row = KIND.row(folded(events))
    assert (row.status, row.terminal, row.provider) == (status, terminal, "p")


COMMANDS: Final = [WISH, RetryOrphan(), NoteOrphanDeleted(), LeaveOrphan("x", "y"), LeaveOrphan(CANCELLED)]


@given(st.lists(st.sampled_from(COMMANDS), max_size=12))
def test_any_order_of_commands_leaves_one_deletion_or_an_end(commands: list[Command]) -> None:
    events: list[Event] = []
    for at, command in enumerate(commands, start=1):
        events.extend(KIND.decide(folded(events), command, at))
        state = folded([CODEC.decode(CODEC.encode(event, at).payload) for event in events])
        asked = list(KIND.effects(state))
        assert state.anomalies == 0
        assert KIND.row(state).terminal == (not asked and bool(events))
        assert all(isinstance(effect, DeleteRemote) and not effect.purchase for effect in asked)
        assert len(asked) <= 1
        again = list(KIND.decide(state, command, at + 100))
        assert not again or command is WISH or isinstance(command, RetryOrphan), "a repeated report changes nothing"


def test_ids_are_the_same_in_every_sweep_and_differ_by_what_is_there() -> None:
    actor = new_id("file")
    id = orphan_id(actor, "openai", "file-1")
    assert id == orphan_id(actor, "openai", "file-1")
    assert prefix_of(id) == "orphan"
    assert len({id, orphan_id(actor, "openai", "file-2"), orphan_id(actor, "xai", "file-1")}) == 3
