"""A live request's judgement and fold: every command in every phase, and what each phase asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest
from msgspec.structs import replace

from perdure.actors.kind import Effect
from perdure.actors.purchase import SECOND_US, PurchaseEffect
from perdure.actors.request import state as pure
from perdure.actors.request.effects import Requests
from perdure.actors.request.state import PATIENCE_US, RESUBMIT_WAITS_US, RequestState
from perdure.events.batch import CloseBatch
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected, Superseded
from perdure.events.event import Event
from perdure.events.purchase import (
    DoubtPurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseIntended,
    PurchaseLost,
    PurchaseRefused,
    PurchaseResubmitted,
    PurchaseResumed,
    PurchaseUncertain,
    RefusePurchase,
)
from perdure.events.request import (
    CancelRequest,
    Content,
    ExpireRequest,
    FailRequest,
    NoteAnswered,
    OpenRequest,
    RequestAnswered,
    RequestCancelled,
    RequestExpired,
    RequestFailed,
    RequestOpened,
    ResubmitRequest,
    ResumeRequest,
    inline,
)
from perdure.events.sealed import plain
from tests.actors.living import EPOCH_US as AT

ACTOR: Final = "req_01a1fa39cd147898aeae77659cbbeee3"
BODY: Final = Content(2, plain("{}"))
ANSWER: Final = Content(11, plain('{"text":""}'))
OPEN: Final = OpenRequest(
    provider="openai", endpoint="/v1/responses", model="m", credential="default", body=BODY, digest="d"
)


def opened(on_uncertain: str = "resubmit", deadline_at: int = 0) -> RequestOpened:
    """The first event of a request."""
    return RequestOpened(
        provider="openai",
        endpoint="/v1/responses",
        model="m",
        credential="default",
        body=BODY,
        digest="d",
        on_uncertain=on_uncertain,
        deadline_at=deadline_at,
    )


def intended(attempt: int = 1) -> PurchaseIntended:
    """The intent of an attempt."""
    return PurchaseIntended(ordinal=0, attempt=attempt, identity="i", at=AT)


OPENED: Final[Sequence[Event]] = (opened(),)
INTENDED: Final[Sequence[Event]] = (*OPENED, intended())
DOUBTFUL: Final[Sequence[Event]] = (*INTENDED, PurchaseUncertain(ordinal=0, attempt=1, reason="cut"))
LOST: Final[Sequence[Event]] = (opened("fail"), intended(), PurchaseLost(ordinal=0, attempt=1))
BLOCKED: Final[Sequence[Event]] = (
    *OPENED,
    PurchaseRefused(ordinal=0, attempt=1, reason="auth", at=AT, retry_at=AT + 300 * SECOND_US, blocked=True),
)
ANSWERED: Final[Sequence[Event]] = (*INTENDED, RequestAnswered(attempt=1, body=ANSWER))
PHASES: Final[Mapping[str, Sequence[Event]]] = {
    "new": (),
    "open": OPENED,
    "blocked": BLOCKED,
    "intended": INTENDED,
    "doubtful": DOUBTFUL,
    "lost": LOST,
    "leaving": (*INTENDED, RequestCancelled()),
    "expiring": (*DOUBTFUL, RequestExpired()),
    "answered": ANSWERED,
    "unreadable": (*INTENDED, RequestAnswered(attempt=1, body=ANSWER, code="unreadable_answer", status=200)),
    "failed": (*INTENDED, RequestFailed(code="invalid_request")),
    "cancelled": (*OPENED, RequestCancelled()),
    "expired": (*OPENED, RequestExpired()),
    "late": (*INTENDED, RequestCancelled(), RequestAnswered(attempt=1, body=ANSWER)),
}
ANSWER_REPORT: Final = NoteAnswered(attempt=1, body=ANSWER)
COMMANDS: Final[Mapping[str, Command]] = {
    "OpenRequest": OPEN,
    "CancelRequest": CancelRequest(),
    "ExpireRequest": ExpireRequest(),
    "ResumeRequest": ResumeRequest(),
    "ResubmitRequest": ResubmitRequest(),
    "NoteAnswered": ANSWER_REPORT,
    "Orphan": Orphan(effect="buy/0/1", report=ANSWER_REPORT),
    "FailRequest": FailRequest(code="blob_lost", message="m"),
    "IntendPurchase": IntendPurchase(ordinal=0, attempt=1, identity="i"),
    "DoubtPurchase": DoubtPurchase(ordinal=0, attempt=1, reason="cut"),
    "RefusePurchase": RefusePurchase(ordinal=0, attempt=1, kind="server_error", message="m"),
    "RefusePurchase for good": RefusePurchase(ordinal=0, attempt=1, kind="invalid_request", message="m"),
    "LosePurchase": LosePurchase(ordinal=0, attempt=1),
    "MissPurchase": MissPurchase(ordinal=0, attempt=1),
    "NoteDuplicate": NoteDuplicate(ordinal=0, provider_id="r-2"),
    "of another kind": CloseBatch(),
}
UNPAID: Final = "open, blocked, intended, doubtful, lost, leaving, expiring, failed, cancelled, expired"
TABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "OpenRequest": {"new": "RequestOpened", "else": "nothing"},
    "CancelRequest": {"open, blocked, intended, doubtful, lost": "RequestCancelled", "else": "nothing"},
    "ExpireRequest": {"open, blocked, intended, doubtful, lost": "RequestExpired", "else": "nothing"},
    "ResumeRequest": {"blocked": "PurchaseResumed", "else": "nothing"},
    "ResubmitRequest": {"lost": "PurchaseResubmitted", "else": "Rejected"},
    "NoteAnswered": {UNPAID: "RequestAnswered", "else": "nothing"},
    "Orphan": {UNPAID: "RequestAnswered", "else": "nothing"},
    "FailRequest": {"open, blocked": "RequestFailed", "else": "nothing"},
    "IntendPurchase": {"open": "PurchaseIntended", "intended": "nothing", "else": "Superseded"},
    "DoubtPurchase": {"intended, leaving": "PurchaseUncertain", "else": "nothing"},
    "RefusePurchase": {"open, intended, leaving": "PurchaseRefused", "else": "nothing"},
    "RefusePurchase for good": {"open, intended, leaving": "RequestFailed", "else": "nothing"},
    "LosePurchase": {
        "intended, doubtful": "PurchaseResubmitted",
        "leaving, expiring": "PurchaseLost",
        "else": "nothing",
    },
    "MissPurchase": {"else": "Rejected"},
    "NoteDuplicate": {"else": "Rejected"},
    "of another kind": {"else": "Rejected"},
}
CASES: Final = [(command, phase) for command in COMMANDS for phase in PHASES]


def fold(*events: Event) -> RequestState:
    """The state after `events`."""
    state = pure.initial(ACTOR, "")
    for event in events:
        state = pure.evolve(state, event)
    assert state.anomalies == 0
    return state


def when(given: Sequence[Event], command: Command, at: int = AT) -> list[Event]:
    """What happens when `command` comes after `given`."""
    return list(pure.decide(fold(*given), command, at))


def asked(*events: Event) -> dict[str, Effect]:
    """What is asked for after `events`, by id."""
    return {effect.id: effect for effect in pure.effects(fold(*events))}


@pytest.mark.parametrize(("command", "phase"), CASES, ids=[f"{command} when {phase}" for command, phase in CASES])
def test_every_command_in_every_phase(command: str, phase: str) -> None:
    expected = next(
        (said for phases, said in TABLE[command].items() if phase in phases.split(", ")), TABLE[command]["else"]
    )
    if phase == "new" and command != "OpenRequest":
        expected = "Rejected"
    try:
        events = when(PHASES[phase], COMMANDS[command])
        happened = " ".join(type(event).__name__ for event in events) or "nothing"
    except Rejected as refusal:
        happened = type(refusal).__name__
    assert happened == expected


@pytest.mark.parametrize(
    ("phase", "effects", "status", "terminal", "progress"),
    [
        ("new", [], "pending", False, "0/1"),
        ("open", ["buy/0/1"], "pending", False, "0/1"),
        ("blocked", ["buy/0/2"], "blocked", False, "0/1 auth"),
        ("intended", ["buy/0/1"], "running", False, "0/1"),
        ("doubtful", ["find/0/1"], "running", False, "0/1"),
        ("lost", [], "uncertain", True, "0/1"),
        ("leaving", ["buy/0/1"], "cancelled", False, "0/1"),
        ("expiring", ["find/0/1"], "expired", False, "0/1"),
        ("answered", [], "succeeded", True, "1/1"),
        ("unreadable", [], "failed", True, "1/1"),
        ("failed", [], "failed", True, "1/1"),
        ("cancelled", [], "cancelled", True, "0/1"),
        ("expired", [], "expired", True, "0/1"),
        ("late", [], "cancelled", True, "0/1"),
    ],
)
def test_what_each_phase_asks_for(phase: str, effects: list[str], status: str, terminal: bool, progress: str) -> None:
    kind = Requests.unwired()
    state = fold(*PHASES[phase])
    assert [effect.id for effect in kind.effects(state)] == effects
    row = kind.row(state)
    assert (row.status, row.terminal, row.progress) == (status, terminal, progress)


# ---------------------------------------------------------------- opening


def test_another_request_under_the_same_id_is_refused() -> None:
    for other, field in (
        (replace(OPEN, digest="e"), "body is another"),
        (replace(OPEN, model="n"), "model was 'm' and is now 'n'"),
        (replace(OPEN, credential="other"), "credential"),
    ):
        with pytest.raises(Rejected, match=field):
            when(OPENED, other)


def test_a_deadline_is_counted_from_when_it_was_opened() -> None:
    (event,) = when((), replace(OPEN, deadline_us=5 * SECOND_US, tags={"a": "b"}, custom_id="c"))
    assert event == replace(opened(deadline_at=AT + 5 * SECOND_US), tags={"a": "b"}, custom_id="c")
    due = asked(event)
    assert {name: effect.not_before for name, effect in due.items()} == {"buy/0/1": 0, "deadline": AT + 5 * SECOND_US}
    assert list(asked(event, intended(), RequestExpired())) == ["buy/0/1"], "what is owed outlives the deadline"


def test_bodies_are_kept_as_text_while_they_are_small_and_text() -> None:
    small = inline(b"x" * 16_384)
    assert small is not None
    assert (small.size_bytes, small.text.open(), small.blob) == (16_384, "x" * 16_384, "")
    assert inline(b"x" * 16_385) is None
    assert inline(b'"\xff"') is None


def test_blobs_are_kept_as_long_as_the_log() -> None:
    kind = Requests.unwired()
    large = Content(20_000, blob="b" * 64)
    assert list(kind.index(replace(opened(), body=large)).references) == ["b" * 64]
    assert list(kind.index(RequestAnswered(attempt=1, body=large)).references) == ["b" * 64]
    assert list(kind.index(opened()).references) == []
    assert kind.weight(fold(*ANSWERED)) == kind.weight(fold()) + BODY.size_bytes + ANSWER.size_bytes


# ---------------------------------------------------------------- doubt


def test_w23_what_cannot_be_looked_up_is_never_taken_for_absent() -> None:
    """W-23: no list tells of a live request, so no report may reopen it as surely absent, and its effect says so."""
    for effect in (*asked(*INTENDED).values(), *asked(*DOUBTFUL).values()):
        assert isinstance(effect, PurchaseEffect)
        assert (effect.intended, effect.can_find, effect.searchable) == (True, False, False)


def test_w23_in_doubt_the_policy_decides_and_the_log_says_which() -> None:
    assert when((opened("fail"), intended()), LosePurchase(ordinal=0, attempt=1)) == [
        PurchaseLost(ordinal=0, attempt=1)
    ]
    (again,) = when(INTENDED, LosePurchase(ordinal=0, attempt=1))
    assert isinstance(again, PurchaseResubmitted)
    assert (again.policy, again.attempt) == ("resubmit", 1)


def test_w23_it_is_resubmitted_three_times_ever_more_slowly_then_it_rests_uncertain() -> None:
    happened: list[Event] = [opened()]
    waits: list[int] = []
    for attempt in range(1, len(RESUBMIT_WAITS_US) + 1):
        happened += [intended(attempt), *when([*happened, intended(attempt)], LosePurchase(ordinal=0, attempt=attempt))]
        (effect,) = asked(*happened).values()
        assert (effect.id, effect.intended) == (f"buy/0/{attempt + 1}", False)
        waits.append(effect.not_before - AT)
    assert all(0.9 * plan <= wait <= 1.1 * plan for wait, plan in zip(waits, RESUBMIT_WAITS_US, strict=True))
    happened.append(intended(4))
    assert when(happened, LosePurchase(ordinal=0, attempt=4)) == [PurchaseLost(ordinal=0, attempt=4)]
    happened.append(PurchaseLost(ordinal=0, attempt=4))
    assert pure.row(fold(*happened)).status == "uncertain"
    (again,) = when(happened, ResubmitRequest())
    assert again == PurchaseResubmitted(ordinal=0, attempt=4, policy="caller")
    (effect,) = asked(*happened, again).values()
    assert (effect.id, effect.not_before) == ("buy/0/5", 0)
    happened += [again, intended(5)]
    (policy,) = when(happened, LosePurchase(ordinal=0, attempt=5))
    assert isinstance(policy, PurchaseResubmitted), "whoever asks again gets the policy again"


# ---------------------------------------------------------------- refusals


def test_a_final_refusal_keeps_what_the_provider_said() -> None:
    refusal = RefusePurchase(0, 1, "context_overflow", "too long", code="context_length_exceeded", status=400)
    (event,) = when(INTENDED, refusal)
    assert event == RequestFailed(code="context_length_exceeded", message=plain("too long"), status=400)
    state = fold(*INTENDED, event)
    assert (state.status, state.code, state.message, state.http_status) == (
        "failed",
        "context_length_exceeded",
        "too long",
        400,
    )
    (event,) = when(INTENDED, RefusePurchase(0, 1, "unsupported", "no"))
    assert isinstance(event, RequestFailed)
    assert event.code == "unsupported", "our word where the provider has none"


def test_a_passing_refusal_waits_as_long_as_the_provider_says() -> None:
    (event,) = when(INTENDED, RefusePurchase(0, 1, "rate_limit", "slowly", retry_after_us=90 * SECOND_US))
    (effect,) = asked(*INTENDED, event).values()
    assert (effect.id, effect.not_before) == ("buy/0/2", AT + 90 * SECOND_US)


def test_patience_ends_after_a_day_and_with_a_deadline_never() -> None:
    passing = RefusePurchase(ordinal=0, attempt=2, kind="server_error", message="m", status=503)
    for deadline_at, at, expected in (
        (0, AT + PATIENCE_US, PurchaseRefused),
        (0, AT + PATIENCE_US + 1, RequestFailed),
        (AT + 99 * PATIENCE_US, AT + 2 * PATIENCE_US, PurchaseRefused),
    ):
        refused = PurchaseRefused(ordinal=0, attempt=1, reason="server_error", at=AT, retry_at=AT)
        (event,) = when([opened(deadline_at=deadline_at), refused, intended(2)], passing, at)
        assert type(event) is expected


def test_a_blocked_request_is_tried_again_when_somebody_says_so() -> None:
    (event,) = when(BLOCKED, ResumeRequest())
    assert event == PurchaseResumed(ordinal=0, attempt=2)
    (effect,) = asked(*BLOCKED, event).values()
    assert (effect.id, effect.not_before) == ("buy/0/3", 0)


# ---------------------------------------------------------------- leaving


def test_after_a_cancel_nothing_is_sent() -> None:
    for leaving in (PHASES["cancelled"], PHASES["leaving"], PHASES["expired"]):
        with pytest.raises(Superseded):
            when(leaving, IntendPurchase(ordinal=0, attempt=1, identity="i"))


@pytest.mark.parametrize("left", [RequestCancelled(), RequestExpired()], ids=["cancelled", "expired"])
@pytest.mark.parametrize(
    "report",
    [
        LosePurchase(ordinal=0, attempt=1),
        RefusePurchase(ordinal=0, attempt=1, kind="server_error", message="m"),
        RefusePurchase(ordinal=0, attempt=1, kind="auth", message="m"),
        RefusePurchase(ordinal=0, attempt=1, kind="invalid_request", message="m"),
        ANSWER_REPORT,
    ],
    ids=["cannot tell", "refused for now", "blocked", "refused for good", "answered"],
)
def test_what_is_owed_is_settled_and_not_tried_again(left: Event, report: Command) -> None:
    owing = [*INTENDED, left]
    before = pure.row(fold(*owing))
    assert not before.terminal
    after = fold(*owing, *when(owing, report))
    assert (pure.row(after).status, pure.row(after).terminal) == (before.status, True)
    assert (after.answer is not None) == (report is ANSWER_REPORT), "what was paid for is on record"


def test_the_first_answer_counts_and_others_are_recorded() -> None:
    happened: list[Event] = [*INTENDED, *when(INTENDED, LosePurchase(ordinal=0, attempt=1)), intended(2)]
    late = when(happened, Orphan(effect="buy/0/1", report=ANSWER_REPORT))
    happened += late
    state = fold(*happened)
    assert state.status == "answered"
    assert list(asked(*happened)) == ["buy/0/2"], "the second attempt is owed all the same"
    second = Content(4, plain("null"))
    happened += when(happened, NoteAnswered(attempt=2, body=second))
    state = fold(*happened)
    assert (state.answer, state.answered, state.surplus) == (ANSWER, 1, 1)
    assert pure.row(state).terminal
    with pytest.raises(Rejected, match="made no attempt 3"):
        when(happened, NoteAnswered(attempt=3, body=second))
