"""Commands and events drawn at random for the properties of both kinds: the whole union, likely and unlikely values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args, get_origin

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from perdure.actors.batch.state import CODEC as BATCH_CODEC
from perdure.actors.provider_file.state import CODEC as FILE_CODEC
from perdure.actors.purchase import SECOND_US
from perdure.events import batch as batch_module
from perdure.events import provider_file as file_module
from perdure.events import purchase as purchase_module
from perdure.events.batch import (
    CancelBatch,
    CancelLines,
    CloseBatch,
    CollectLines,
    DiscardBatch,
    FileBlocked,
    LineNote,
    OpenBatch,
    Part,
    Problem,
    ResubmitBatch,
    ResumeBatch,
    Settlement,
    TakeResults,
)
from perdure.events.command import Command, Orphan
from perdure.events.cost import Cost, Tariff
from perdure.events.event import Event
from perdure.events.file_warnings import FileWarning
from perdure.events.provider_file import ResumeUpload, WithdrawUpload
from perdure.events.requests import Usage
from perdure.events.sealed import plain
from perdure.events.supervision import SUPERVISION_EVENTS
from tests.actors.batch.given import open_batch
from tests.actors.living import EPOCH_US
from tests.actors.resolving.given import WARNINGS

COMMANDS: Final[tuple[type[Command], ...]] = tuple(
    value
    for module in (batch_module, file_module, purchase_module)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Command) and value is not Command
)
"""Every command of both kinds."""

KIND_EVENTS: Final[Mapping[str, frozenset[type[Event]]]] = {
    "batch": frozenset(BATCH_CODEC.current) - frozenset(SUPERVISION_EVENTS),
    "provider_file": frozenset(FILE_CODEC.current) - frozenset(SUPERVISION_EVENTS),
}
"""Every event that a kind may write; the runtime's own are folded elsewhere."""

LINES_AT_MOST: Final = 6
_PROVIDER_IDS = ("p-1", "p-2", "p-3")
_BLOB = "b" * 64
COST: Final = Cost(provider="openai", model="m", credential="default", tier="batch", amount=7, source="provider")

small: SearchStrategy[int] = st.integers(-1, LINES_AT_MOST)
times: SearchStrategy[int] = st.integers(0, 40).map(lambda hours: EPOCH_US + hours * 3_600 * SECOND_US)
spans: SearchStrategy[int] = st.sampled_from([0, SECOND_US, 86_400 * SECOND_US])

_FIELDS: Final[Mapping[str, SearchStrategy[Any]]] = {
    "part": st.integers(0, 2) | st.just(-1),
    "ordinal": st.integers(0, 2) | st.just(-1),
    "attempt": st.integers(1, 3),
    "kind": st.sampled_from(
        ["auth", "quota_exceeded", "credential_missing", "rate_limit", "server_error", "not_sent", "invalid_request"]
    ),
    "reason": st.sampled_from(["caller", "deadline"]),
    "status": st.sampled_from(["completed", "failed", "expired", "cancelled"]),
    "on_uncertain": st.sampled_from(["fail", "resubmit"]),
    "provider_batch": st.sampled_from(_PROVIDER_IDS),
    "provider_id": st.sampled_from(_PROVIDER_IDS),
    "sources": st.lists(st.sampled_from(["out", "err"]), max_size=2, unique=True),
    "problems": st.lists(st.builds(Problem, st.just("code"), st.just(plain("m")), small), max_size=2),
    "parts": st.lists(st.builds(Part, small, small, st.just(10)), max_size=3),
    "settlements": st.lists(
        st.builds(
            Settlement, st.just("c"), st.lists(st.tuples(small, small), max_size=2), st.just(_BLOB), small, small
        ),
        max_size=2,
    ),
    "segments": st.lists(st.tuples(st.just(_BLOB), st.just(10)), max_size=2),
    "ranges": st.lists(st.tuples(small, small), max_size=2),
    "owner_kind": st.just("batch"),
    "tags": st.just({}),
    "notes": st.lists(st.builds(LineNote, small, key=st.sampled_from(["", "k"]), deadline_at=times), max_size=2),
    "late": st.sampled_from(["", "cancelled", "expired"]),
    "until": times,
    "minimum": st.sampled_from([0, 3]),
    "own": st.dictionaries(small, st.just((0, 1)), max_size=2),
    "at": times,
    "retry_at": times,
    "close_at": times | st.just(0),
    "deadline_at": times | st.just(0),
    "window_us": spans,
    "patience_us": spans,
    "settle_us": spans,
    "hint_us": spans,
    "max_lines": st.sampled_from([2, 4, 50_000]),
    "max_bytes": st.sampled_from([25, 200_000_000]),
    "provider": st.just("openai"),
    "endpoint": st.just("/v1/responses"),
    "model": st.just("m"),
    "credential": st.just("default"),
    "blob": st.just(_BLOB),
    "cost": st.sampled_from([None, COST]),
    "costs": st.just(()) | st.lists(st.sampled_from([None, COST]), max_size=4),
    "rates": st.sampled_from([None, Tariff(input=5)]),
    "usage": st.sampled_from([None, Usage(input_tokens=3)]),
    "units": st.none(),
    "warnings": st.sampled_from([(), WARNINGS]),
}


