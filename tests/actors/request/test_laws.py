"""Laws of a live request: whatever is said to it in whatever order, over crashes, these hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from perdure.actors.kind import Effect
from perdure.actors.purchase import SECOND_US
from perdure.actors.request.effects import Requests
from perdure.actors.request.state import CODEC, RESUBMIT_WAITS_US, Ask, LetFilesGo, ReachDeadline, RequestState
from perdure.actors.runtime.aggregate import KindFold
from perdure.events import purchase as purchase_module
from perdure.events import request as request_module
from perdure.events.codec import tag_of
from perdure.events.command import Command, Orphan
from perdure.events.cost import Cost, CostRecorded, Tariff, Units
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.purchase import DoubtPurchase, IntendPurchase, LosePurchase, PurchaseIntended, RefusePurchase
from perdure.events.request import (
    CancelRequest,
    Content,
    ExpireRequest,
    FailRequest,
    HeldFile,
    NoteAnswered,
    NoteFileWarnings,
    ReleaseFiles,
    RequestAnswered,
    ResubmitRequest,
    ResumeRequest,
)
from perdure.events.requests import Usage
from perdure.events.sealed import ERASED, Sealed, plain
from perdure.events.supervision import SUPERVISION_EVENTS
from tests.actors.living import EPOCH_US as AT
from tests.actors.request.test_state import ACTOR, ANSWER, OPEN, PHASES, opened
from tests.actors.resolving.given import WARNINGS

STEPS: Final = 20
KIND: Final = Requests.unwired()
EVENTS: Final[frozenset[type[Event]]] = frozenset(CODEC.current).difference(SUPERVISION_EVENTS)
SORTED: Final[Sequence[type[Event]]] = sorted(EVENTS, key=tag_of)
HELD: Final = HeldFile("file_1", "c" * 64, 3, "application/pdf", plain("tides.pdf"))
COST: Final = Cost(provider="p", model="m", credential="default", tier="", amount=7, source="provider")
STARTS: Final[Sequence[Sequence[Event]]] = [
    (),
    (opened("fail"),),
    (opened(deadline_at=1_900_000_000_000_000),),
    (msgspec.structs.replace(opened(), neutral=True, files=[HELD]),),
    *PHASES.values(),
]
COMMANDS: Final[tuple[type[Command], ...]] = tuple(
    value
    for module in (request_module, purchase_module)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Command) and value is not Command
)
ENDS: Final = frozenset({"answered", "failed", "cancelled", "expired"})

BY_NAME: Final[Mapping[str, SearchStrategy[Any]]] = {
    "body": st.sampled_from([ANSWER, Content(20_000, Sealed(), "b" * 64)]),
    "kind": st.sampled_from(["auth", "credential_missing", "rate_limit", "server_error", "invalid_request"]),
    "on_uncertain": st.sampled_from(["fail", "resubmit"]),
    "policy": st.sampled_from(["caller", "resubmit"]),
    "status": st.sampled_from([0, 200, 400]),
    "tags": st.just({}),
    "files": st.sampled_from([[], [HELD]]),
    "warnings": st.sampled_from([(), WARNINGS[:1], WARNINGS]),
    "blobs": st.just([HELD.blob]),
    "line": st.none(),
    "cost": st.sampled_from([None, COST]),
    "rates": st.sampled_from([None, Tariff(input=5)]),
    "usage": st.sampled_from([None, Usage(input_tokens=3)]),
    "units": st.sampled_from([None, Units(kind="image", count=1)]),
    "numbers": st.just([]),
    "amounts": st.just([]),
    "deadline_us": st.sampled_from([0, 3_600 * SECOND_US]),
    **{name: st.integers(0, 40).map(lambda hours: AT + hours * 3_600 * SECOND_US) for name in ("at", "retry_at")},
}
BY_TYPE: Final[Mapping[Any, SearchStrategy[Any]]] = {
    int: st.integers(-1, 4),
    bool: st.booleans(),
    str: st.sampled_from(["", "x"]),
    Sealed[str]: st.sampled_from([plain("said"), Sealed(s="subject")]),
}


def drawn(kind: type[Any]) -> SearchStrategy[Any]:
    """Any value of a command or an event."""
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: _any_of(field) for field in fields})


def _any_of(field: msgspec.structs.FieldInfo) -> SearchStrategy[Any]:
    if get_origin(field.type) is Literal:
        return st.sampled_from(get_args(field.type))
    return BY_NAME[field.name] if field.name in BY_NAME else BY_TYPE[field.type]


commands: SearchStrategy[Command] = st.one_of(
    *(drawn(kind) for kind in COMMANDS), st.builds(Orphan, effect=st.just("buy/0/1"), report=drawn(NoteAnswered))
)


def reports_of(effect: Effect) -> SearchStrategy[list[Command]]:
    """What an effect that is asked for may report, cut off anywhere."""
    if isinstance(effect, ReachDeadline):
        return st.just(said(ExpireRequest()))
    if isinstance(effect, LetFilesGo):
        return st.just(said(ReleaseFiles()))
    assert isinstance(effect, Ask)
    attempt = effect.attempt
    if effect.intended:
        return st.just(said(LosePurchase(0, attempt)))
    kinds = st.sampled_from(["auth", "server_error", "invalid_request"])
    refused: SearchStrategy[Command] = st.builds(RefusePurchase, st.just(0), st.just(attempt), kinds, st.just("m"))
    outcomes: list[Command] = [
        NoteAnswered(attempt, ANSWER),
        NoteAnswered(attempt, ANSWER, cost=COST),
        NoteAnswered(attempt, ANSWER, "unreadable_answer", "m", 200),
        DoubtPurchase(0, attempt, "cut"),
    ]
    intent, noted = IntendPurchase(0, attempt, "i"), NoteFileWarnings(WARNINGS)
    outcome: SearchStrategy[Command] = st.sampled_from(outcomes) | refused
    unsent: SearchStrategy[Command] = st.just(FailRequest("blob_lost", "gone")) | refused
    files = st.just(said(noted)) | unsent.map(lambda report: said(noted, report))
    return st.just(said(intent)) | outcome.map(lambda report: said(intent, report)) | unsent.map(said) | files


def said(*reports: Command) -> list[Command]:
    """Reports in order."""
    return list(reports)


class Run:
    """One request: all that happened to it, its state as the service has it, and what its caller was told."""

    def __init__(self) -> None:
        self.fold = KindFold(KIND)
        self.live = self.fold.initial(ACTOR, "")
        self.stored: list[bytes] = []
        self.at = AT
        self.produced: set[type[Event]] = set()
        self.ended = ""
        self.answer: Content | None = None

    def take(self, events: Sequence[Event]) -> None:
        """What a commit does; nothing is sent for a request that has ended."""
        assert not self.ended or not any(isinstance(event, PurchaseIntended) for event in events)
        for event in events:
            self.stored.append(CODEC.encode(event, self.at).payload)
            self.fold.evolve(self.live, event)

    def tell(self, command: Command) -> None:
        """What the runtime does with a command; nothing but a `Rejected` may come out of it."""
        try:
            events = KIND.decide(self.live.state, command, self.at)
        except Rejected:
            return
        self.produced.update(type(event) for event in events)
        report = command.report if isinstance(command, Orphan) else command
        paid = isinstance(report, NoteAnswered) and report.cost is not None
        answers = sum(isinstance(event, RequestAnswered) for event in events)
        costs = sum(isinstance(event, CostRecorded) for event in events)
        assert costs == answers * paid, "what was paid for is recorded with the answer, once, and with nothing else"
        self.take(events)

    def asked(self) -> Sequence[Effect]:
        """What the state asks for."""
        return KIND.effects(self.live.state)

    def crash(self, cut: int) -> None:
        """The process dies; the next one goes on from a snapshot after `cut` events, and it is the same state."""
        replayed = self.fold.initial(ACTOR, "")
        for place, payload in enumerate(self.stored):
            if place == cut:
                snapshot, replayed = self.fold.snapshot(replayed), self.fold.initial(ACTOR, "")
                assert replayed.restore(snapshot)
            self.fold.evolve(replayed, CODEC.decode(payload))
        assert digest(replayed.state) == digest(self.live.state)
        self.live = replayed

    def check(self) -> None:
        """All that must hold between two commits."""
        state: RequestState = self.live.state
        asked, row, standing = self.asked(), KIND.row(state), self.fold.standing(self.live)
        assert state.anomalies == 0
        assert len({effect.id for effect in asked}) == len(asked) <= 2
        assert (standing.next_due is None) == (not asked)
        assert row.terminal == (state.opened is not None and not asked)
        asks = [effect for effect in asked if isinstance(effect, Ask)]
        assert state.purchase.owed == any(ask.intended for ask in asks), "what is owed is asked for"
        assert state.status == "open" or all(ask.intended for ask in asks), "nothing is bought for who left"
        assert not self.ended or state.status == self.ended
        assert self.answer is None or state.answer == self.answer
        self.ended = state.status if state.status in ENDS else ""
        self.answer = state.answer
        assert state.resubmits <= len(RESUBMIT_WAITS_US)


def digest(state: RequestState) -> bytes:
    """A state as bytes."""
    return msgspec.json.encode(state, order="deterministic")


def live_a_life(run: Run, data: DataObject) -> None:
    """Draws a life of steps and checks after each of them."""
    run.take(data.draw(st.sampled_from(STARTS), "start"))
    run.check()
    people: list[Command] = [OPEN, CancelRequest(), ResumeRequest(), ResubmitRequest()]
    for _ in range(STEPS):
        asked = run.asked()
        what = data.draw(st.sampled_from(["report", "report", "report", "people", "anything", "crash"]), "what")
        if what == "people":
            run.tell(data.draw(st.sampled_from(people), "somebody says"))
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


def laws(examples: int, *, derandomize: bool) -> None:
    """Lives `examples` lives. Fails when an event type was never produced."""
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
        run = Run()
        live_a_life(run, data)
        produced.update(run.produced)

    lives()
    never = {event.__name__ for event in EVENTS - produced}
    assert not never, f"never produced: {sorted(never)}"


def test_laws_hold_and_every_event_is_produced() -> None:
    laws(600, derandomize=True)


@pytest.mark.sweep
def test_laws_hold_in_many_more_lives() -> None:
    laws(5_000, derandomize=False)


def test_evolve_is_total() -> None:
    """Any event, possible or not, can be folded into any state; what it asks for and shows can still be told."""
    events = st.one_of(*(drawn(event) for event in SORTED))

    @settings(max_examples=300, derandomize=True, database=None, deadline=None)
    @given(st.sampled_from(STARTS), st.lists(events, max_size=12))
    def fold(start: Sequence[Event], happened: list[Event]) -> None:
        state = KIND.initial(ACTOR, "")
        for event in [*start, *happened]:
            state = KIND.evolve(state, event)
            KIND.effects(state)
            KIND.row(state)
            KIND.weight(state)

    fold()


@pytest.mark.parametrize("event", SORTED, ids=tag_of)
def test_every_event_survives_the_codec(event: type[Event]) -> None:
    @settings(max_examples=25, derandomize=True, database=None)
    @given(drawn(event))
    def there_and_back(value: Event) -> None:
        assert CODEC.decode(CODEC.encode(value, 0).payload) == value

    there_and_back()


def test_an_erased_body_is_carried_through_every_fold() -> None:
    run = Run()
    run.take([msgspec.structs.replace(opened(), body=Content(2, Sealed(s="subject")))])
    run.check()
    run.crash(1)
    assert run.live.state.opened.body.text.open() is ERASED
