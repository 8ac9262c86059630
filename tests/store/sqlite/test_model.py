"""The law of the log: whatever is appended together, refused or reopened, it holds what a plain model holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from perdure.events.errors import VersionConflict
from perdure.events.event import Event
from perdure.store.disk import InlineDisk
from perdure.store.records import Append, Appended, Holder, KeyTaken
from perdure.store.sqlite import SqliteLog, open_log
from tests.store.sqlite.toys import CODEC, TOY, Added, Ended, Hand, Opened


class Step(Struct, frozen=True):
    """One append: which actor, how many events, on a stale version or not, with which key, ended by it or not."""

    actor: int
    count: int
    stale: bool
    key: int | None
    end: bool


STEPS = st.builds(
    Step,
    actor=st.integers(0, 4),
    count=st.integers(1, 3),
    stale=st.sampled_from([False, False, False, True]),
    key=st.none() | st.integers(0, 2),
    end=st.booleans(),
)


class Model:
    """What the log must hold: versions, keys, and the records in order."""

    def __init__(self) -> None:
        self.hands = [Hand(f"toy_{number}") for number in range(5)]
        self.keys: dict[str, str] = {}
        self.records: list[tuple[str, int, bytes]] = []

    def judge(self, step: Step) -> tuple[Append, type]:
        """The append of a step and what becomes of it."""
        hand = self.hands[step.actor]
        key = None if step.key is None else f"k{step.key}"
        events: list[Event] = [Opened() if not hand.version else Added(by=number) for number in range(step.count)]
        if step.end:
            events.append(Ended())
        if step.stale:
            written = Hand(hand.actor).events(*events, key=key)
            written.expected_version = hand.version + 1
            return written, VersionConflict
        mine = next((taken for taken, owner in self.keys.items() if owner == hand.actor), None)
        if mine is not None:
            key = mine  # an actor has one key
        if key is not None and self.keys.get(key, hand.actor) != hand.actor:
            refused = Hand(hand.actor).events(*events, key=key)
            refused.expected_version = hand.version
            return refused, KeyTaken
        written = hand.events(*events, key=key)
        if key is not None:
            self.keys[key] = hand.actor
        first = hand.version - len(events)
        self.records += [(hand.actor, first + number + 1, event.payload) for number, event in enumerate(written.events)]
        return written, Appended

    async def check(self, log: SqliteLog) -> None:
        """Asserts that the log holds what the model holds."""
        records = await log.records(limit=10_000)
        assert [(each.actor, each.version, each.payload) for each in records] == self.records
        assert [each.position for each in records] == list(range(1, len(records) + 1))
        for hand in self.hands:
            row = await log.row(hand.actor)
            assert (0 if row is None else row.version) == hand.version
        for number in range(3):
            holder = self.keys.get(f"k{number}")
            assert await log.find_key("", f"k{number}") == (None if holder is None else Holder(holder))
        found = await log.verify([TOY])
        found.raise_if_bad()
        assert found.records == len(self.records)


@settings(max_examples=60, deadline=None)
@given(sessions=st.lists(st.lists(st.lists(STEPS, max_size=8), max_size=4), min_size=1, max_size=3))
def test_random_groups_then_reopening_equal_the_model(sessions: list[list[list[Step]]]) -> None:
    async def live(path: Path) -> None:
        model = Model()
        for groups in sessions:
            async with open_log(path, codecs=[CODEC], disk=InlineDisk()) as log:
                for group in groups:
                    expected: list[type] = []
                    found: dict[int, type] = {}

                    async def one(number: int, each: Append, found: dict[int, type], log: SqliteLog) -> None:
                        try:
                            found[number] = type(await log.append(each))
                        except (VersionConflict, KeyTaken) as error:
                            found[number] = type(error)

                    async with trio.open_nursery() as nursery:
                        for number, step in enumerate(group):
                            each, answer = model.judge(step)
                            expected.append(answer)
                            nursery.start_soon(one, number, each, found, log)
                            await trio.testing.wait_all_tasks_blocked()
                    assert [found[number] for number in range(len(group))] == expected
                await model.check(log)

    with tempfile.TemporaryDirectory() as directory:
        trio.run(live, Path(directory) / "log.db")
