"""Laws of an operation that makes media: whatever is said to it in whatever order, over crashes, these hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from perdure.actors.kind import Effect
from perdure.actors.media.effects import Media
from perdure.actors.media.state import CODECS, IMAGE, LOST, LetSourcesGo, Make, MediaState, ReachDeadline
from perdure.actors.purchase import SECOND_US
from perdure.actors.request.state import RESUBMIT_WAITS_US
from perdure.actors.runtime.aggregate import KindFold
from perdure.events.codec import tag_of
from perdure.events.command import Command, Orphan
from perdure.events.cost import Cost, CostRecorded
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.media import (
    CancelMedia,
    ExpireMedia,
    FailMedia,
    KeepMedia,
    LoseMedia,
    MediaAnswered,
    MediaFailed,
    MediaLost,
    NoteMediaAnswered,
    OrderMedia,
    ReleaseMediaFiles,
    ResubmitMedia,
    ResumeMedia,
    SpoilMedia,
    StoredItem,
)
from perdure.events.purchase import DoubtPurchase, IntendPurchase, LosePurchase, PurchaseIntended, RefusePurchase
from perdure.events.request import Content, HeldFile, NoteFileWarnings
from perdure.events.sealed import ERASED, Sealed, plain
from perdure.events.supervision import SUPERVISION_EVENTS
from tests.actors.living import EPOCH_US as AT
from tests.actors.media.rig import ACTOR
from tests.actors.resolving.given import WARNINGS

STEPS: Final = 25
KIND: Final = Media.unwired(IMAGE)
CODEC: Final = CODECS[IMAGE]
EVENTS: Final[frozenset[type[Event]]] = frozenset(CODEC.current).difference(SUPERVISION_EVENTS)
HELD: Final = HeldFile("file_1", "c" * 64, 3, "image/png", plain("tides.png"))
ITEMS: Final = (StoredItem(blob="a" * 64, mime_type="image/png", size_bytes=9, width=3, height=2),)
COST: Final = Cost(provider="p", model="m", credential="default", tier="", amount=7, source="provider")
ENDS: Final = frozenset({"stored", "failed", "cancelled", "expired"})


def order(**fields: Any) -> OrderMedia:
    """An order."""
    plainly = OrderMedia(
        provider="p",
        capability="image_editing",
        model="m",
        credential="default",
        request=Content(2, plain("{}")),
        digest="d",
    )
    return msgspec.structs.replace(plainly, **fields)


ORDERS: Final = [
    order(),
    order(on_uncertain="resubmit"),
    order(deadline_us=3_600 * SECOND_US, files=[HELD]),
    order(on_uncertain="resubmit", files=[HELD]),
]
PEOPLE: Final[Sequence[Command]] = [CancelMedia(), ResumeMedia(), ResubmitMedia(), order(digest="another")]


def said(*reports: Command) -> list[Command]:
    """Reports in order."""
    return list(reports)


def scripts(effect: Effect) -> list[list[Command]]:
    """What an effect that is asked for may report; each may be cut off anywhere."""
    if isinstance(effect, ReachDeadline):
        return [said(ExpireMedia())]
    if isinstance(effect, LetSourcesGo):
        return [said(ReleaseMediaFiles())]
    assert isinstance(effect, Make)
    attempt = effect.attempt
    if effect.answered:
        return [said(LoseMedia(attempt)), said(KeepMedia(attempt, ITEMS)), said(SpoilMedia(attempt, "empty", "m"))]
    if effect.intended:
        return [said(LosePurchase(0, attempt))]
    intent, noted = IntendPurchase(0, attempt, "i"), NoteFileWarnings(WARNINGS)
    paid = NoteMediaAnswered(attempt, 1, cost=COST)
    refusals = [RefusePurchase(0, attempt, kind, "m") for kind in ("auth", "server_error", "invalid_request")]
    return [
        said(noted, intent, paid, KeepMedia(attempt, ITEMS)),
        said(intent, NoteMediaAnswered(attempt, 1), KeepMedia(attempt, ITEMS)),
        said(intent, paid, SpoilMedia(attempt, "not_an_image", "m")),
        said(intent, paid, paid),
        said(intent, DoubtPurchase(0, attempt, "cut")),
        said(FailMedia("blob_lost", "gone")),
        *(said(intent, refused) for refused in refusals),
        *(said(refused) for refused in refusals),
    ]


class Run:
    """One operation: all that happened to it, its state as the service has it, and what its caller was told."""

    def __init__(self) -> None:
        self.fold = KindFold(KIND)
        self.live = self.fold.initial(ACTOR, "")
        self.stored: list[bytes] = []
        self.at = AT
        self.produced: set[type[Event]] = set()
        self.ended = ""
        self.spent = 0

    def tell(self, command: Command) -> None:
        """What the runtime does with a command; nothing but a `Rejected` may come out of it."""
        try:
            events = KIND.decide(self.live.state, command, self.at)
        except Rejected:
            return
        self.produced.update(type(event) for event in events)
        assert not self.ended or not any(isinstance(event, PurchaseIntended) for event in events)
        report = command.report if isinstance(command, Orphan) else command
        paid = isinstance(report, NoteMediaAnswered) and report.cost is not None
        answers = sum(isinstance(event, MediaAnswered) for event in events)
        costs = [event for event in events if isinstance(event, CostRecorded)]
        assert len(costs) == answers * paid, "what was paid for is recorded with the answer, and with nothing else"
        self.spent += sum(event.amount for event in costs)
        for event in events:
            self.stored.append(CODEC.encode(event, self.at).payload)
            self.fold.evolve(self.live, event)
        self.check()

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
        state: MediaState = self.live.state
        asked, row = KIND.effects(state), KIND.row(state)
        makes = [effect for effect in asked if isinstance(effect, Make)]
        assert state.anomalies == 0
        assert len({effect.id for effect in asked}) == len(asked) <= 2
        assert row.terminal == (state.ordered is not None and not asked)
        assert (state.purchase.owed or state.saving > 0) == any(make.intended for make in makes), (
            "what is owed is asked"
        )
        assert state.status == "open" or all(make.intended for make in makes), "nothing is bought for who left"
        assert not state.saving or [make.id for make in makes] == [f"buy/0/{state.saving}"], "the bytes' own effect"
        assert not self.ended or state.status == self.ended, "what a caller was told stays so"
        assert (state.cost_ticks or 0) == self.spent
        assert state.status != "stored" or state.items
        assert state.resubmits <= len(RESUBMIT_WAITS_US)
        self.ended = state.status if state.status in ENDS else ""


def digest(state: MediaState) -> bytes:
    """A state as bytes."""
    return msgspec.json.encode(state, order="deterministic")


def live_a_life(run: Run, data: DataObject) -> None:
    """Draws a life of steps; everything is checked after each commit."""
    run.tell(data.draw(st.sampled_from(ORDERS), "order"))
    for _ in range(STEPS):
        asked = KIND.effects(run.live.state)
        what = data.draw(st.sampled_from(["report", "report", "report", "people", "late", "crash"]), "what")
        if what == "people":
            run.tell(data.draw(st.sampled_from(PEOPLE), "somebody says"))
        elif what == "late":
            attempt = data.draw(st.integers(0, 3), "attempt")
            late = data.draw(
                st.sampled_from(
                    [
                        NoteMediaAnswered(attempt, 1, cost=COST),
                        KeepMedia(attempt, ITEMS),
                        SpoilMedia(attempt, "empty", "m"),
                        LoseMedia(attempt),
                        LosePurchase(0, attempt),
                    ]
                ),
                "late",
            )
            run.tell(Orphan(effect="buy/0/1", report=late) if late.bought else late)
        elif what == "crash":
            run.crash(data.draw(st.integers(0, len(run.stored)), "cut"))
        elif asked:
            script = data.draw(st.sampled_from(scripts(data.draw(st.sampled_from(list(asked)), "effect"))), "reports")
            for report in script[: data.draw(st.integers(1, len(script)), "until")]:
                run.tell(report)
        run.at += data.draw(st.sampled_from([0, 1_000_000, 3_600_000_000]), "time")
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
    laws(400, derandomize=True)


@pytest.mark.sweep
def test_laws_hold_in_many_more_lives() -> None:
    laws(4_000, derandomize=False)


def test_an_erased_request_is_carried_through_every_fold() -> None:
    run = Run()
    run.tell(order(request=Content(2, Sealed(s="subject"))))
    run.crash(1)
    assert run.live.state.ordered.request.text.open() is ERASED


def test_w37_lost_bytes_fail_by_name_or_are_bought_again_by_the_policy() -> None:
    """W-37: a process that starts on an answer without bytes says so; nothing is bought but by the policy."""
    for policy, last in (("fail", "MediaFailed"), ("resubmit", "PurchaseResubmitted")):
        run = Run()
        run.tell(order(on_uncertain=policy))
        run.tell(IntendPurchase(0, 1, "i"))
        run.tell(NoteMediaAnswered(1, 1, cost=COST))
        run.crash(2)
        [make] = KIND.effects(run.live.state)
        assert isinstance(make, Make)
        assert make.answered
        run.tell(LoseMedia(1))
        gone, then = (CODEC.decode(payload) for payload in run.stored[-2:])
        assert gone == MediaLost(1)
        assert tag_of(type(then)) == last
        assert not isinstance(then, MediaFailed) or then.code == LOST
