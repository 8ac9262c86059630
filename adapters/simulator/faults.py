"""Faults: what can be told to go wrong, how often, and what of it is still armed.

A *route fault* is for the next requests to a route; `gate.py` carries it out. A *batch fault* is for the next batches
that are created, or at once for one that exists; so is a *media fault* (see `media/faults.py`). All are JSON objects
with the tag `fault`; a field that is not known, a value out of bounds or a route that the simulator does not have is
refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

from perdure.adapters.simulator.batching import Arrange, Arrangement, Complaint, Plan
from perdure.adapters.simulator.clock import Clock
from perdure.adapters.simulator.media.faults import AnyMediaFault, MediaFault, MediaKind, add_media_fault, is_for
from perdure.adapters.simulator.media.operations import Mishap
from perdure.adapters.simulator.rates import RATE_WINDOW_S, Admission, admission
from perdure.adapters.simulator.routes import RoutePattern

Count: TypeAlias = Annotated[int, Meta(ge=1)] | None
"""How many requests or batches; null: all until the faults are cleared."""

Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=86_400)]
Lines: TypeAlias = Annotated[int, Meta(ge=1, le=50_000)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Status: TypeAlias = Annotated[int, Meta(ge=200, le=599)]


class RouteFault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault"):
    """For the next `count` requests that match `route` (see `routes.py`), after letting `skip` of them pass."""

    route: str
    count: Count = 1
    skip: Annotated[int, Meta(ge=0)] = 0


class AnswerStatus(RouteFault, frozen=True, kw_only=True, tag="status"):
    """Answers with this status, headers and body instead; `act`: after doing what was asked.

    A text body is sent as it is, an object or list as JSON; null stands for the provider's usual error body.
    """

    status: Status
    headers: dict[str, str] = {}
    body: dict[str, Any] | list[Any] | str | None = None
    act: bool = False


class Delay(RouteFault, frozen=True, kw_only=True, tag="delay"):
    """Waits `delay_s` seconds of real time before doing anything."""

    delay_s: Seconds


class Drop(RouteFault, frozen=True, kw_only=True, tag="drop"):
    """Cuts the connection without doing what was asked."""


class ActThenDrop(RouteFault, frozen=True, kw_only=True, tag="act_then_drop"):
    """Does what was asked and cuts the connection instead of answering."""


class Hold(RouteFault, frozen=True, kw_only=True, tag="hold"):
    """Does what was asked and keeps the answer back until it is released; `act` false: waits before doing it."""

    act: bool = True


class Truncate(RouteFault, frozen=True, kw_only=True, tag="truncate"):
    """Cuts the answer's body after `after_bytes`. `clean`: under a matching content length, so that HTTP cannot tell.

    `silent`: the connection stays open and nothing more comes, until it is released.
    """

    after_bytes: Annotated[int, Meta(ge=0)]
    clean: bool = False
    silent: bool = False


class CutRequest(RouteFault, frozen=True, kw_only=True, tag="cut_request"):
    """Cuts the connection when `after_bytes` of the request's body have come; what the route made of them stays."""

    after_bytes: Annotated[int, Meta(ge=0)]


class WrongContentType(RouteFault, frozen=True, kw_only=True, tag="wrong_content_type"):
    """Answers with another content type, and with `body` if there is one."""

    content_type: str = "text/html"
    body: str | None = None


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault", tag="rate"):
    """At most `per_s` requests in any second of its clock; more get 429 and `Retry-After`, until cleared."""

    route: str
    per_s: Annotated[int, Meta(ge=1)]


class BatchFault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault"):
    """For the next `count` batches that are accepted; `batch`: at once for the one with this id."""

    count: Count = 1
    batch: str = ""


class Stuck(BatchFault, frozen=True, kw_only=True, tag="stuck"):
    """Stays in this status, with this share of its lines done, until it is cancelled or 24 hours have passed."""

    status: Annotated[str, Meta(pattern="^(validating|in_progress|finalizing)$")] = "in_progress"
    done: Share = 0.5


class ExpireNow(BatchFault, frozen=True, kw_only=True, tag="expire_now"):
    """Expires, with this share of its lines done at most: now, or, not yet made, half-way through its time."""

    done: Share = 0.5


class Cancelled(BatchFault, frozen=True, kw_only=True, tag="cancelled"):
    """Is cancelled by the provider, with this share of its lines done at most: now, or half-way through its time."""

    done: Share = 0.5


class FailValidation(BatchFault, frozen=True, kw_only=True, tag="fail_validation"):
    """Ends as `failed` with this error."""

    code: str = "token_limit_exceeded"
    message: str = "This batch was made to fail."
    line: int | None = None


class FailLines(BatchFault, frozen=True, kw_only=True, tag="fail_lines"):
    """This many lines go to the error file, with this status."""

    lines: Lines
    status: Annotated[int, Meta(ge=400, le=599)] = 500


