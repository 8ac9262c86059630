"""Laws of the runtime: whatever comes in whatever order, over crashes and restarts, these hold."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from perdure.actors.kind import Again, Effect, Kind, Port
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import RuntimeLimits
from perdure.events.command import Command, Revive
from perdure.events.errors import PerdureError
from perdure.events.event import Event
from perdure.store.sqlite import SqliteLog
from tests.actors.living import assert_verifies, living
from tests.actors.toys import Add, Cancel, Counters, Note, Order, Orders, Shop
from tests.faults.simulated import simulate
from tests.faults.sweep import Death, Died, World

ACTORS = ("order_0", "order_1", "order_2")
OUTCOMES = ("works", "raises before", "raises after", "ends silently", "asks again")


class Step(Struct, frozen=True):
    """Something that happens: a command to an actor, time that passes, or a restart, which may be a crash."""

    what: str
    actor: str = ACTORS[0]
    seconds: float = 0.0
    death: Death | None = None


class Fickle(Orders):
    """Orders whose effects end as the test has drawn it; once the draws are used up, all goes well."""

    def __init__(self, shop: Shop, outcomes: list[str]) -> None:
        super().__init__(shop)
        self.outcomes = outcomes

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        how = self.outcomes.pop(0) if self.outcomes else "works"
        if how == "raises before":
            raise ValueError(how)
        if how == "ends silently":
            return None
        if how == "asks again":
            return Again(5.0)
        result = await super().perform(effect, port)
        if how == "raises after":
            raise ValueError(how)
        return result


def digest(state: Any) -> bytes:
    return msgspec.json.encode(state, order="deterministic")


async def assert_live_is_replayed(log: SqliteLog, kinds: Sequence[Kind[Any, Any]], live: dict[str, bytes]) -> None:
    """The state in memory, the whole fold, and any prefix with the rest folded on top: byte for byte the same."""
    folds = {kind.name: KindFold(kind) for kind in kinds}
    for stream in await log.load(list(live)):
        fold = folds[stream.row.kind]
        events: list[tuple[Event, int]] = [(fold.codec.decode(payload), at) for _, at, payload in stream.events]
        for cut in range(len(events) + 1):
            aggregate = fold.initial(stream.row.actor, stream.row.tenant)
            for event, at in events[:cut]:
                fold.evolve(aggregate, event, at)
            fold.standing(aggregate)  # looked at in between, which must change nothing
            for event, at in events[cut:]:
                fold.evolve(aggregate, event, at)
            assert digest(aggregate.state) == live[stream.row.actor]


def dies(point: tuple[str, str], occurrence: int) -> Step:
    return Step("restart", death=Death(point[0], point[1], occurrence))


commands: dict[str, Command] = {
    "order": Order(what="a lamp"),
    "another order": Order(what="a chair"),
    "note": Note(text="x"),
    "cancel": Cancel(),
    "revive": Revive(),
}
points = st.sampled_from(
    [
        ("commit.before", "order"),
        ("commit.written", "order"),
        ("commit.after", ""),
        ("report.before", "order"),
        ("report.after", "order"),
        ("send.before", "order"),
        ("send.after_last_byte", "order"),
        ("answer.received", "order"),
    ]
)
steps = st.one_of(
    st.builds(Step, st.sampled_from(sorted(commands)), st.sampled_from(ACTORS)),
    st.builds(Step, st.just("wait"), seconds=st.sampled_from([0.0, 0.3, 2.0, 40.0])),
    st.just(Step("restart")),
    st.builds(dies, points, st.integers(1, 6)),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    script=st.lists(steps, min_size=1, max_size=14),
    outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=6),
    wire_s=st.sampled_from([0.0, 1.0]),
    resident_bytes=st.sampled_from([0, 1 << 30]),
    seed=st.integers(0, 5),
)
def test_any_interleaving_keeps_the_laws(
    script: list[Step], outcomes: list[str], wire_s: float, resident_bytes: int, seed: int
) -> None:
    shop = Shop()
    shop.answer_s, shop.poll_after_s = wire_s, 5.0
    kinds: list[Kind[Any, Any]] = [Fickle(shop, list(outcomes)), Counters()]
    limits = RuntimeLimits(resident_bytes=resident_bytes)
    acknowledged = 0

    async def live(world: World, part: list[Step], *, last: bool) -> None:
        nonlocal acknowledged
        shop.alive = world.act
        async with living(world.directory / "log.db", kinds, room=2, limits=limits, disk=world.disk) as (runtime, log):
            async with trio.open_nursery() as nursery:

                async def tell(kind: str, actor: str, command: Command) -> None:
                    nonlocal acknowledged
                    try:
                        await runtime.tell(kind, actor, command)
                        acknowledged += kind == "counter"
                    except PerdureError:
                        pass

                for step in part:
                    if step.what == "wait":
                        await trio.sleep(step.seconds)
                    else:
                        nursery.start_soon(tell, "order", step.actor, commands[step.what])
                        nursery.start_soon(tell, "counter", "counter", Add(amount=1))
            if not last:
                return
            for actor in ACTORS:
                await tell("order", actor, Order(what="a lamp"))
            await trio.sleep(1_000)
            live_states = {actor: digest((await runtime.state("order", actor)).state) for actor in ACTORS}
            await assert_live_is_replayed(log, kinds, live_states)
            assert (await runtime.state("counter", "counter")).state.total >= acknowledged
            for actor in ACTORS:
                row = await log.row(actor)
                assert row is not None
                assert row.standing.status in ("arrived", "cancelled"), row.standing
            await assert_verifies(log, kinds)

    parts: list[tuple[list[Step], Death | None]] = [([], None)]
    for step in script:
        parts[-1][0].append(step) if step.what != "restart" else None
        if step.what == "restart":
            parts[-1] = (parts[-1][0], step.death)
            parts.append(([], None))
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root) / "0"
        directory.mkdir()
        for number, (part, death) in enumerate(parts):
            heir = Path(root) / str(number + 1)
            world = World(directory, None if number == len(parts) - 1 else death, heir, seed)

            async def life(
                world: World = world, part: list[Step] = part, last: bool = number == len(parts) - 1
            ) -> None:
                await live(world, part, last=last)

            try:
                simulate(life, seed=seed, probe=world.probe)
            except (Died, BaseExceptionGroup):
                if not world.dead:
                    raise
                directory = heir
    identities = [identity for identity, _ in shop.account]
    assert len(identities) == len(set(identities)), identities
