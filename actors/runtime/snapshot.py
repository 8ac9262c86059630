"""Snapshots: a cache over long streams, so that waking an actor reads a bounded number of events.

A snapshot is the folded state as of one version, under the kind's fold number; it is written in the same commit as the
event that made it due. It is never the truth: one of another fold number, or one that cannot be read, is passed over
and the whole stream is folded. The one invariant: folding on from a snapshot gives what folding everything gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from perdure.events.supervision import EffectFailed, Parked

EVERY: Final = 1_000
"""Events between two snapshots of one stream: about 2 ms of folding, and rarely reached by anything but a long life."""


class Snapshot(Struct):
    """What is kept of an actor: the kind's own state as JSON, and the runtime's supervision beside it."""

    version: int
    at: int
    state: msgspec.Raw
    failures: Mapping[str, EffectFailed] = {}
    parked: Parked | None = None


decode_snapshot = msgspec.json.Decoder(Snapshot).decode
"""The snapshot of a stored payload. Raises `msgspec.MsgspecError`."""
