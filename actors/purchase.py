"""The purchase: the small machine inside every kind that buys. `purchasing` performs it.

    open --intend--> intended --bought--> bought
      ^                  |  \\--doubt--> doubtful --+
      +--refused, absent-+------------------------+--lost--> lost

Whatever ends a purchase that was not bought (a final refusal, a cancel) makes it `over`: the kind's fold says so.
Between intent and outcome a purchase is *owed*: its state asks for an effect with `intended` set, which reconciles
before anything is bought again. The identity stays the same over all attempts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from msgspec import Struct

from perdure.actors.kind import Effect
from perdure.events.command import Command
from perdure.events.errors import Superseded
from perdure.events.event import Event
from perdure.events.purchase import (
    DoubtPurchase,
    DuplicatePurchase,
    IntendPurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseAbsent,
    PurchaseIntended,
    PurchaseLost,
    PurchaseRefused,
    PurchaseResubmitted,
    PurchaseResumed,
    PurchaseUncertain,
    RefusePurchase,
)
from perdure.events.sealed import plain

SECOND_US = 1_000_000
FIRST_RETRY_US = 1 * SECOND_US
LONGEST_RETRY_US = 60 * SECOND_US
BLOCKED_RETRY_US = 300 * SECOND_US
"""How long a blocked operation waits before it tries on its own; `Resume…` commands try at once."""

CLOCK_MARGIN_US = 7_200 * SECOND_US
"""How far a provider's clock may be behind ours: a reconcile reads its list back to the intent minus this. It is two
hours, for a clock that is an hour wrong one way may be set an hour wrong the other way."""

BLOCKING = frozenset({"auth", "quota_exceeded", "credential_missing"})
RECONCILE_PATIENCE_US = 86_400 * SECOND_US
"""How long a reconcile asks a provider that gives no list before it says that it cannot tell: a batch window, so
that nobody waits for ever. Until then the purchase stays owed."""

PASSING = frozenset({"rate_limit", "server_error", "not_sent", "conflict"})
"""Refusals that may end by themselves; all others are final."""


def jitter(actor: str, effect: str) -> float:
    """A fixed factor between 0.9 and 1.1 for an effect of an actor, so that many actors do not move in step."""
    return 0.9 + hashlib.sha256(f"{actor}\0{effect}".encode()).digest()[0] / 255 * 0.2


class Purchase(Struct):
    """The state of one purchase; owned by its kind's state, changed by `evolve` only. Times are µs since 1970 UTC."""

    ordinal: int
    phase: str = "open"
    attempt: int = 1
    intended_at: int = 0
    retry_at: int = 0
    refused_since: int = 0
    blocked: str = ""

    @property
    def owed(self) -> bool:
        """Whether an intent without an outcome is on record."""
        return self.phase in ("intended", "doubtful")

    def decide(self, actor: str, command: Command, at: int, *, patience_us: int) -> Sequence[Event] | None:
        """The events for a report about this purchase; None when the kind must say what it means: a final refusal.

        Repeats and reports of other attempts give no events.
        """
        attempt = self.attempt
        if isinstance(command, IntendPurchase):
            if command.attempt != attempt or self.phase not in ("open", "intended"):
                raise self.superseded(actor, command.attempt)
            if self.phase == "intended":
                return ()
            return (PurchaseIntended(ordinal=self.ordinal, attempt=attempt, identity=command.identity, at=at),)
        if isinstance(command, NoteDuplicate):
            return (DuplicatePurchase(ordinal=self.ordinal, provider_id=command.provider_id),)
        if isinstance(command, (DoubtPurchase, RefusePurchase, MissPurchase)) and command.attempt != attempt:
            return ()
        if isinstance(command, DoubtPurchase):
            if self.phase != "intended":
                return ()
            return (PurchaseUncertain(ordinal=self.ordinal, attempt=attempt, reason=command.reason),)
        if isinstance(command, MissPurchase):
            return (PurchaseAbsent(ordinal=self.ordinal, attempt=attempt),) if self.owed else ()
        if isinstance(command, RefusePurchase):
            if self.phase not in ("open", "intended"):
                return ()
            blocked = command.kind in BLOCKING
            out_of_patience = bool(self.refused_since) and at - self.refused_since > patience_us
            if not blocked and (command.kind not in PASSING or out_of_patience):
                return None
            growing = min(FIRST_RETRY_US * 2 ** min(attempt - 1, 10), LONGEST_RETRY_US)
            wait = max(int(growing * jitter(actor, f"buy/{attempt}")), command.retry_after_us)
            return (
                PurchaseRefused(
                    ordinal=self.ordinal,
                    attempt=attempt,
                    reason=command.kind,
                    at=at,
                    retry_at=at + (BLOCKED_RETRY_US if blocked else wait),
                    blocked=blocked,
                    message=plain(command.message),
                ),
            )
        return ()

    def evolve(self, event: Event) -> None:
        """Folds one purchase event with this ordinal."""
        if isinstance(event, PurchaseIntended):
            self.phase, self.intended_at, self.blocked = "intended", event.at, ""
        elif isinstance(event, PurchaseUncertain):
            self.phase = "doubtful"
        elif isinstance(event, PurchaseRefused):
            opened = event.message.open()
            self._reopen(event.attempt)
            self.retry_at = event.retry_at
            self.blocked = (f"{event.reason}: {opened}" if isinstance(opened, str) else event.reason) * event.blocked
            # Patience is for refusals that may pass by themselves; while it was blocked somebody else had to act.
            self.refused_since = 0 if event.blocked else self.refused_since or event.at
        elif isinstance(event, PurchaseLost):
            self.phase = "lost"
        elif isinstance(event, (PurchaseAbsent, PurchaseResubmitted)):
            self._reopen(event.attempt)
        elif isinstance(event, PurchaseResumed):
            self._reopen(event.attempt)
            self.retry_at, self.refused_since, self.blocked = 0, 0, ""

    def _reopen(self, attempt: int) -> None:
        self.phase, self.attempt = "open", attempt + 1

    def again(self, retry_at: int = 0) -> None:
        """What was bought is over: it is bought anew, not before `retry_at` (µs since 1970 UTC)."""
        self._reopen(self.attempt)
        self.intended_at, self.refused_since, self.blocked, self.retry_at = 0, 0, "", retry_at

    def end(self) -> None:
        """Nothing more will be bought: it was refused for good, or nobody wants it any more."""
        if self.phase != "bought":
            self.phase, self.blocked = "over", ""

    def superseded(self, actor: str, attempt: int) -> Superseded:
        """What an intent is answered with when nothing may be sent any more."""
        return Superseded(f"attempt {attempt} of {actor} is over: nothing may be sent", field="attempt")

    def effect_id(self) -> str:
        """The id of the effect that the purchase asks for now."""
        verb = "find" if self.phase == "doubtful" else "buy"
        return f"{verb}/{self.ordinal}/{self.attempt}"

    def not_before(self, settle_us: int) -> int:
        """When that effect may start, in µs UTC: a reconcile waits until the provider's list shows what was bought at
        the intent. What took its time and was bought later is found by the second look, see `purchasing`."""
        return self.intended_at + settle_us if self.owed else self.retry_at


class PurchaseEffect(Effect, frozen=True, kw_only=True):
    """What performing a purchase needs to know. `settle_us`: how long the provider's list may not show it yet."""

    ordinal: int
    attempt: int
    since: int = 0
    can_find: bool = True
    settle_us: int = 0
