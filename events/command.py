"""The base of every command: what somebody asks of an actor, or what an effect reports back to it."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class Command(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A command is judged by `decide` and never stored. Ids and everything random travel in it.

    `bought` is True on report types that carry something paid for: such a report is never refused as superseded, it
    reaches `decide` wrapped in an `Orphan` instead.
    """

    bought: ClassVar[bool] = False


class Orphan(Command, frozen=True):
    """A report with something bought, from an effect that the state no longer asks for: adopt it or give it back."""

    effect: str
    report: Command


class Revive(Command, frozen=True):
    """Lets a parked actor go on: its effects are tried again from the start."""
