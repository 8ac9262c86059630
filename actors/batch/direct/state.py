"""Lines that go live, the state: the few that are on their way, each with a purchase of its own.

All others are a number: what lies before `next` is on its way or settled, what follows waits. A line that its caller
gave up stays here for as long as its purchase is owed.
"""

from __future__ import annotations

from msgspec import Struct, field

from perdure.actors.batch.bitmap import Bitmap
from perdure.actors.purchase import Purchase
from perdure.events.batch import LineFailed
from perdure.events.event import Event
from perdure.events.purchase import PurchaseResubmitted

DIRECT_AT_A_TIME = 16
"""How many lines of one batch are on their way at once."""


class DirectLine(Struct):
    """A line on its way; its number is its purchase's ordinal. Once `code` is set it will have no answer, and only has
    to have that written down."""

    purchase: Purchase
    resubmits: int = 0
    code: str = ""
    message: str = ""
    status: int = 0

    @property
    def number(self) -> int:
        """Which line of the batch it is."""
        return self.purchase.ordinal


class Direct(Struct):
    """The lines on their way in order, and the number of the first one whose turn has not come."""

    next: int = 0
    lines: list[DirectLine] = field(default_factory=list[DirectLine])

    def find(self, number: int) -> DirectLine | None:
        """The line with this number, if it is on its way."""
        return next((line for line in self.lines if line.number == number), None)

    def evolve(self, number: int, event: Event) -> bool:
        """Folds what happened to the purchase of a line; False when the line is not on its way."""
        line = self.find(number)
        if line is None:
            return False
        if isinstance(event, LineFailed):
            said = event.message.open()
            line.code, line.message = event.code, said if isinstance(said, str) else ""
            line.status = event.status
            line.purchase.end()
        else:
            line.purchase.evolve(event)
        if isinstance(event, PurchaseResubmitted):
            line.purchase.retry_at, line.purchase.refused_since = event.retry_at, 0
            line.resubmits += 1
        return True

    def refill(self, settled: Bitmap, lines: int) -> None:
        """Lets go of lines that are settled and owe nothing, and takes up those whose turn it is."""
        self.lines = [line for line in self.lines if line.number not in settled or line.purchase.owed]
        while self.next < lines and len(self.lines) < DIRECT_AT_A_TIME:
            if self.next not in settled:
                self.lines.append(DirectLine(Purchase(ordinal=self.next)))
            self.next += 1

    def owing(self, *, but: int = -1) -> bool:
        """Whether a line other than `but` has an intent without an outcome on record."""
        return any(line.purchase.owed for line in self.lines if line.number != but)

    @property
    def blocked(self) -> str:
        """Why a line waits for somebody, "" when none does."""
        return next((line.purchase.blocked for line in self.lines if line.purchase.blocked), "")
