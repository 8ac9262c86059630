"""Watching what is spent: a running total for each budget, and the refusal of new work once one is used up.

A total is never stored: it is what the recorded costs add up to. It is added up once at the start; from then on only
costs behind the last position are read, woken by the commits that hold some. The invariant: a submission is judged on
every cost that was committed before it, and a mark that a crash kept from being told is told after the restart.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import trio
from msgspec import Struct

from perdure.actors.budget.state import KIND, budget_id
from perdure.actors.runtime.runtime import Runtime
from perdure.events.budget import Budget, Mark, NoteSpent, check_budgets
from perdure.events.cost import dollars, ticks_of
from perdure.events.errors import BudgetExceeded, PerdureError
from perdure.store.records import Append, Appended
from perdure.store.sqlite.costs import Scope, spent_in
from perdure.store.sqlite.log import SqliteLog

logger = logging.getLogger("perdure")

RETRY_S: Final = 1.0
"""How long a mark that could not be recorded waits before that is tried again."""


class Spending(Struct, frozen=True, kw_only=True):
    """What somebody is about to spend on. `model` is "" where it is not known yet."""

    provider: str
    model: str
    credential: str
    tenant: str
    tags: Mapping[str, str]


class _Watched(Struct):
    """One budget with its running total in ticks, and the position that this takes in."""

    budget: Budget
    actor: str
    scope: Scope
    limit: int
    marks: Sequence[Mark]
    spent: int = 0
    after: int = 0
    told: int = 0
    """The total as the budget's actor last heard it; marks up to it are recorded."""


class BudgetWatch:
    """Watches the budgets of a log that this process writes. `run` is its task."""

    def __init__(self, budgets: Sequence[Budget], *, log: SqliteLog, runtime: Runtime) -> None:
        check_budgets(budgets)
        self._log = log
        self._runtime = runtime
        self._watched = [_watched(budget, log.log_id) for budget in budgets]
        self._behind = bool(budgets)
        self._wake = trio.Event()
        self._level = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Adds up, then follows the log until cancelled. Started once all that was spent before is taken in."""
        if not self._watched:
            task_status.started()
            return
        with self._log.on_commit(self._committed):
            await self._add_up()
            task_status.started()
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                try:
                    await self._add_up()
                except PerdureError as error:
                    logger.warning("budgets could not be brought up to date: %s; trying again", error)
                    await trio.sleep(RETRY_S)
                    self._wake.set()

    async def refusal(self, spending: Spending) -> BudgetExceeded | None:
        """Why nothing more may be spent on this, None if it may. Waits until the totals take in every commit so far."""
        while self._behind and any(_fits(one.budget, spending) for one in self._watched):
            await self._level.wait()
        for one in self._watched:
            if one.budget.action == "stop" and one.spent >= one.limit and _fits(one.budget, spending):
                spent, limit = dollars(one.spent), dollars(one.limit)
                return BudgetExceeded(
                    f"budget {one.budget.name!r} is used up: {spent:f} of {limit:f} USD are spent; raise its limit_usd "
                    "or take it out of the configuration",
                    budget=one.budget.name,
                    limit_usd=limit,
                    spent_usd=spent,
                )
        return None

    # ------------------------------------------------------------------ inside

    def _committed(self, written: Sequence[tuple[Append, Appended]]) -> None:
        """Told of each commit before anybody else hears of it."""
        if any(append.costs for append, _ in written):
            self._behind = True
            self._wake.set()

    async def _add_up(self) -> None:
        self._behind, level = False, self._level
        try:
            for one in self._watched:
                amount, one.after = await self._log.read(partial(spent_in, scope=one.scope, after=one.after))
                one.spent += amount
            for one in self._watched:
                await self._tell(one)
        except BaseException:
            self._behind = True
            raise
        if not self._behind:
            self._level = trio.Event()
            level.set()

    async def _tell(self, one: _Watched) -> None:
        """Has the marks recorded that spending has passed since it was last told."""
        if not any(one.told < amount <= one.spent for amount in (one.limit, *(mark.amount for mark in one.marks))):
            return
        note = NoteSpent(
            budget=one.budget.name, limit=one.limit, spent=one.spent, marks=one.marks, action=one.budget.action
        )
        told = await self._runtime.tell(KIND, one.actor, note, tenant="")
        one.told = one.spent
        if told.changed:
            logger.warning(
                "budget %r: %s of %s USD are spent",
                one.budget.name,
                f"{dollars(one.spent):f}",
                f"{dollars(one.limit):f}",
            )


def _watched(budget: Budget, log_id: str) -> _Watched:
    limit = ticks_of(budget.limit_usd)
    name, given, value = (budget.tag or "").partition("=")
    return _Watched(
        budget=budget,
        actor=budget_id(log_id, budget.name),
        scope=Scope(
            provider=budget.provider,
            model=budget.model,
            credential=budget.credential,
            tenant=budget.tenant,
            tag=(name, value) if given else None,
        ),
        limit=limit,
        marks=[Mark(share, round(limit * share)) for share in sorted(budget.thresholds)],
    )


def _fits(budget: Budget, spending: Spending) -> bool:
    """Whether what is about to be spent would count for a budget; a model that is not known yet does."""
    name, given, value = (budget.tag or "").partition("=")
    return (
        budget.provider in (None, spending.provider)
        and (budget.model is None or spending.model in ("", budget.model))
        and budget.credential in (None, spending.credential)
        and budget.tenant in (None, spending.tenant)
        and (not given or spending.tags.get(name) == value)
    )
