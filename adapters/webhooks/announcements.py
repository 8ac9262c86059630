"""What a webhook says: its type, and which batch it is about. Pure.

Only the id is believed: how the batch stands its provider is asked. Types that say nothing about batches are let pass.

Sources: `contracts/providers.md` sections 1.7 and 3.7 (20 November 2026). What stands under `data` at Google is not
described: its name for a batch is taken from `name` or `id`, with or without `batches/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from perdure.adapters.answers import DECODE_ERRORS
from perdure.events.errors import InvalidWebhook

BATCH_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "openai": frozenset({"batch.completed", "batch.failed", "batch.expired", "batch.cancelled"}),
    "google": frozenset({"batch.succeeded", "batch.failed", "batch.expired"}),
}
"""The types that are about batches, at each provider that sends any. Anthropic's are about other things, xAI has no
webhooks (sections 2 and 4)."""

MAX_NAME: Final = 512
"""The longest id of a batch that is looked for, in characters. Ours."""


class Announcement(Struct, frozen=True):
    """What was announced. `batches`: the names that the batch may have here; none when it is about something else."""

    type: str
    batches: Sequence[str] = ()


class _Data(Struct, frozen=True):
    id: str | None = None
    name: str | None = None


class _Event(Struct, frozen=True):
    type: str
    data: msgspec.Raw = msgspec.Raw()


_events: Final = msgspec.json.Decoder(_Event)
_data: Final = msgspec.json.Decoder(_Data)


def read_announcement(provider: str, body: bytes) -> Announcement:
    """What a verified body says. Raises `InvalidWebhook` when it cannot be read, or names no batch where it must."""
    try:
        event = _events.decode(body)
        if event.type not in BATCH_TYPES[provider]:
            return Announcement(event.type)
        data = _data.decode(event.data)
    except DECODE_ERRORS as error:
        raise InvalidWebhook(f"its body cannot be read: {error}", reason="body") from error
    names = [name for name in (data.name, data.id) if name and len(name) <= MAX_NAME]
    if not names:
        raise InvalidWebhook(f"it is a {event.type} that names no batch", reason="body")
    if provider == "google":
        names += [f"batches/{name}" for name in names if not name.startswith("batches/")]
    return Announcement(event.type, tuple(dict.fromkeys(names)))