def struct(kind: type[Any], **fixed: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Values of a struct: named fields as above, others by their type."""
    fields: dict[str, SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(kind):
        if field.name in fixed:
            fields[field.name] = fixed[field.name]
        elif _is_drawn_by_name(field):
            fields[field.name] = _FIELDS[field.name]
        else:
            fields[field.name] = _by_type(field.type)
    return st.builds(kind, **fields)


def _is_drawn_by_name(field: msgspec.structs.FieldInfo) -> bool:
    literal = get_origin(field.type) is Literal and field.name == "reason"
    sealed = "Sealed" in str(field.type)
    return field.name in _FIELDS and not literal and not sealed and (field.name, field.type) != ("status", int)


def _by_type(type_: Any) -> SearchStrategy[Any]:
    name = str(type_)
    if type_ is int:
        return small
    if type_ == int | None:
        return st.none() | small
    if get_origin(type_) is Literal:
        return st.sampled_from(get_args(type_))
    if type_ is bool:
        return st.booleans()
    if type_ is str:
        return st.sampled_from(["", "x"])
    if "Sealed" in name:
        return st.just(plain("said"))
    if "Sequence[int]" in name:
        return st.lists(small, max_size=4)
    if "Sequence[str]" in name:
        return st.lists(st.sampled_from(["a", "b", "c"]), max_size=4)
    raise TypeError(f"nothing draws a {name}")


def _in_step(kind: type[Any], *names: str) -> SearchStrategy[Any]:
    """Values whose sequences mostly have one length, as their senders keep it."""

    def whole(length: int) -> SearchStrategy[Any]:
        return struct(
            kind, **{name: st.lists(st.integers(0, LINES_AT_MOST), min_size=length, max_size=length) for name in names}
        )

    return st.integers(0, 4).flatmap(whole)


def _collect(first: int, count: int, warnings: Sequence[FileWarning] = ()) -> CollectLines:
    """A run of lines, each second one with a deadline and a key."""
    names = [f"r-{number}" for number in range(first, first + count)]
    notes = [
        LineNote(number, key=f"k-{number}", deadline_at=EPOCH_US + (1 + number % 4) * 3_600 * SECOND_US)
        for number in range(first, first + count, 2)
    ]
    return CollectLines(first=first, blob=_BLOB, names=names, lengths=[10] * count, notes=notes, warnings=warnings)


def _command(kind: type[Command]) -> SearchStrategy[Command]:
    if kind is TakeResults:
        drawn: SearchStrategy[Command] = _in_step(TakeResults, "numbers", "offsets", "lengths") | struct(TakeResults)
        return drawn
    if kind is CollectLines:
        return st.builds(_collect, st.sampled_from([0, 2, 4]), st.sampled_from([2, 2, 0])) | struct(CollectLines)
    if kind is OpenBatch:
        return struct(OpenBatch, searchable=st.just(True))
    return struct(kind)


_BOUGHT = [struct(kind) for kind in COMMANDS if kind.bought]
commands: SearchStrategy[Command] = st.one_of(
    *(_command(kind) for kind in COMMANDS),
    st.builds(Orphan, effect=st.just("buy/0/1"), report=st.one_of(*_BOUGHT)),
)
"""Anything that anybody may send to anybody."""


ASKED_BY_PEOPLE: Final[Mapping[str, Sequence[Command]]] = {
    "batch": [
        open_batch(max_lines=2),
        _collect(0, 2, WARNINGS),
        _collect(2, 2),
        CancelBatch(),
        CancelLines([1]),
        CancelLines([0, 3], "deadline"),
        CloseBatch(),
        ResubmitBatch(),
        DiscardBatch("bad"),
        FileBlocked(0, "no key"),
    ],
    "provider_file": [WithdrawUpload(), ResumeUpload()],
}
"""What people, and the actor that owns another, say without having been asked."""


RESUMING: Final[Mapping[str, Sequence[Command]]] = {
    "batch": [ResumeBatch(), CancelBatch(), CancelLines([0])],
    "provider_file": [ResumeUpload(), WithdrawUpload()],
}
"""What people say when something is blocked."""


def event_of(kind: type[Event]) -> SearchStrategy[Event]:
    """Any value of an event type, possible or not."""
    drawn: SearchStrategy[Event] = struct(kind)
    return drawn


def events_for(kind: str) -> SearchStrategy[Event]:
    """Any event of a kind's codec."""
    return st.one_of(*(event_of(event) for event in sorted(KIND_EVENTS[kind], key=lambda event: event.__name__)))
