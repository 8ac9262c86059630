"""A record of the log as those who observe it see it: the envelope, the event and the cursor behind it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from msgspec.structs import astuple

from perdure.events.codec import Codec, UndecodableEvent, tag_of
from perdure.events.event import Event, Recorded
from perdure.store.cursor import cursor_after


class RecordedEvent(Recorded, frozen=True, gc=True, dict=True):
    """One record of the log `log_id`. `codec` reads the events of its kind; None: no kind of this build wrote it."""

    log_id: str
    codec: Codec[Any] | None

    @cached_property
    def event(self) -> Event:
        """What happened, as its newest type: events of older releases are upcast. Decoded when it is first asked for.

        Raises `UndecodableEvent`.
        """
        if self.codec is None:
            reason = f"nothing here reads events of kind {self.kind!r}"
            raise UndecodableEvent(
                f"the record at {self.position}: {reason}; pass over it by its kind",
                position=self.position,
                reason=reason,
            )
        event: Event = self.codec.decode(self.payload)
        return event

    @property
    def cursor(self) -> str:
        """Where the log goes on behind this record, for `after`: opaque text to be kept and given back unchanged."""
        return cursor_after(self.log_id, self.position)

    def is_one_of(self, tags: Collection[str]) -> bool:
        """Whether its type has one of these tags: the one it was stored under, or that of its newest form."""
        if self.type in tags:
            return True
        return self.codec is not None and self.type in self.codec.retired and tag_of(type(self.event)) in tags


def with_event(record: Recorded, log_id: str, codecs: Mapping[str, Codec[Any]]) -> RecordedEvent:
    """`record` of the log `log_id` with what it takes to read it; `codecs` are those of this build, by kind."""
    fields: tuple[Any, ...] = (*astuple(record), log_id, codecs.get(record.kind))
    return RecordedEvent(*fields)
