"""What a recorded cost adds to the read models. Pure."""

from __future__ import annotations

from perdure.actors.kind import Index
from perdure.events.cost import CostRecorded
from perdure.store.records import CostRow


def cost_index(event: CostRecorded) -> Index:
    """The rows of a cost."""
    usage = event.usage
    return Index(
        cost=CostRow(
            provider=event.provider,
            model=event.model,
            credential=event.credential,
            tier=event.tier,
            source=event.source,
            amount=event.amount,
            requests=event.requests,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
            lines=list(zip(event.numbers, event.amounts, strict=False)),
        )
    )
