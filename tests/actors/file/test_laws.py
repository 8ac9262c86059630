"""Laws of a file: whatever is said to it in whatever order, over crashes, these hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy
from msgspec.structs import replace

from perdure.actors.file.asks import DELETIONS_AT_A_TIME, Delete, EndLife, LapseCopy, LetGo, Put, Watch
from perdure.actors.file.effects import Files
from perdure.actors.file.state import CODEC, FileState, needs_content
from perdure.actors.kind import Effect
from perdure.actors.purchase import SECOND_US
from perdure.actors.runtime.aggregate import KindFold
from perdure.events import file as file_module
from perdure.events import purchase as purchase_module
from perdure.events.codec import tag_of
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.file import (
    CopyOrdered,
    ExpireCopy,
    ExpireFile,
    FailCopy,
    KeepSession,
    LeaveCopy,
    LoseCopy,
    NoteCopyDeleted,
    NoteCopyReady,
    NoteCopyStored,
    ReleaseContent,
    RemoveFile,
    ResumeCopies,
    WithdrawCopy,
)
from perdure.events.purchase import (
    DoubtPurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseIntended,
    RefusePurchase,
)
from perdure.events.sealed import ERASED, Sealed, plain
from perdure.events.supervision import SUPERVISION_EVENTS
from tests.actors.file.test_state import ACTOR, CREATE, CREATED, PHASES, PUSH, intended, ordered, stored
from tests.actors.living import EPOCH_US as AT

STEPS: Final = 25
KIND: Final = Files.unwired()
EVENTS: Final[frozenset[type[Event]]] = frozenset(CODEC.current).difference(SUPERVISION_EVENTS)
SORTED: Final[Sequence[type[Event]]] = sorted(EVENTS, key=tag_of)
STARTS: Final[Sequence[Sequence[Event]]] = [
    *PHASES.values(),
    (replace(CREATED, expires_at=0), replace(ordered(), searchable=False), intended()),
    (CREATED, ordered(), intended(), stored(), ordered(1, provider="openai"), intended(1), stored(1, processing=True)),
]
COMMANDS: Final[tuple[type[Command], ...]] = tuple(
    value
    for module in (file_module, purchase_module)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Command) and value is not Command
)

BY_NAME: Final[Mapping[str, SearchStrategy[Any]]] = {
    "blob": st.just("a" * 64),
    "code": st.sampled_from(["", "blob_lost"]),
    "credential": st.sampled_from(["default", "other"]),
    "failed": st.sampled_from(["", "no"]),
    "kind": st.sampled_from(["auth", "credential_missing", "rate_limit", "server_error", "invalid_request"]),
    "max_bytes": st.sampled_from([999, 5_000]),
    "ordinal": st.integers(-1, 3),
    "policy": st.just("resubmit"),
    "provider": st.sampled_from(["google", "openai"]),
    "reference": st.sampled_from(["ref-0", "ref-1", "ref-2"]),
    "remote_id": st.sampled_from(["r-0", "r-1", "r-2"]),
    "provider_id": st.sampled_from(["r-0", "r-1", "r-2"]),
    "tags": st.just({}),
    "ttl_us": st.sampled_from([0, 3_600 * SECOND_US]),
    **{name: st.integers(0, 40).map(lambda hours: AT + hours * 3_600 * SECOND_US) for name in ("at", "retry_at")},
    "expires_at": st.integers(-1, 40).map(lambda hours: 0 if hours < 0 else AT + hours * 3_600 * SECOND_US),
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
    by_name = {field.name: BY_NAME[field.name] if field.name in BY_NAME else BY_TYPE[field.type] for field in fields}
    return st.builds(kind, **by_name)


commands: SearchStrategy[Command] = st.one_of(
    *(drawn(kind) for kind in COMMANDS), st.builds(Orphan, effect=st.just("buy/0/1"), report=drawn(NoteCopyStored))
)
people: SearchStrategy[Command] = st.sampled_from(
    [
        CREATE,
        PUSH,
        PUSH,
        replace(PUSH, provider="openai"),
        replace(PUSH, credential="other"),
        LoseCopy("google", "ref-0"),
        LoseCopy("google", "ref-1"),
        RemoveFile(),
        RemoveFile(everywhere=True),
        ResumeCopies(),
        ResumeCopies(),
        WithdrawCopy(0),
        WithdrawCopy(1),
    ]
)


def reports_of(effect: Effect) -> SearchStrategy[list[Command]]:
    """What an effect that is asked for may report, cut off anywhere."""
    match effect:
        case EndLife():
            return said(ExpireFile())
        case LetGo():
            return said(ReleaseContent())
        case LapseCopy():
            return said(ExpireCopy(effect.ordinal))
        case Delete():
            one = effect.deletion
            return said(NoteCopyDeleted(one.provider, one.credential, one.remote_id)) | said(
                LeaveCopy(one.provider, one.credential, one.remote_id, "forbidden", "m")
            )
        case Watch():
            ordinal = effect.order.ordinal
            return said(NoteCopyReady(ordinal, f"ref-{ordinal}")) | said(FailCopy(ordinal, "gone", "m"))
        case _:
            assert isinstance(effect, Put)
            return reports_of_put(effect)


def reports_of_put(effect: Put) -> SearchStrategy[list[Command]]:
    """What an upload, or looking for it, may report."""
    ordinal, attempt, order = effect.ordinal, effect.attempt, effect.order
    here = NoteCopyStored(
        ordinal=ordinal,
        attempt=attempt,
        provider=order.provider,
        credential=order.credential,
        remote_id=f"r-{ordinal}",
        reference=f"ref-{ordinal}",
        expires_at=AT + 10 * 3_600 * SECOND_US,
        reconciled=effect.intended,
    )
    came: SearchStrategy[Command] = st.sampled_from([here, replace(here, processing=True), replace(here, failed="no")])
    if effect.intended:
        if not effect.can_find:
            return said(LosePurchase(ordinal, attempt))
        duplicate = NoteDuplicate(ordinal, "r-9")
        return (
            said(MissPurchase(ordinal, attempt)) | came.map(lambda report: listed(duplicate, report)) | came.map(listed)
        )
    kinds = st.sampled_from(["auth", "server_error", "invalid_request"])
    refused: SearchStrategy[Command] = st.builds(
        RefusePurchase, st.just(ordinal), st.just(attempt), kinds, st.just("m")
    )
    intent = IntendPurchase(ordinal, attempt, "i")
    session = KeepSession(ordinal, attempt, "https://there")
    outcome = came | refused | st.just(DoubtPurchase(ordinal, attempt, "cut"))
    return (
        said(intent)
        | said(intent, session)
        | outcome.map(lambda report: listed(intent, report))
        | outcome.map(lambda report: listed(intent, session, report))
        | refused.map(listed)
        | said(FailCopy(ordinal, "blob_lost", "gone"))
    )


def said(*reports: Command) -> SearchStrategy[list[Command]]:
    """Reports in order."""
    return st.just(listed(*reports))


def listed(*reports: Command) -> list[Command]:
    """Reports in order."""
    return list(reports)


class Run:
    """One file: all that happened to it, its state as the service has it, and what was seen of it."""

    def __init__(self) -> None:
        self.fold = KindFold(KIND)
        self.live = self.fold.initial(ACTOR, "")
        self.stored: list[bytes] = []
        self.at = AT
        self.produced: set[type[Event]] = set()
        self.ordinals: set[int] = set()
        self.life = "new"
        self.named: set[str] = set()

    def take(self, events: Sequence[Event]) -> None:
        """What a commit does: no ordinal comes twice, and nothing is begun for a file that is over."""
        for event in events:
            if isinstance(event, CopyOrdered):
                assert event.ordinal not in self.ordinals
                self.ordinals.add(event.ordinal)
            if isinstance(event, (CopyOrdered, PurchaseIntended)):
                assert self.live.state.life == "kept"
                assert not self.live.state.released, "what may be sent has its bytes"
            index = KIND.index(event)
            self.named.update(index.references)
            self.named.difference_update(index.released)
            self.stored.append(CODEC.encode(event, self.at).payload)
            self.fold.evolve(self.live, event)

    def tell(self, command: Command) -> None:
        """What the runtime does with a command; nothing but a `Rejected` may come out of it."""
        try:
            events = KIND.decide(self.live.state, command, self.at)
        except Rejected:
            return
        self.produced.update(type(event) for event in events)
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
        state: FileState = self.live.state
        asked, row, standing = self.asked(), KIND.row(state), self.fold.standing(self.live)
        assert state.anomalies == 0
        assert len({effect.id for effect in asked}) == len(asked)
        assert (standing.next_due is None) == (not asked)
        assert row.terminal == (state.life in ("expired", "deleted") and not asked)
        puts = {effect.ordinal: effect for effect in asked if isinstance(effect, Put)}
        for copy in state.copies:
            ordinal = copy.order.ordinal
            assert (copy.status == "pending") == (ordinal in puts)
            assert not copy.purchase.owed or puts[ordinal].intended, "what is owed is asked for"
            assert copy.status != "uploaded" or copy.ready
        pairs = [(put.order.provider, put.order.credential) for put in puts.values()]
        assert len(pairs) == len(set(pairs)), "one upload at a time for a provider and credential"
        assert state.life == "kept" or all(put.intended for put in puts.values())
        assert not puts or CREATE.blob in self.named, "its bytes are there as long as something sends them"
        assert state.created is None or (CREATE.blob in self.named) != state.released
        assert not (state.released and needs_content(state))
        assert sum(isinstance(effect, Delete) for effect in asked) == min(len(state.deletions), DELETIONS_AT_A_TIME)
        assert self.life in ("new", "kept") or state.life == self.life, "a file ends once"
        self.life = state.life
        for provider in ("google", "openai"):
            for credential in ("default", "other"):
                same = [
                    copy.status
                    for copy in state.copies
                    if (copy.order.provider, copy.order.credential) == (provider, credential)
                ]
                assert len(same) <= 1, same


def digest(state: FileState) -> bytes:
    """A state as bytes."""
    return msgspec.json.encode(state, order="deterministic")


def live_a_life(run: Run, data: DataObject) -> None:
    """Draws a life of steps and checks after each of them."""
    run.take(data.draw(st.sampled_from(STARTS), "start"))
    run.check()
    for _ in range(STEPS):
        asked = run.asked()
        what = data.draw(st.sampled_from(["report", "people", "anything", "report", "crash", "people"]), "what")
        if what == "people":
            run.tell(data.draw(people, "somebody says"))
        elif what == "anything" or (what == "report" and not asked):
            run.tell(data.draw(commands, "command"))
        elif what == "crash":
            run.crash(data.draw(st.integers(0, len(run.stored)), "cut"))
        else:
            effect = data.draw(st.sampled_from(list(asked)), "effect")
            for report in data.draw(reports_of(effect), "reports"):
                run.tell(report)
                run.check()
        run.at += data.draw(st.sampled_from([0, 1_000_000, 3_600_000_000, 86_400_000_000]), "time")
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


def test_an_erased_name_is_carried_through_every_fold() -> None:
    run = Run()
    run.take([replace(CREATED, filename=Sealed(s="subject"))])
    run.check()
    run.crash(1)
    assert run.live.state.created.filename.open() is ERASED
