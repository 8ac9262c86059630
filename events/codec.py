"""The codec: events to JSON objects and back, for one kind of actor.

Reading has two stages. Additive change is covered by defaults while decoding. Anything wider is a new tag: the retired
struct stays decodable and an upcaster turns it into the newest type, in chains if need be, so that folds only ever see
the newest types. Bytes on disk are never rewritten.

The one invariant: a stored payload decodes to the same value for ever. `logs` kept in `tests/` hold us to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, Union

import msgspec

from perdure.events.errors import Corrupt
from perdure.events.event import EncodedEvent, Event

E = TypeVar("E", bound=Event)

Upcaster = Callable[[Any], Event]
"""Turns a retired event into its successor; pure and total."""


class UndecodableEvent(Corrupt):
    """A stored event has a tag or a body that this build cannot read."""


class Codec(Generic[E]):
    """Encodes and decodes the events of one kind.

    `current` are the types that folds see and that may be written; `upcasters` maps each retired type to the function
    that turns its values into a newer type (retired or current).
    """

    def __init__(
        self, kind: str, current: Sequence[type[E]], upcasters: Mapping[type[Event], Upcaster] | None = None
    ) -> None:
        self.kind = kind
        self.current: tuple[type[E], ...] = tuple(current)
        self._upcasters = dict(upcasters or {})
        self._tags = {event_type: tag_of(event_type) for event_type in self.current}
        every: tuple[type[Event], ...] = (*self.current, *self._upcasters)
        self.schemas: Mapping[str, int] = {tag_of(event_type): event_type.schema for event_type in every}
        """The newest schema version that this build knows, for each tag."""
        self.retired = frozenset(tag_of(event_type) for event_type in self._upcasters)
        """The tags of the types that are read and no longer written."""
        self._encoder = msgspec.json.Encoder()
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(Union[every]).decode  # noqa: UP007 - built at run time
        if len(self.schemas) != len(every):
            raise ValueError(f"two event types of kind {kind!r} share a tag: give each its own")

    def encode(self, event: E, at: int) -> EncodedEvent:
        """`event` as it is stored, having happened at `at` (µs since 1970, UTC). Only current types are written."""
        event_type = type(event)
        return EncodedEvent(self._tags[event_type], event_type.schema, at, self._encoder.encode(event))

    def decode(self, payload: bytes) -> E:
        """The event of a stored payload, as its newest type. Raises `UndecodableEvent`."""
        try:
            event: Any = self._decode(payload)
        except msgspec.MsgspecError as error:
            raise UndecodableEvent(
                f"an event of kind {self.kind!r} cannot be read: {error}; use a build that knows it", reason=str(error)
            ) from error
        if self._upcasters:
            while (upcast := self._upcasters.get(event.__class__)) is not None:
                event = upcast(event)
        decoded: E = event
        return decoded


def tag_of(event_type: type[Event]) -> str:
    """The tag under which an event type is stored."""
    tag = event_type.__struct_config__.tag
    if not isinstance(tag, str):
        raise TypeError(f"{event_type.__name__} needs a string tag")
    return tag
