"""Pictures as cases for sweeps: kept, cancelled; with either policy."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import trio

from perdure.events.cost import dollars
from perdure.events.errors import OperationCancelled, OperationFailed, OutcomeUncertain
from perdure.events.purchase import OnUncertain
from tests.actors.media.memory import PictureWorld, png
from tests.actors.media.rig import Desk, drawing
from tests.faults.sweep import Case
from tests.faults.sweep import World as Life

SIZE = (300, 200)
TICKS = 7
"""What each answer costs."""


class Pictures(Case):
    """One order, made at each start as a user's program does, to its end. `met` collects what lives came to."""

    cancelled = False

    def __init__(self, on_uncertain: OnUncertain, met: set[tuple[str, int]]) -> None:
        self.world = PictureWorld(answer_s=1.0, size=SIZE)
        self.on_uncertain: OnUncertain = on_uncertain
        self.met = met

    async def live(self, world: Life) -> None:
        """Orders them and waits until nothing is owed."""
        self.world.alive = world.act
        async with drawing(world.directory / "p.db", self.world, disk=world.disk) as desk:
            handle = await desk.order(on_uncertain=self.on_uncertain)
            if self.cancelled:
                await trio.sleep(0.5)
                await handle.cancel()
            await desk.settled()

    async def check(self, world: Life) -> None:
        """What was paid for stands in the log with its cost, twice only by the policy, and kept bytes are whole."""
        self.world.alive = lambda: None
        async with drawing(world.directory / "p.db", self.world) as desk:
            status = (await desk.settled()).standing.status
            types, sold = await desk.types(), len(self.world.account)
            happened = Counter(types)
            again, lost = happened["PurchaseResubmitted"], happened["PurchaseLost"]
            gone, kept = happened["MediaLost"], happened["MediaStored"]
            answered = happened["MediaAnswered"]
            assert happened["CostRecorded"] == answered == gone + kept, "each answer is paid for once, and kept or lost"
            doubts = again - list(pairwise(types)).count(("MediaLost", "PurchaseResubmitted"))
            assert happened["PurchaseIntended"] == answered + doubts + lost, "each intent is settled"
            assert sold <= happened["PurchaseIntended"], "nothing is sent without an intent on record"
            assert sold <= 1 + again, "nothing is bought again but by the policy"
            self.judge(status, sold, again)
            self.met.add((status, sold))
            await desk.blobs.sweep(desk.log.referenced, older_than_s=-1)
            await self.told(desk, status, answered)
            await desk.verify()

    def judge(self, status: str, sold: int, again: int) -> None:
        """Asserts what this case's policy allows."""
        if self.cancelled:
            assert status == "cancelled"
            assert sold <= 1
        elif self.on_uncertain == "resubmit":
            assert status == "succeeded"
            assert 1 <= sold <= 2
        else:
            assert again == 0
            assert status in ("succeeded", "uncertain", "failed")
            assert sold <= 1

    async def told(self, desk: Desk, status: str, answered: int) -> None:
        """Asserts that the caller hears the same, as often as it asks."""
        handle = await desk.handle()
        said: list[str] = []
        for _ in range(2):
            try:
                made = await handle.result()
                first, second = made
                assert b"".join([chunk async for chunk in first.read()]) == png(*SIZE)
                assert (first.width, first.height, second.width) == (*SIZE, SIZE[0])
                assert first.cost == dollars(TICKS * answered)
                said.append("succeeded")
            except OperationFailed as error:
                known = (error.cause.partition(":")[0], error.cost) == ("answer_lost", dollars(TICKS))
                said.append("failed" if known else str(error))
            except (OperationCancelled, OutcomeUncertain) as error:
                said.append({OperationCancelled: "cancelled", OutcomeUncertain: "uncertain"}[type(error)])
        assert said == [status, status]


class CancelledPictures(Pictures):
    """The same, cancelled by their caller while the provider works."""

    cancelled = True
