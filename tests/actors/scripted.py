"""A kind whose effects a test writes itself, and a log that fails when a test tells it to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

import trio
from msgspec import Struct, field

from perdure.actors.kind import NO_INDEX, Again, Effect, Index, Port, Row
from perdure.actors.lane import Lane
from perdure.events.codec import Codec
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.supervision import SUPERVISION_EVENTS
from perdure.store.records import Append, Appended, ItemRow


class Wanted(Event, frozen=True, tag="script.Wanted"):
    """An effect is asked for from now on."""

    id: str
    not_before: int = 0
    lane: str = ""
    purchase: bool = False
    searchable: bool = False


class Unwanted(Event, frozen=True, tag="script.Unwanted"):
    """An effect is not asked for any more."""

    id: str


class Meant(Event, frozen=True, tag="script.Meant"):
    """A purchase has its intent on record."""

    id: str


class Said(Event, frozen=True, tag="script.Said"):
    """Something was said; it changes nothing of what is asked for."""

    text: str
    items: Sequence[int] = ()


class Want(Command, frozen=True):
    id: str
    not_before: int = 0
    lane: str = ""
    purchase: bool = False
    searchable: bool = False


class Unwant(Command, frozen=True):
    id: str


class Mean(Command, frozen=True):
    id: str


class Say(Command, frozen=True):
    """Refused when `text` was said before; raises a bug for "bug", folds badly for "poison"."""

    text: str
    items: Sequence[int] = ()


class Hand(Command, frozen=True):
    """A report that carries something bought."""

    bought: ClassVar[bool] = True

    text: str


class Script(Struct):
    """What is asked for, and what was said."""

    wanted: dict[str, Effect] = field(default_factory=dict[str, Effect])
    said: list[str] = field(default_factory=list[str])


Act = Callable[[Effect, Port], Awaitable[Again | None]]


class Scripts:
    """Effects do what `acts` says under their id; an effect without an act ends silently."""

    name = "script"
    codec: Codec[Event] = Codec("script", (Wanted, Unwanted, Meant, Said, *SUPERVISION_EVENTS))

    def __init__(self, acts: Mapping[str, Act] | None = None, *, fold: int = 1) -> None:
        self.fold = fold
        self.acts = dict(acts or {})
        self.started: list[str] = []
        self.weighs = 1_000

    def initial(self, actor: str, tenant: str) -> Script:
        return Script()

    def decide(self, state: Script, command: Command, at: int) -> Sequence[Event]:
        match command:
            case Want():
                return (
                    Wanted(
                        id=command.id,
                        not_before=command.not_before,
                        lane=command.lane,
                        purchase=command.purchase,
                        searchable=command.searchable,
                    ),
                )
            case Unwant():
                return (Unwanted(id=command.id),)
            case Mean():
                return (Meant(id=command.id),)
            case Say():
                if command.text == "bug":
                    raise ZeroDivisionError("a bug in decide")
                if command.text in state.said:
                    raise Rejected(f"{command.text!r} was said", field="text")
                return (Said(text=command.text, items=command.items),)
            case Hand():
                return (Said(text=command.text),)
            case Orphan(report=Hand() as report):
                return (Said(text=f"orphan of {command.effect}: {report.text}"),)
            case _:
                raise Rejected(f"a script knows no {type(command).__name__}", field="command")

    def evolve(self, state: Script, event: Event) -> Script:
        match event:
            case Wanted():
                state.wanted[event.id] = Effect(
                    id=event.id,
                    not_before=event.not_before,
                    lane=Lane("", event.lane, "", "script"),
                    purchase=event.purchase,
                    searchable=event.searchable,
                )
            case Unwanted():
                state.wanted.pop(event.id, None)
            case Meant():
                was = state.wanted[event.id]
                state.wanted[event.id] = Effect(
                    id=was.id, lane=was.lane, purchase=True, intended=True, searchable=was.searchable
                )
            case Said():
                if event.text == "poison":
                    raise ZeroDivisionError("a bug in evolve")
                state.said.append(event.text)
            case _:
                pass
        return state

    def effects(self, state: Script) -> Sequence[Effect]:
        return tuple(state.wanted.values())

    def row(self, state: Script) -> Row:
        return Row(status="done" if "done" in state.said else "open", terminal="done" in state.said)

    def index(self, event: Event) -> Index:
        if isinstance(event, Said) and event.items:
            return Index([ItemRow(number, "", "ok", "", 0, 0) for number in event.items])
        return NO_INDEX

    def weight(self, state: Script) -> int:
        return self.weighs

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        self.started.append(effect.id)
        act = self.acts.get(effect.id)
        return None if act is None else await act(effect, port)


class TestLog:
    """A log that fails its appends with `errors`, one after the other, then with `always`; and waits for `gate`."""

    __test__ = False

    def __init__(self, log: Any) -> None:
        self.real = log
        self.errors: list[Exception] = []
        self.always: Exception | None = None
        self.gate: trio.Event | None = None
        self.appends: list[Append] = []
        """Every append that was tried, in order."""
        self.loads: list[Sequence[str]] = []
        self.load_errors: list[Exception] = []
        self.hints: list[tuple[str, int]] = []
        self.due_instead: Callable[..., Awaitable[Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def append(self, append: Append) -> Appended:
        self.appends.append(append)
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if self.always is not None:
            raise self.always
        appended: Appended = await self.real.append(append)
        return appended

    async def load(self, actors: Sequence[str], **bounds: Any) -> Any:
        self.loads.append(actors)
        if self.load_errors:
            raise self.load_errors.pop(0)
        return await self.real.load(actors, **bounds)

    async def resume(self, actors: Sequence[str], *, folds: Mapping[str, int]) -> Any:
        self.loads.append(actors)
        if self.load_errors:
            raise self.load_errors.pop(0)
        return await self.real.resume(actors, folds=folds)

    async def due(self, **bounds: Any) -> Any:
        return await (self.due_instead or self.real.due)(**bounds)

    def move_due(self, actor: str, next_due: int) -> None:
        self.hints.append((actor, next_due))
        self.real.move_due(actor, next_due)