class Shuffled(BatchFault, frozen=True, kw_only=True, tag="shuffled"):
    """Writes the output in another order than the input's."""


class Missing(BatchFault, frozen=True, kw_only=True, tag="missing"):
    """Leaves this many lines out of the output, and counts them all the same."""

    lines: Lines = 1


class Duplicate(BatchFault, frozen=True, kw_only=True, tag="duplicate"):
    """Writes this many lines twice, the second time with another text."""

    lines: Lines = 1


class Extra(BatchFault, frozen=True, kw_only=True, tag="extra"):
    """Adds this many lines with ids that were never asked for: `extra-1`, …"""

    lines: Lines = 1


class Garbled(BatchFault, frozen=True, kw_only=True, tag="garbled"):
    """Cuts this many lines in half, so that they are no JSON."""

    lines: Lines = 1


class OnlyErrorFile(BatchFault, frozen=True, kw_only=True, tag="only_error_file"):
    """Every line fails: `completed` with an error file and no output file."""


class CompletedWithoutFile(BatchFault, frozen=True, kw_only=True, tag="completed_without_file"):
    """Ends as `completed` with neither file."""


class EmptyIds(BatchFault, frozen=True, kw_only=True, tag="empty_ids"):
    """Gives file ids that are not there as empty text instead of null."""


class Keyless(BatchFault, frozen=True, kw_only=True, tag="keyless"):
    """Shows results that stand in the batch itself (Google) without the keys of their requests, in their order."""


class Unlisted(BatchFault, frozen=True, kw_only=True, tag="unlisted"):
    """Is in no list for its first `for_s` seconds; it can be read by id. Only for batches that are not yet made."""

    for_s: Seconds


class Unseen(BatchFault, frozen=True, kw_only=True, tag="unseen"):
    """Cannot be read by id for its first `for_s` seconds: 404; lists show it. Anthropic alone does so.

    Only for batches that are not yet made.
    """

    for_s: Seconds


AnyBatchFault: TypeAlias = (
    Stuck
    | ExpireNow
    | Cancelled
    | FailValidation
    | FailLines
    | Shuffled
    | Missing
    | Duplicate
    | Extra
    | Garbled
    | OnlyErrorFile
    | CompletedWithoutFile
    | EmptyIds
    | Keyless
    | Unlisted
    | Unseen
)
AnyRouteFault: TypeAlias = AnswerStatus | Delay | Drop | ActThenDrop | Hold | Truncate | CutRequest | WrongContentType


class FailProcessing(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault", tag="fail_processing"
):
    """The next `count` files at a provider that processes what it was sent (Google) end as failed, with this error."""

    count: Count = 1
    message: str = "This file was made to fail."


Fault: TypeAlias = AnyRouteFault | Rate | AnyBatchFault | FailProcessing | AnyMediaFault


class ExpireFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault", tag="expire_file"):
    """Ends the time of the file with this id, at any provider, at once. It is never armed."""

    file: str


class Armed(Struct, frozen=True):
    """A fault that is armed. `left` is how often it will still strike (null: always), `struck` how often it did."""

    id: str
    fault: Fault
    left: int | None
    struck: int


