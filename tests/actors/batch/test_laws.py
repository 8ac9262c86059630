"""Laws of both kinds: whatever is said to them in whatever order, over crashes, these hold.

A run draws steps: any command at all, what an effect that is asked for may report, or a crash, after which the state is
folded anew from its bytes. After each step everything that must hold is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from perdure.actors.batch import asks
from perdure.actors.batch.direct import asks as live_asks
from perdure.actors.batch.effects import Batches
from perdure.actors.batch.state import BatchState
from perdure.actors.kind import Effect, Kind
from perdure.actors.provider_file import state as file_state
from perdure.actors.provider_file.effects import ProviderFiles
from perdure.actors.provider_file.state import FileState
from perdure.actors.purchase import PurchaseEffect
from perdure.actors.runtime.aggregate import KindFold
from perdure.events.batch import (
    CancelBatch,
    CloseBatch,
    DeferPart,
    EndPart,
    ExpireLines,
    FailLine,
    FileBlocked,
    FileFailed,
    FileStored,
    LineAnswered,
    NoteCancelSent,
    NoteDuplicateCancelled,
    NoteFileAsked,
    NoteFileNotNeeded,
    NoteFileResumed,
    NoteLineAnswered,
    NoteOverdue,
    NotePolled,
    NoteSubmitted,
    NoteTrouble,
    ResultsTaken,
    SettleLine,
    SettlePart,
    TakeResults,
)
from perdure.events.command import Command
from perdure.events.cost import CostRecorded
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.provider_file import (
    FailUpload,
    KeepUploadSession,
    NoteFileProcessed,
    NoteOwnerTold,
    NoteOwnerWarned,
    NoteUploaded,
)
from perdure.events.purchase import (
    DoubtPurchase,
    DuplicatePurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    RefusePurchase,
)
from perdure.store.records import ItemRow
from tests.actors.batch import given as cases
from tests.actors.batch.drawing import (
    ASKED_BY_PEOPLE,
    COST,
    KIND_EVENTS,
    RESUMING,
    commands,
    event_of,
    events_for,
)
from tests.actors.provider_file import test_state as file_cases

STEPS: Final = 20
KINDS: Final[Mapping[str, Kind[Any, Any]]] = {"batch": Batches.unwired(), "provider_file": ProviderFiles.unwired()}
ACTORS: Final = {"batch": cases.ACTOR, "provider_file": "pfile_01a1fa39cd147898aeae77659cbbeee3"}
STARTS: Final[dict[str, Sequence[Sequence[Event]]]] = {
    "batch": [
        (),
        (cases.opened(max_lines=2),),
        (cases.opened(max_lines=4, close_at=cases.AT + 3_600_000_000, minimum=3),),
        (cases.opened(direct=True),),
        (cases.opened(on_uncertain="resubmit", direct=True), cases.collected(0, 2), cases.collected(2, 2)),
        (cases.opened(direct=True), cases.collected(0, 4), cases.closed(4, direct=True)),
        (cases.opened(max_lines=2, on_uncertain="resubmit"), cases.collected(0, 2), cases.collected(2, 2)),
        (cases.opened(resubmit=2), cases.collected(0, 4), cases.closed(4)),
        (cases.opened(resubmit=1), *cases.OVERDUE[1:]),
        *cases.PHASES.values(),
    ],
    "provider_file": list(file_cases.PHASES.values()),
}


class Run:
    """One actor: all that happened to it, and its state as the service has it in memory."""

    def __init__(self, kind: Kind[Any, Any], actor: str) -> None:
        self.kind = kind
        self.actor = actor
        self.fold = KindFold(kind)
        self.live = self.fold.initial(actor, "")
        self.stored: list[bytes] = []
        self.at = cases.AT
        self.produced: set[type[Event]] = set()
        self.items: dict[int, str] = {}
        self.late: set[int] = set()

    def take(self, events: Sequence[Event]) -> None:
        """What a commit does: the events are stored as bytes and folded."""
        for event in events:
            self.stored.append(self.kind.codec.encode(event, self.at).payload)
            self.fold.evolve(self.live, event)
            for item in self.kind.index(event).items:
                self.settle(item)

    def settle(self, item: ItemRow) -> None:
        """A line settles once. To one that was abandoned an answer may come, once, and it stays abandoned."""
        before = self.items.get(item.number, "waiting")
        if item.status == "waiting":
            return
        late = before in ("cancelled", "expired") and item.status == before and bool(item.blob)
        assert before == "waiting" or late, f"line {item.number} settled twice: {before}, {item.status}"
        assert not (late and item.number in self.late), f"a second answer to line {item.number} was taken"
        self.items[item.number] = item.status
        if late:
            self.late.add(item.number)

    def tell(self, command: Command) -> None:
        """What the runtime does with a command, reports of effects that nobody asked for included."""
        try:
            events = list(self.kind.decide(self.live.state, command, self.at))
        except Rejected:
            return
        self.produced.update(type(event) for event in events)
        answers = sum(
            len(event.numbers)
            if isinstance(event, ResultsTaken)
            else isinstance(event, (LineAnswered, DuplicatePurchase))
            for event in events
        )
        paid = sum(event.requests for event in events if isinstance(event, CostRecorded))
        whole = isinstance(command, TakeResults) and command.costs and None not in command.costs
        assert paid == answers if whole else paid <= answers, "each answer that was taken is paid for once"
        self.take(events)

    def asked(self) -> Sequence[Effect]:
        """What the state asks for."""
        return self.kind.effects(self.live.state)

    def replayed(self, cut: int = 0) -> Any:
        """The state folded from the bytes, looked at after `cut` events as a snapshot would be taken there."""
        aggregate = self.fold.initial(self.actor, "")
        for place, payload in enumerate(self.stored):
            if place == cut:
                self.fold.standing(aggregate)
            self.fold.evolve(aggregate, self.kind.codec.decode(payload))
        return aggregate

    def crash(self, cut: int) -> None:
        """The process dies; the next one folds what is stored, and it is the same."""
        replayed = self.replayed(cut)
        assert digest(replayed.state) == digest(self.live.state)
        self.live = replayed

    def check(self) -> None:
        """All that must hold between two commits."""
        state, asked = self.live.state, self.asked()
        row, standing = self.kind.row(state), self.fold.standing(self.live)
        assert state.anomalies == 0
        assert len({effect.id for effect in asked}) == len(asked) <= 64
        assert (standing.next_due is None) == (not asked)
        if row.terminal:
            assert list(asked) == [], f"{row.status} is terminal and asks for {asked}"
        owed = _owed(state)
        assert owed <= {effect.ordinal for effect in asked if isinstance(effect, PurchaseEffect) and effect.intended}
        assert not (owed and row.terminal)
        if isinstance(state, BatchState):
            _check_counts(state, self.items)


def _owed(state: BatchState | FileState) -> set[int]:
    if isinstance(state, FileState):
        purchases = [state.purchase]
    elif state.direct is not None:
        purchases = [line.purchase for line in state.direct.lines]
    else:
        purchases = [part.purchase for part in state.parts]
    return {purchase.ordinal for purchase in purchases if purchase.owed}


def _check_counts(state: BatchState, items: Mapping[int, str]) -> None:
    marked = {number for number in range(state.lines) if state.is_settled(number)}
    assert marked == set(items)
    given_up = [number for number, status in items.items() if status in ("cancelled", "expired")]
    assert state.ok == sum(status in ("ok", "direct") for status in items.values())
    assert state.ok + state.failed == len(items)
    assert state.abandoned == len(given_up)
    assert all(state.awaits_answer(number) in ("", items[number]) for number in given_up)
    assert not any(state.awaits_answer(number) for number in items.keys() - given_up)
    if state.deadlines:
        assert not state.is_settled(state.deadlines[0].ranges[0][0])
    assert [due.at for due in state.deadlines] == sorted({due.at for due in state.deadlines})
    if state.phase == "finished":
        assert len(items) == state.lines


def digest(state: Any) -> bytes:
    """A state as bytes."""
    return msgspec.json.encode(state, order="deterministic")


def said(*commands_: Command) -> list[Command]:
    """Commands in order."""
    return list(commands_)


def refusals(ordinal: int, attempt: int) -> SearchStrategy[Command]:
    """A refusal that blocks, passes, or is final."""
    kinds = st.sampled_from(["auth", "server_error", "invalid_request"])
    return st.builds(RefusePurchase, st.just(ordinal), st.just(attempt), kinds, st.just("said"))


def purchase_reports(effect: PurchaseEffect, bought: SearchStrategy[Command]) -> SearchStrategy[list[Command]]:
    """What performing a purchase may report, cut off anywhere."""
    ordinal, attempt = effect.ordinal, effect.attempt
    miss, lose = MissPurchase(ordinal, attempt), LosePurchase(ordinal, attempt)
    if effect.intended:
        found = bought.map(lambda report: said(NoteDuplicate(ordinal, "p-3"), report))
        return st.just(said(miss)) | st.just(said(lose)) | found | bought.map(said)
    intent, doubt = IntendPurchase(ordinal, attempt, "i"), st.just(DoubtPurchase(ordinal, attempt, "cut"))
    refused = refusals(ordinal, attempt)
    outcome: SearchStrategy[Command] = bought | refused | doubt
    return st.just(said(intent)) | outcome.map(lambda report: said(intent, report)) | refused.map(said)


def reports_of(effect: Effect) -> SearchStrategy[list[Command]]:
    """What an effect that is asked for may report."""
    match effect:
        case asks.Buy(ordinal=part, attempt=attempt):
            return purchase_reports(effect, st.just(NoteSubmitted(part, attempt, f"p-{part}-{attempt}")))
        case file_state.UploadEffect(attempt=attempt):
            fail = st.just(said(FailUpload("blob_lost", "gone")))
            keep = st.just(said(KeepUploadSession(attempt, "there")))
            stored = st.booleans().map(lambda processing: NoteUploaded(attempt, "f-1", processing=processing))
            return fail | keep | purchase_reports(effect, stored)
        case file_state.WatchUpload():
            return st.sampled_from([said(NoteFileProcessed()), said(FailUpload("processing_failed", "m"))])
        case file_state.WarnOwner(attempt=attempt):
            return st.just(said(NoteOwnerWarned(attempt)))
        case file_state.TellOwner():
            return st.just(said(NoteOwnerTold()))
        case asks.CloseWindow():
            return st.just(said(CloseBatch()))
        case asks.ReachDeadline():
            return st.just(said(CancelBatch("deadline")))
        case asks.ReachLineDeadline(until=until, part=part):
            return st.just(said(ExpireLines(until))) | st.just(said(EndPart(part, "completed", "c", "m", ("out",))))
        case live_asks.AskLive(ordinal=number, attempt=attempt):
            fail = st.just(said(FailLine(number, "blob_lost", "gone")))
            answered = st.builds(
                NoteLineAnswered, st.just(number), st.just(attempt), st.just(cases.BLOB), st.just(9), st.booleans()
            )
            return fail | purchase_reports(effect, answered)
        case live_asks.WriteError(number=number):
            return st.just(said(SettleLine(number, cases.BLOB, 9)))
        case asks.AskForFile(part=part):
            news: list[Command] = [
                FileStored(part, f"f-{part}"),
                FileFailed(part, "c", "m"),
                FileBlocked(part, "no key"),
            ]
            asked = st.sampled_from(news).map(lambda one: said(NoteFileAsked(part, effect.file), one))
            return asked | st.just(said(NoteFileNotNeeded(part)))
        case asks.ResumeFile(part=part):
            return st.just(said(NoteFileResumed(part), FileStored(part, f"f-{part}")))
        case asks.Poll(part=part, provider_batch=batch):
            return _poll_reports(part, batch)
        case asks.Collect(part=part):
            return _collect_reports(effect, part)
        case asks.Cancel(part=part, provider_batch=batch):
            return st.just(said(NoteDuplicateCancelled(batch) if part < 0 else NoteCancelSent(part)))
        case _:
            raise AssertionError(effect)


def _poll_reports(part: int, batch: str) -> SearchStrategy[list[Command]]:
    ends: list[Command] = [
        EndPart(part, "completed", "c", "m", ("out", "err")),
        EndPart(part, "expired", "c", "m", ("out",)),
        EndPart(part, "cancelled", "c", "m", abandoned=True),
        EndPart(part, "failed", "c", "m"),
    ]
    shown: list[Command] = [
        NotePolled(part, "processing", 4, 2, 0),
        NoteTrouble(part, "503", False),
        NoteTrouble(part, "401", True),
        NoteOverdue(part, batch),
        DeferPart(part, batch, "token_limit_exceeded", "m"),
    ]
    return st.sampled_from([*ends, *shown]).map(said)


def _collect_reports(effect: asks.Collect, part: int) -> SearchStrategy[list[Command]]:
    def taken(numbers: list[int]) -> list[Command]:
        count = len(numbers)
        return [
            TakeResults(
                part,
                effect.source,
                effect.cursor,
                effect.cursor + 9,
                cases.BLOB,
                numbers,
                [0] * count,
                [1] * count,
                [0],
                1,
                0,
                [COST] * count,
            )
        ]

    run = st.lists(st.integers(effect.first - 1, effect.last + 1), max_size=4).map(taken)
    settle = st.just(said(SettlePart(part, "c", cases.BLOB, 0, 1, {effect.first: (1, 1)})))
    return run | run | settle | st.just(said(NoteTrouble(part, "503", True)))


def live_a_life(run: Run, data: DataObject) -> None:
    """Draws a life of steps and checks after each of them."""
    run.take(data.draw(st.sampled_from(STARTS[run.kind.name]), "start"))
    run.check()
    for _ in range(STEPS):
        asked = run.asked()
        what = data.draw(st.sampled_from(["report", "report", "report", "people", "anything", "crash"]), "what")
        if what == "people":
            blocked = run.kind.row(run.live.state).status == "blocked"
            sayings = RESUMING if blocked else ASKED_BY_PEOPLE
            run.tell(data.draw(st.sampled_from(sayings[run.kind.name]), "somebody says"))
        elif what == "anything" or (what == "report" and not asked):
            run.tell(data.draw(commands, "command"))
        elif what == "crash":
            run.crash(data.draw(st.integers(0, len(run.stored)), "cut"))
        else:
            effect = data.draw(st.sampled_from(list(asked)), "effect")
            for report in data.draw(reports_of(effect), "reports"):
                run.tell(report)
                run.check()
        run.at += data.draw(st.sampled_from([0, 1_000_000, 3_600_000_000]), "time")
        run.check()
    run.crash(0)


def laws(name: str, examples: int, *, derandomize: bool) -> None:
    """Lives `examples` lives of a kind. Fails when an event type was never produced."""
    produced: set[type[Event]] = set()

    @settings(
        max_examples=examples,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.data())
    def lives(data: DataObject) -> None:
        run = Run(KINDS[name], ACTORS[name])
        live_a_life(run, data)
        produced.update(run.produced)

    lives()
    never = {event.__name__ for event in KIND_EVENTS[name] - produced}
    assert not never, f"never produced: {sorted(never)}"


@pytest.mark.parametrize("name", KINDS)
def test_laws_hold_and_every_event_is_produced(name: str) -> None:
    laws(name, 600, derandomize=True)


@pytest.mark.sweep
@pytest.mark.parametrize("name", KINDS)
def test_laws_hold_in_many_more_lives(name: str) -> None:
    laws(name, 3_000, derandomize=False)


@pytest.mark.parametrize("name", KINDS)
def test_evolve_is_total(name: str) -> None:
    """Any event, possible or not, can be folded into any state; what it asks for and shows can still be told."""
    kind: Kind[Any, Any] = KINDS[name]

    @settings(max_examples=300, derandomize=True, database=None, deadline=None)
    @given(st.sampled_from(STARTS[name]), st.lists(events_for(name), max_size=12))
    def fold(start: Sequence[Event], events: list[Event]) -> None:
        state: Any = kind.initial(ACTORS[name], "")
        for event in [*start, *events]:
            state = kind.evolve(state, event)
            kind.effects(state)
            kind.row(state)
            kind.weight(state)

    fold()


@pytest.mark.parametrize(
    "event",
    [event for events in KIND_EVENTS.values() for event in sorted(events, key=lambda event: event.__name__)],
    ids=lambda event: event.__name__,
)
def test_every_event_survives_the_codec(event: type[Event]) -> None:
    codec = next(KINDS[name].codec for name, events in KIND_EVENTS.items() if event in events)

    @settings(max_examples=25, derandomize=True, database=None)
    @given(event_of(event))
    def there_and_back(value: Event) -> None:
        again = codec.decode(codec.encode(value, 0).payload)
        assert msgspec.json.encode(again) == msgspec.json.encode(value)

    there_and_back()
