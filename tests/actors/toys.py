"""Two toy kinds on fake ports, small enough to see through: a counter, and an order that buys one thing.

They exist to test the runtime: nothing here is a product's concern.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import trio
from msgspec import Struct

from perdure.actors.kind import NO_INDEX, Again, Effect, Index, Port, Row
from perdure.actors.lane import Lane
from perdure.events.codec import Codec
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.supervision import SUPERVISION_EVENTS
from perdure.store.crash_points import crash_point
from perdure.store.records import ItemRow


class Added(Event, frozen=True, tag="toy.Added"):
    """The counter grew."""

    amount: int


class Add(Command, frozen=True):
    """Lets the counter grow; amounts below one are refused."""

    amount: int


class Counted(Struct):
    """How far the counter is."""

    total: int = 0


class Counters:
    """A kind without effects: commands become events and that is all."""

    name = "counter"
    fold = 1
    codec: Codec[Event] = Codec("counter", (Added, *SUPERVISION_EVENTS))

    def initial(self, actor: str, tenant: str) -> Counted:
        return Counted()

    def decide(self, state: Counted, command: Command, at: int) -> Sequence[Event]:
        assert isinstance(command, Add)
        if command.amount < 1:
            raise Rejected(f"amount {command.amount} is below 1", field="amount", limit=1, value=command.amount)
        return (Added(amount=command.amount),)

    def evolve(self, state: Counted, event: Event) -> Counted:
        if isinstance(event, Added):
            state.total += event.amount
        return state

    def effects(self, state: Counted) -> Sequence[Effect]:
        return ()

    def row(self, state: Counted) -> Row:
        return Row(status="running", progress=str(state.total))

    def index(self, event: Event) -> Index:
        return Index((ItemRow(event.amount, "", "ok", "", 0, 0),)) if isinstance(event, Added) else NO_INDEX

    def weight(self, state: Counted) -> int:
        return 100

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        raise AssertionError("a counter asks for nothing")


class Ordered(Event, frozen=True, tag="toy.Ordered"):
    """Somebody wants the thing."""

    what: str


class Noted(Event, frozen=True, tag="toy.Noted"):
    """Something was written beside the order: it changes nothing of what is asked for."""

    text: str


class Intended(Event, frozen=True, tag="toy.Intended"):
    """The purchase is about to be sent."""

    attempt: int


class Absent(Event, frozen=True, tag="toy.Absent"):
    """The shop does not know the identity."""

    attempt: int


class Bought(Event, frozen=True, tag="toy.Bought"):
    """The shop has it, under its own number."""

    receipt: str


class Arrived(Event, frozen=True, tag="toy.Arrived"):
    """The thing is here."""

    receipt: str


class CancelWanted(Event, frozen=True, tag="toy.CancelWanted"):
    """Nobody wants it any more."""


class Returned(Event, frozen=True, tag="toy.Returned"):
    """It went back to the shop."""


class Order(Command, frozen=True):
    what: str


class Note(Command, frozen=True):
    text: str


class Cancel(Command, frozen=True):
    """Nobody wants it any more."""


class Intend(Command, frozen=True):
    attempt: int


class Miss(Command, frozen=True):
    attempt: int


class Buy(Command, frozen=True):
    bought: ClassVar[bool] = True

    receipt: str


class Arrive(Command, frozen=True):
    receipt: str


class Return(Command, frozen=True):
    """It went back."""


class OrderState(Struct):
    """An order on its way. `phase`: new, open, intended, bought, arrived, cancelled."""

    actor: str
    what: str = ""
    phase: str = "new"
    attempt: int = 1
    receipt: str = ""
    cancel: bool = False
    notes: int = 0


class ToyEffect(Effect, frozen=True, kw_only=True):
    verb: str
    attempt: int = 0
    receipt: str = ""
    what: str = ""


SHOP = Lane("", "shop", "default", "toy")


class Shop:
    """The world outside: it sells by identity, may be made to fail, and keeps an account of all that it sold.

    `alive` is asked first by everything it does: in a crash sweep it raises once the process is dead.
    """

    def __init__(self, alive: Callable[[], None] = lambda: None) -> None:
        self.alive = alive
        self.account: list[tuple[str, str]] = []
        self.returned: list[str] = []
        self.polls_until_arrival = 2
        self.polls: dict[str, int] = {}
        self.failures: list[Exception] = []
        self.poll_failures: list[Exception] = []
        self.poll_after_s = 30.0
        self.answer_s = 0.0
        """How long a sale takes to be answered, after it was made."""
        self.inside = 0
        self.most_inside = 0
        """How many effects were with the shop at a time, at the most."""

    async def sell(self, identity: str, what: str) -> str:
        await trio.lowlevel.checkpoint()
        self.alive()
        if self.failures:
            raise self.failures.pop(0)
        self.account.append((identity, what))
        receipt = f"receipt-{len(self.account)}"
        crash_point("send.after_last_byte", "order")
        await self._answer()
        return receipt

    async def find(self, identity: str) -> str | None:
        await trio.lowlevel.checkpoint()
        self.alive()
        numbers = [number for number, (known, _) in enumerate(self.account, 1) if known == identity]
        return f"receipt-{numbers[0]}" if numbers else None

    async def arrived(self, receipt: str) -> bool:
        await trio.lowlevel.checkpoint()
        self.alive()
        if self.poll_failures:
            raise self.poll_failures.pop(0)
        self.polls[receipt] = self.polls.get(receipt, 0) + 1
        return self.polls[receipt] >= self.polls_until_arrival

    async def take_back(self, receipt: str) -> None:
        await trio.lowlevel.checkpoint()
        self.alive()
        if receipt not in self.returned:
            self.returned.append(receipt)

    async def _answer(self) -> None:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await trio.sleep(self.answer_s)
        finally:
            self.inside -= 1
        self.alive()


class Orders:
    """A kind that buys: intent, purchase, polling, cancel. Its ports are a `Shop`."""

    name = "order"
    fold = 1
    codec: Codec[Event] = Codec(
        "order",
        (Ordered, Noted, Intended, Absent, Bought, Arrived, CancelWanted, Returned, *SUPERVISION_EVENTS),
    )

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def initial(self, actor: str, tenant: str) -> OrderState:
        return OrderState(actor=actor)

    def decide(self, state: OrderState, command: Command, at: int) -> Sequence[Event]:
        match command:
            case Order():
                if state.phase != "new" and state.what != command.what:
                    raise Rejected(f"{state.actor} is an order of {state.what!r}", field="what")
                return (Ordered(what=command.what),) if state.phase == "new" else ()
            case Note():
                return (Noted(text=command.text),)
            case Cancel():
                if state.cancel or state.phase in ("new", "arrived", "cancelled"):
                    return ()
                return (CancelWanted(),)
            case Intend():
                if state.phase != "open" or command.attempt != state.attempt:
                    raise Rejected("this attempt is over", field="attempt")
                return (Intended(attempt=command.attempt),)
            case Miss():
                return (Absent(attempt=command.attempt),) if state.phase == "intended" else ()
            case Buy():
                return (Bought(receipt=command.receipt),) if state.phase == "intended" else ()
            case Orphan():
                return (Noted(text=f"orphan of {command.effect}"),)
            case Arrive():
                return (Arrived(receipt=command.receipt),) if state.phase == "bought" else ()
            case Return():
                return (Returned(),) if state.phase == "bought" else ()
            case _:
                raise Rejected(f"an order knows no {type(command).__name__}", field="command")

    def evolve(self, state: OrderState, event: Event) -> OrderState:
        match event:
            case Ordered():
                state.what, state.phase = event.what, "open"
            case Noted():
                state.notes += 1
            case Intended():
                state.phase = "intended"
            case Absent():
                state.phase, state.attempt = "open", state.attempt + 1
            case Bought():
                state.phase, state.receipt = "bought", event.receipt
            case Arrived():
                state.phase = "arrived"
            case CancelWanted():
                state.cancel = True
            case Returned():
                state.phase = "cancelled"
            case _:
                pass
        if state.cancel and state.phase == "open":
            state.phase = "cancelled"
        return state

    def effects(self, state: OrderState) -> Sequence[Effect]:
        if state.phase in ("open", "intended"):
            return (
                ToyEffect(
                    id=f"buy/{state.attempt}",
                    lane=SHOP,
                    purchase=True,
                    intended=state.phase == "intended",
                    verb="buy",
                    attempt=state.attempt,
                    what=state.what,
                ),
            )
        if state.phase == "bought":
            verb = "return" if state.cancel else "poll"
            return (ToyEffect(id=f"{verb}/{state.receipt}", lane=SHOP, verb=verb, receipt=state.receipt),)
        return ()

    def row(self, state: OrderState) -> Row:
        return Row(status=state.phase, terminal=state.phase in ("arrived", "cancelled"), provider="shop")

    def index(self, event: Event) -> Index:
        return NO_INDEX

    def weight(self, state: OrderState) -> int:
        return 200

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        assert isinstance(effect, ToyEffect)
        identity = f"identity-{port.actor}-0"
        match effect.verb:
            case "buy" if effect.intended:
                receipt = await self.shop.find(identity)
                await port.report(Miss(attempt=effect.attempt) if receipt is None else Buy(receipt=receipt))
            case "buy":
                crash_point("send.before", self.name)
                await port.report(Intend(attempt=effect.attempt))
                receipt = await self.shop.sell(identity, effect.what)
                crash_point("answer.received", self.name)
                await port.report(Buy(receipt=receipt))
            case "poll":
                if not await self.shop.arrived(effect.receipt):
                    return Again(self.shop.poll_after_s)
                await port.report(Arrive(receipt=effect.receipt))
            case _:
                await self.shop.take_back(effect.receipt)
                await port.report(Return())
        return None
