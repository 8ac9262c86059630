"""A batch of two parts as a case for sweeps: from requests to answers over a provider in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from perdure.actors.batch.ports import InputProblem
from perdure.actors.batch.views import BatchHandle
from tests.actors.batch.memory import NAME, Ending, World, prompts
from tests.actors.batch.rig import serving, verified
from tests.faults.sweep import Case
from tests.faults.sweep import World as Life

POINTS: Final = frozenset(
    {
        "commit.before",
        "commit.written",
        "commit.after",
        "report.before",
        "report.after",
        "send.before",
        "send.after_last_byte",
        "answer.received",
        "blob.written",
        "blob.renamed",
        "blob.durable",
    }
)
"""Every crash point there is: a batch passes them all."""

LINES: Final = 5


class OneBatch(Case):
    """`LINES` lines over two parts; the answers are asked for twice, in both orders."""

    resubmit = 0
    bought: ClassVar[Mapping[str, int]] = {"file": 2, "batch": 2}
    """How much of each kind is bought."""
    judged: Sequence[str] = ("PartSettled", "PartSettled", "BatchFinished")
    """What happens to the parts, and how often, whatever happens to the process."""

    def __init__(self) -> None:
        self.world = World(batch_s=30.0, max_lines=3)
        self.delivered: set[int] = set()

    async def live(self, world: Life) -> None:
        """Submits under a key, as a user's program does at each start, and reads every answer."""
        self.world.alive = world.act
        async with serving(world.directory / "p.db", self.world, disk=world.disk) as service:
            handle = await service.batches.submit(prompts(LINES), provider=NAME, key="job", resubmit=self.resubmit)
            async with handle.results() as lines:
                async for line in lines:
                    world.act()
                    assert line.ok, line
                    self.delivered.add(line.index)

    async def check(self, world: Life) -> None:
        """All results, each once; one purchase by identity and by payload; the log verifies."""
        self.world.alive = lambda: None
        assert self.world.bought_twice() == [], self.world.bought_twice()
        async with serving(world.directory / "p.db", self.world) as service:
            handle = await service.find("job")
            assert isinstance(handle, BatchHandle)
            assert handle.status == "succeeded"
            for order in ("input", "arrival"):
                async with handle.results(order="input" if order == "input" else "arrival") as lines:
                    texts = {line.index: line.answer.text async for line in lines if line.answer is not None}
                assert texts == {number: f"re: question {number}" for number in range(LINES)}
            settled = [
                record.type
                async for record in handle.events(follow=False)
                if record.type in ("PartDeferred", "PartResubmitted", "PartSettled", "BatchFinished")
            ]
            assert sorted(settled) == sorted(self.judged)
            assert settled[-1] == "BatchFinished"
            state = await handle.state()
            assert (state.ok, state.failed, state.duplicate, state.extra, state.anomalies) == (LINES, 0, 0, 0, 0)
            assert (await service.audit.costs()).requests == LINES, "each answer is paid for once"
            await verified(service)
        assert self.delivered == set(range(LINES))
        assert {kind: len(self.world.sold(kind)) for kind in ("file", "batch")} == self.bought


class InlineBatch(OneBatch):
    """The same where no file is needed: the lines go with the calls that create the two batches."""

    bought: ClassVar[Mapping[str, int]] = {"file": 0, "batch": 2}

    def __init__(self) -> None:
        super().__init__()
        self.world.inline_bytes = 10_000


class RescuedBatch(OneBatch):
    """The same at a provider that lets both batches expire half-way and then has no room for the third one at first."""

    resubmit = 1
    bought: ClassVar[Mapping[str, int]] = {"file": 4, "batch": 5}
    judged = ("PartResubmitted", "PartResubmitted", "PartDeferred", *OneBatch.judged)

    def __init__(self) -> None:
        super().__init__()
        full = Ending("failed", (InputProblem("token_limit_exceeded", "full"),), no_room=True)
        self.world.endings = [Ending("expired"), Ending("expired"), full]
        self.world.tells_unfinished = True


class InlineRescuedBatch(RescuedBatch):
    """Both."""

    bought: ClassVar[Mapping[str, int]] = {"file": 0, "batch": 5}

    def __init__(self) -> None:
        super().__init__()
        self.world.inline_bytes = 10_000


class CancelledBatch(OneBatch):
    """The same, cancelled while the provider works: nothing is left running there, nor bought again."""

    resubmit = 1

    async def live(self, world: Life) -> None:
        """Submits, cancels, waits for the end."""
        self.world.alive = world.act
        async with serving(world.directory / "p.db", self.world, disk=world.disk) as service:
            handle = await service.batches.submit(prompts(LINES), provider=NAME, key="job", resubmit=self.resubmit)
            await handle.cancel()
            await handle.ended()

    async def check(self, world: Life) -> None:
        """Every line has an end, nothing runs on at the provider, nothing was bought twice."""
        self.world.alive = lambda: None
        async with serving(world.directory / "p.db", self.world) as service:
            handle = await service.find("job")
            if handle is not None:  # cancelled while it was collected: the key is free, and nobody can ask any more
                assert isinstance(handle, BatchHandle)
                async with handle.results() as lines:
                    assert len([line async for line in lines]) == LINES
            await verified(service)
        assert self.world.bought_twice() == [], self.world.bought_twice()
        assert all(batch.cancelled or batch.ends_at <= 30.0 for batch in self.world.batches.values())
