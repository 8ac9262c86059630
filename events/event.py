"""The base of every stored event, and its envelope.

Rules for an event struct, which `tests/events` enforces: a default means "was not recorded", is None, zero or empty and
never changes; fields are only added, each addition raises `schema`; any wider change is a new tag, and the old struct
stays, retired, with an upcaster to the new one (see `codec.py`).
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class Event(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="event"):
    """Something that happened to an actor. Subclasses set `tag` (its name for ever) and `schema`."""

    schema: ClassVar[int] = 1


class EncodedEvent(Struct, frozen=True, gc=False):
    """An event as it is stored: the tag, the schema version and a JSON object. `at` is µs since 1970, UTC."""

    type: str
    schema: int
    at: int
    payload: bytes


class Origin(Struct, frozen=True, gc=False):
    """Who caused an append: trace id, the id of the command or effect behind it, and the principal. Empty: unknown."""

    trace: str = ""
    causation: str = ""
    principal: str = ""


class Recorded(Struct, frozen=True, gc=False):
    """One record of the log with its whole envelope. `at` is µs since 1970, UTC; `payload` is the stored JSON."""

    position: int
    actor: str
    kind: str
    tenant: str
    version: int
    type: str
    schema: int
    at: int
    trace: str
    causation: str
    principal: str
    key_id: str | None
    payload: bytes
