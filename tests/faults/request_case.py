"""A live request as cases for sweeps: answered, cancelled, expired; with either policy, with bodies small and large."""

from __future__ import annotations

from collections import Counter
from typing import Final

import trio

from perdure.actors.request.state import RequestState
from perdure.events.errors import OperationCancelled, OperationExpired, OutcomeUncertain
from perdure.events.purchase import OnUncertain
from perdure.store.crash_points import CRASH_POINTS
from tests.actors.request.memory import World
from tests.actors.request.rig import ACTOR, BODY, Desk, asking
from tests.faults.sweep import Case
from tests.faults.sweep import World as Life

POINTS: Final = frozenset(point for point in CRASH_POINTS if not point.startswith("blob."))
"""The crash points that a request with small bodies passes; with large ones it passes all."""

LARGE: Final = b'{"model":"m","input":"%s"}' % (b"x" * 20_000)


class OneRequest(Case):
    """One request, opened at each start as a user's program does, to its end. `met` collects what lives came to."""

    body = BODY

    def __init__(self, on_uncertain: OnUncertain, met: set[tuple[str, int]]) -> None:
        self.world = World(answer_s=1.0)
        self.on_uncertain: OnUncertain = on_uncertain
        self.met = met

    async def live(self, world: Life) -> None:
        """Opens it and waits until nothing is owed."""
        self.world.alive = world.act
        async with asking(world.directory / "p.db", self.world, disk=world.disk) as desk:
            await desk.submit(self.body, on_uncertain=self.on_uncertain)
            await desk.settled()

    async def check(self, world: Life) -> None:
        """What was paid for twice stands in the log as the policy's doing, and nothing else was paid for twice."""
        self.world.alive = lambda: None
        async with asking(world.directory / "p.db", self.world) as desk:
            status = (await desk.settled()).standing.status
            happened, sold = Counter(await desk.types()), len(self.world.account)
            again, lost = happened["PurchaseResubmitted"], happened["PurchaseLost"]
            assert happened["PurchaseIntended"] == happened["RequestAnswered"] + again + lost, "each intent is settled"
            assert happened["CostRecorded"] == happened["RequestAnswered"], "each answer is paid for once"
            assert sold <= happened["PurchaseIntended"], "nothing is sent without an intent on record"
            assert sold <= 1 + again, "nothing is bought again but by the policy"
            self.judge(status, sold, again, lost)
            self.met.add((status, sold))
            await self.told(desk, status)
            await desk.verify()

    def judge(self, status: str, sold: int, again: int, lost: int) -> None:
        """Asserts what this case's policy allows."""
        if self.on_uncertain == "resubmit":
            assert (status, lost) == ("succeeded", 0)
            assert 1 <= sold <= 2
        elif status == "uncertain":
            assert (again, lost) == (0, 1)
            assert sold <= 1
        else:
            assert (status, sold, again, lost) == ("succeeded", 1, 0, 0)

    async def told(self, desk: Desk, status: str) -> None:
        """Asserts that the caller hears the same, as often as it asks."""
        handle = await desk.handle()
        said: list[str] = []
        for _ in range(2):
            try:
                said.append((await handle.result()).text)
            except (OperationCancelled, OperationExpired, OutcomeUncertain) as error:
                said.append(type(error).__name__)
        expected = {
            "succeeded": f"re: {len(self.body)}",
            "cancelled": "OperationCancelled",
            "expired": "OperationExpired",
            "uncertain": "OutcomeUncertain",
        }[status]
        assert said == [expected, expected]
        state: RequestState = await handle.state()
        assert (state.answer is not None) == ("RequestAnswered" in await desk.types(ACTOR))


class LargeRequest(OneRequest):
    """The same with bodies that are blobs."""

    body = LARGE

    def __init__(self, on_uncertain: OnUncertain, met: set[tuple[str, int]]) -> None:
        super().__init__(on_uncertain, met)
        self.world.answer = lambda body: b'{"text":"re: %d","more":"%s"}' % (len(body), b"y" * 20_000)


class CancelledRequest(OneRequest):
    """The same, cancelled by its caller while the provider works."""

    async def live(self, world: Life) -> None:
        """Opens it, cancels it half-way, waits until nothing is owed."""
        self.world.alive = world.act
        async with asking(world.directory / "p.db", self.world, disk=world.disk) as desk:
            handle = await desk.submit(self.body, on_uncertain=self.on_uncertain)
            await trio.sleep(0.5)
            await handle.cancel()
            await desk.settled()

    def judge(self, status: str, sold: int, again: int, lost: int) -> None:
        """It was cancelled, and after that nothing was bought."""
        assert status == "cancelled"
        assert sold <= 1


class ExpiredRequest(OneRequest):
    """The same with a deadline that passes while the provider works."""

    async def live(self, world: Life) -> None:
        """Opens it and waits until nothing is owed; the deadline is counted from when it was first opened."""
        self.world.alive = world.act
        async with asking(world.directory / "p.db", self.world, disk=world.disk) as desk:
            await desk.submit(self.body, on_uncertain=self.on_uncertain, deadline_s=0.5)
            await desk.settled()

    def judge(self, status: str, sold: int, again: int, lost: int) -> None:
        """It expired; in doubt before that, it rested uncertain where the policy said so."""
        assert status in ("expired", "uncertain")
        assert status == "expired" or self.on_uncertain == "fail"
        assert sold <= 1 + again
