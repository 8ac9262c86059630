"""What happens to a purchase: anything that costs money or leaves something at a provider.

An operation may make several; `ordinal` numbers them from 0. The identity planted at the provider,
`<log id>-<operation>-<ordinal>`, stays the same over all attempts.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from perdure.events.command import Command
from perdure.events.event import Event
from perdure.events.sealed import Sealed

OnUncertain = Literal["fail", "resubmit"]
"""What to do when it cannot be told whether the provider took a purchase."""


class PurchaseIntended(Event, frozen=True, tag="PurchaseIntended"):
    """The first byte of a purchase is about to leave, at `at` (µs since 1970 UTC). From here on it is owed."""

    ordinal: int
    attempt: int
    identity: str
    at: int


class PurchaseUncertain(Event, frozen=True, tag="PurchaseUncertain"):
    """Bytes left and no answer came that proves anything. `reason` is one line."""

    ordinal: int
    attempt: int
    reason: str


class PurchaseRefused(Event, frozen=True, tag="PurchaseRefused"):
    """Certainly not bought, as was learnt at `at`; it is tried again at `retry_at` (both µs since 1970 UTC).

    `blocked`: it needs somebody who mends a key or a quota.
    """

    ordinal: int
    attempt: int
    reason: str
    at: int
    retry_at: int
    blocked: bool = False
    message: Sealed[str] = Sealed()


class PurchaseAbsent(Event, frozen=True, tag="PurchaseAbsent"):
    """The provider's list, complete back to the intent, does not show it: it will be bought again, as `identity`."""

    ordinal: int
    attempt: int


class PurchaseLost(Event, frozen=True, tag="PurchaseLost"):
    """It cannot be told whether it was bought, and the policy says: do not buy again unless somebody asks for it."""

    ordinal: int
    attempt: int


class PurchaseResubmitted(Event, frozen=True, tag="PurchaseResubmitted"):
    """It could not be told whether it was bought, and the policy or the caller says: buy again, at `retry_at` (µs since
    1970 UTC, 0: at once)."""

    schema: ClassVar[int] = 2

    ordinal: int
    attempt: int
    policy: str
    retry_at: int = 0


class PurchaseResumed(Event, frozen=True, tag="PurchaseResumed"):
    """A blocked purchase is tried again now."""

    ordinal: int
    attempt: int


class DuplicatePurchase(Event, frozen=True, tag="DuplicatePurchase"):
    """More than one thing at the provider carries the identity: the oldest was adopted, `provider_id` is another."""

    ordinal: int
    provider_id: str


PurchaseEvent = (
    PurchaseIntended
    | PurchaseUncertain
    | PurchaseRefused
    | PurchaseAbsent
    | PurchaseLost
    | PurchaseResubmitted
    | PurchaseResumed
    | DuplicatePurchase
)
PURCHASE_EVENTS = (
    PurchaseIntended,
    PurchaseUncertain,
    PurchaseRefused,
    PurchaseAbsent,
    PurchaseLost,
    PurchaseResubmitted,
    PurchaseResumed,
    DuplicatePurchase,
)


class IntendPurchase(Command, frozen=True):
    """Report: the next byte is the first that leaves."""

    ordinal: int
    attempt: int
    identity: str


class DoubtPurchase(Command, frozen=True):
    """Report: bytes left, the outcome is unknown."""

    ordinal: int
    attempt: int
    reason: str


class RefusePurchase(Command, frozen=True):
    """Report: certainly not bought. `kind` is a refusal kind of the fetch port, or `not_sent`.

    `code` is the provider's own for it, "" for none; `status` is its HTTP status, 0 where there was no answer.
    """

    ordinal: int
    attempt: int
    kind: str
    message: str
    retry_after_us: int = 0
    code: str = ""
    status: int = 0


class MissPurchase(Command, frozen=True):
    """Report of a reconcile: surely absent."""

    ordinal: int
    attempt: int


class LosePurchase(Command, frozen=True):
    """Report of a reconcile: it cannot be told."""

    ordinal: int
    attempt: int


class NoteDuplicate(Command, frozen=True):
    """Report of a reconcile: this one carries the identity too."""

    ordinal: int
    provider_id: str
