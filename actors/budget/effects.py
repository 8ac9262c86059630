"""The kind of budgets: it folds and judges, and has nothing to do outside."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.actors.budget import state as pure
from perdure.actors.budget.state import CODEC, FOLD, KIND, BudgetState
from perdure.actors.kind import NO_INDEX, Again, Effect, Index, Port, Row
from perdure.actors.views import Handle, View
from perdure.events.command import Command
from perdure.events.errors import Rejected
from perdure.events.event import Event


class Budgets:
    """The kind of budgets; see `perdure.actors.kind.Kind`."""

    name = KIND
    fold = FOLD
    codec = CODEC

    def initial(self, actor: str, tenant: str) -> BudgetState:
        """See `Kind`."""
        return pure.initial(actor, tenant)

    def decide(self, state: BudgetState, command: Command, at: int) -> Sequence[Event]:
        """See `Kind`."""
        return pure.decide(state, command, at)

    def evolve(self, state: BudgetState, event: Event) -> BudgetState:
        """See `Kind`."""
        return pure.evolve(state, event)

    def effects(self, state: BudgetState) -> Sequence[Effect]:
        """See `Kind`: there are none."""
        return ()

    def row(self, state: BudgetState) -> Row:
        """See `Kind`."""
        return pure.row(state)

    def index(self, event: Event) -> Index:
        """See `Kind`."""
        return NO_INDEX

    def weight(self, state: BudgetState) -> int:
        """See `Kind`."""
        return 600 + 40 * len(state.passed)

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        """See `Kind`: there is nothing to perform."""
        raise TypeError(f"a budget has no effect of type {type(effect).__name__}")


class BudgetView(View[BudgetState]):
    """A budget of which a mark was passed."""

    async def _value(self) -> BudgetState:
        state: BudgetState = await self.state()
        return state


class BudgetHandle(BudgetView, Handle[BudgetState]):
    """A budget of a running service: it changes with the configuration, not by commands."""

    def _cancel_command(self) -> Command:
        raise Rejected("a budget cannot be cancelled: take it out of the configuration", field="budget")

    def _resubmit_command(self) -> Command:
        raise Rejected("a budget cannot be submitted again: raise its limit in the configuration", field="budget")

    def _resume_command(self) -> Command:
        raise Rejected("a budget cannot be resumed: raise its limit in the configuration", field="budget")
