"""The sweep: removes what nobody names, nobody is about to name, and nobody may still be bringing in.

A blob goes only if all of this holds: it is older than the given age, it had no pin when the sweep came to it, the
log's writer knows no reference to it, and nobody pinned it meanwhile. Killed anywhere, a sweep has removed some of what
it would have removed, and the next one goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from perdure.store.blobs.layout import is_digest, is_folder_name
from perdure.store.blobs.pins import Pins
from perdure.store.blobs.placing import Removing
from perdure.store.blobs.refusals import not_stored
from perdure.store.blobs.scratch import Scratch
from perdure.store.blobs.small import SmallBlobs
from perdure.store.blobs.turns import Turns
from perdure.store.disk import Disk

References = Callable[[Sequence[str]], Awaitable[Collection[str]]]
"""Asks the log's writer which of some digests are named by records, those committed a moment ago included."""

_ASKED_AT_ONCE: Final = 500


class Swept(Struct, frozen=True):
    """What a sweep removed: blobs, bytes of their content, and files that dead writers had begun."""

    blobs: int
    size_bytes: int
    drafts: int


async def sweep_folders(
    root: Path,
    disk: Disk,
    turns: Turns,
    pins: Pins,
    scratch: Scratch,
    small: SmallBlobs,
    references: References,
    older_than_s: float,
) -> Swept:
    """See `BlobStore.sweep`."""
    try:
        drafts = await disk.run(scratch.remove_dead)
        blobs = size_bytes = 0
        async with aclosing(_old_blobs(root, disk, small, older_than_s)) as groups:
            async for old in groups:
                with pins.claim(old) as claim:
                    if not claim:
                        continue
                    claim.difference_update(await references(sorted(claim)))
                    removing = Removing(claim)
                    await turns.take(removing)
                blobs += removing.removed
                size_bytes += removing.removed_bytes
    except OSError as error:
        raise not_stored(error, root) from error
    return Swept(blobs, size_bytes, drafts)


async def _old_blobs(root: Path, disk: Disk, small: SmallBlobs, age_s: float) -> AsyncGenerator[Sequence[str]]:
    """The digests of all that was stored `age_s` ago or earlier, some at a time: files by their folders, then rows."""
    for folder in await disk.run(lambda: _folders(root)):
        old = await disk.run(partial(_older_than, folder, age_s))
        for start in range(0, len(old), _ASKED_AT_ONCE):
            yield old[start : start + _ASKED_AT_ONCE]
    after = ""
    while rows := await disk.run(partial(small.older_than, age_s, after, _ASKED_AT_ONCE)):
        yield rows
        after = rows[-1]


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(root / name for name in os.listdir(root) if is_folder_name(name))
    except FileNotFoundError:
        return []


def _older_than(folder: Path, age_s: float) -> list[str]:
    """The digests in a folder whose files have not been written for `age_s`. Files with other names are not ours."""
    newest = time.time() - age_s
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if is_digest(entry.name) and entry.stat(follow_symlinks=False).st_mtime <= newest
        )
