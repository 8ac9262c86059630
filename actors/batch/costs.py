"""What the answers of a batch cost, the judgement. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.actors.batch.state import BatchState
from perdure.events.cost import Cost, CostRecorded, gathered


def spent(state: BatchState, costs: Sequence[tuple[int, Cost]]) -> Sequence[CostRecorded]:
    """What is recorded of some lines' costs, `(number, cost)` each: one event for all that were priced alike.

    In a window that callers share each line has a caller of its own, with a key and tags: there the event also says
    what each of them cost.
    """
    shared = state.opened is not None and state.opened.close_at
    return gathered([cost for _, cost in costs], [number for number, _ in costs] if shared else ())