class _Slot:
    """One armed fault and its counts."""

    def __init__(self, id_: str, fault: Fault) -> None:
        self.id = id_
        self.fault = fault
        self.left = None if isinstance(fault, Rate) else fault.count
        self.skip = fault.skip if isinstance(fault, RouteFault) else 0
        self.struck = 0
        self.pattern = RoutePattern(fault.route) if isinstance(fault, RouteFault | Rate) else None
        self.taken_at: deque[float] = deque()

    def strike(self) -> bool:
        """Counts one request or batch; whether the fault strikes it."""
        if self.skip:
            self.skip -= 1
            return False
        self.struck += 1
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """The armed faults of one simulator. Not kept over a restart."""

    def __init__(self, clock: Clock, routes: Sequence[tuple[str, str]]) -> None:
        self._clock = clock
        self._routes = routes
        self._slots: list[_Slot] = []
        self._armed = 0

    def arm(self, *faults: Fault) -> list[Armed]:
        """Arms faults, behind those that are armed already. Raises `ValueError` for a route that does not exist."""
        slots = [_Slot(f"fault-{self._armed + n}", fault) for n, fault in enumerate(faults, start=1)]
        for slot in slots:
            if slot.pattern is not None and not slot.pattern.could_match(self._routes):
                raise ValueError(f"the simulator has no route that {slot.pattern.text!r} matches")
        self._armed += len(slots)
        self._slots += slots
        return [_show(slot) for slot in slots]

    def armed(self) -> list[Armed]:
        """All that is armed, oldest first."""
        return [_show(slot) for slot in self._slots]

    def clear(self) -> None:
        """Disarms everything. What has already struck a batch stays with that batch."""
        self._slots.clear()

    def take(self, method: str, path: str) -> AnyRouteFault | None:
        """The fault that strikes this request: the oldest one that matches and lets no more pass."""
        for slot in self._slots:
            if isinstance(slot.fault, RouteFault) and slot.pattern and slot.pattern.matches(method, path):
                strikes = slot.strike()
                self._drop_spent()
                if strikes:
                    return slot.fault
        return None

    def admit(self, method: str, path: str) -> Admission | None:
        """Counts a request against the armed rates, and says how it stands with the tightest; None: there is none."""
        now = self._clock.now()
        tightest: Admission | None = None
        counted: list[_Slot] = []
        for slot in self._slots:
            if not isinstance(slot.fault, Rate) or slot.pattern is None or not slot.pattern.matches(method, path):
                continue
            while slot.taken_at and slot.taken_at[0] <= now - RATE_WINDOW_S:
                slot.taken_at.popleft()
            left = slot.fault.per_s - len(slot.taken_at)
            if left <= 0:
                slot.struck += 1
                return admission(slot.fault.per_s, slot.taken_at, now, admitted=False)
            if tightest is None or left - 1 < tightest.remaining:
                tightest = admission(slot.fault.per_s, [*slot.taken_at, now], now, admitted=True)
            counted.append(slot)
        for slot in counted:
            slot.taken_at.append(now)
        return tightest

    def arrange(self, plan: Plan) -> Arrangement:
        """What shall go wrong with the batch that is accepted now."""
        arrangement = Arrangement(plan)
        for slot in list(self._slots):
            if isinstance(slot.fault, BatchFault) and slot.strike():
                arrangement = add_batch_fault(arrangement, slot.fault)
        self._drop_spent()
        return arrangement

    def arrange_media(self, kind: MediaKind) -> Mishap:
        """What shall go wrong with the image, recording or video that is bought now."""
        mishap = Mishap()
        for slot in list(self._slots):
            if isinstance(slot.fault, MediaFault) and is_for(slot.fault, kind) and slot.strike():
                mishap = add_media_fault(mishap, slot.fault)
        self._drop_spent()
        return mishap

    def arrange_file(self) -> FailProcessing | None:
        """What shall go wrong with the file that is stored now."""
        for slot in self._slots:
            if isinstance(slot.fault, FailProcessing):
                slot.strike()
                self._drop_spent()
                return slot.fault
        return None

    def _drop_spent(self) -> None:
        self._slots = [slot for slot in self._slots if slot.left != 0]


def add_batch_fault(to: Arrangement, fault: AnyBatchFault) -> Arrangement:
    """An arrangement with one more fault."""
    plan = to.plan
    match fault:
        case Stuck():
            done = {"validating": 0.0, "finalizing": 1.0}.get(fault.status, fault.done)
            return replace(to, plan=replace(plan, stuck=fault.status, done=done))
        case ExpireNow():
            return replace(to, plan=replace(plan, stuck="in_progress", done=fault.done), expires=True)
        case Cancelled():
            return replace(to, plan=replace(plan, stuck="in_progress", done=fault.done), cancels=True)
        case FailValidation():
            return replace(to, plan=replace(plan, fail=Complaint(fault.code, fault.message, fault.line)))
        case FailLines():
            return replace(to, plan=replace(plan, failing=fault.lines, failing_status=fault.status))
        case Shuffled():
            return replace(to, plan=replace(plan, shuffled=True))
        case Missing():
            return replace(to, plan=replace(plan, missing=fault.lines))
        case Duplicate():
            return replace(to, plan=replace(plan, duplicate=fault.lines))
        case Extra():
            return replace(to, plan=replace(plan, extra=fault.lines))
        case Garbled():
            return replace(to, plan=replace(plan, garbled=fault.lines))
        case OnlyErrorFile():
            return replace(to, plan=replace(plan, only_error_file=True))
        case CompletedWithoutFile():
            return replace(to, plan=replace(plan, no_files=True))
        case EmptyIds():
            return replace(to, plan=replace(plan, empty_ids=True))
        case Keyless():
            return replace(to, plan=replace(plan, keyless=True))
        case Unlisted():
            return replace(to, unlisted_s=fault.for_s)
        case Unseen():
            return replace(to, plan=replace(plan, unseen_s=fault.for_s))


def arranger(fault: AnyBatchFault) -> Arrange:
    """Adds one fault to a plan, for a batch that exists."""
    return lambda plan: add_batch_fault(Arrangement(plan), fault)


def _show(slot: _Slot) -> Armed:
    return Armed(slot.id, slot.fault, slot.left, slot.struck)


def tag_of(fault: Fault) -> str:
    """What a fault is called in JSON."""
    return str(fault.__struct_config__.tag)
