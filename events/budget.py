"""Budgets: what may be spent, and what happens when it has been.

What was spent is not recorded here again: it follows from the recorded costs. Here stands only that a mark was passed,
once for each mark, whatever restarts come between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from perdure.events.command import Command
from perdure.events.errors import InvalidRequest
from perdure.events.event import Event

BudgetAction = Literal["warn", "stop"]


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be spent on all that fits every field that is set; all of the log where none is.

    `name` is yours, one for each budget. `limit_usd` is in US dollars, over all time. `tag` is `NAME=VALUE`.
    `thresholds` are shares of the limit that are told once each. `action`: at the limit, `warn` only tells, `stop` also
    refuses new operations with `BudgetExceeded`; what has been accepted goes on.
    """

    name: str
    limit_usd: float
    provider: str | None = None
    model: str | None = None
    credential: str | None = None
    tenant: str | None = None
    tag: str | None = None
    thresholds: Sequence[float] = (0.5, 0.8, 1.0)
    action: BudgetAction = "warn"


class Mark(Struct, frozen=True, gc=False):
    """A threshold: its share of the limit, and what that is in ticks of 1e-10 US dollars."""

    share: float
    amount: int


class BudgetThresholdPassed(Event, frozen=True, tag="BudgetThresholdPassed"):
    """Spending reached the mark `amount`, `share` of the `limit`; `spent` is what it came to. Amounts are in ticks."""

    budget: str
    share: float
    amount: int
    limit: int
    spent: int


class BudgetUsedUp(Event, frozen=True, tag="BudgetUsedUp"):
    """Spending reached the limit, once for each limit; `action` is what was to be done about it."""

    budget: str
    limit: int
    spent: int
    action: str


class NoteSpent(Command, frozen=True):
    """Says what was spent so far in ticks. A repeat, or less than was said before, changes nothing."""

    budget: str
    limit: int
    spent: int
    marks: Sequence[Mark]
    action: BudgetAction


BUDGET_EVENTS = (BudgetThresholdPassed, BudgetUsedUp)


def check_budgets(budgets: Sequence[Budget], *, field: str = "budgets") -> None:
    """Raises `InvalidRequest` for budgets that cannot be kept."""
    names = [budget.name for budget in budgets]
    for budget in budgets:
        if not budget.name or names.count(budget.name) > 1:
            raise InvalidRequest(f"{field}: each budget needs a name of its own", field=field, value=budget.name)
        if not budget.limit_usd > 0:
            raise InvalidRequest(
                f"{field}: {budget.name} has a limit of {budget.limit_usd} USD: give one above 0",
                field=field,
                value=budget.limit_usd,
            )
        if not all(share > 0 for share in budget.thresholds):
            raise InvalidRequest(f"{field}: the thresholds of {budget.name} are shares above 0", field=field)
        if budget.tag is not None and not budget.tag.partition("=")[1]:
            raise InvalidRequest(
                f"{field}: the tag of {budget.name} is {budget.tag!r}: give NAME=VALUE", field=field, value=budget.tag
            )
