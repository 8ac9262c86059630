"""A budget, the pure part: which marks were passed. It asks for nothing.

The invariant: a mark of some amount is passed once, and a limit used up once; another limit has other amounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from msgspec import Struct, field

from perdure.actors.kind import Row
from perdure.events.budget import BUDGET_EVENTS, BudgetThresholdPassed, BudgetUsedUp, NoteSpent
from perdure.events.codec import Codec
from perdure.events.command import Command
from perdure.events.cost import dollars
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.ids import derived_id
from perdure.events.supervision import SUPERVISION_EVENTS

KIND: Final = "budget"
FOLD: Final = 1

CODEC: Final[Codec[Event]] = Codec(KIND, (*BUDGET_EVENTS, *SUPERVISION_EVENTS))


class BudgetState(Struct):
    """`passed` and `used_up` are amounts in ticks; `spent` is what it had come to when the last mark was passed."""

    actor: str
    tenant: str
    name: str = ""
    limit: int = 0
    spent: int = 0
    action: str = ""
    passed: list[int] = field(default_factory=list[int])
    used_up: list[int] = field(default_factory=list[int])
    anomalies: int = 0


def budget_id(log_id: str, name: str) -> str:
    """The id of a log's budget with this name."""
    return derived_id("budget", log_id, int.from_bytes(sha256(name.encode()).digest()[:8], "big"))


def initial(actor: str, tenant: str) -> BudgetState:
    """The state before any mark was passed."""
    return BudgetState(actor=actor, tenant=tenant)


def decide(state: BudgetState, command: Command, at: int) -> Sequence[Event]:
    """Which marks were passed that had not been. Raises `Rejected` for anything but `NoteSpent`."""
    if not isinstance(command, NoteSpent):
        raise Rejected(f"a budget does nothing at {type(command).__name__}", field="command")
    spent, limit, budget = command.spent, command.limit, command.budget
    events: list[Event] = []
    new = {mark.amount: mark for mark in command.marks if mark.amount <= spent and mark.amount not in state.passed}
    for amount, mark in sorted(new.items()):
        events.append(BudgetThresholdPassed(budget=budget, share=mark.share, amount=amount, limit=limit, spent=spent))
    if spent >= limit and limit not in state.used_up:
        events.append(BudgetUsedUp(budget=budget, limit=limit, spent=spent, action=command.action))
    return events


def evolve(state: BudgetState, event: Event) -> BudgetState:
    """Folds one event; never raises."""
    match event:
        case BudgetThresholdPassed():
            state.passed.append(event.amount)
        case BudgetUsedUp():
            state.used_up.append(event.limit)
            state.action = event.action
        case _:
            state.anomalies += 1
            return state
    state.name, state.limit, state.spent = event.budget, event.limit, event.spent
    return state


def row(state: BudgetState) -> Row:
    """What lists show: `blocked` once a limit that stops is used up."""
    stopped = state.limit in state.used_up and state.action == "stop"
    return Row(
        status="blocked" if stopped else "running",
        terminal=True,
        progress=f"{len(state.passed)}/{len(state.passed)} {dollars(state.spent):f} of {dollars(state.limit):f} USD",
    )
