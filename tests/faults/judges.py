"""What must hold of a folder that a worker left behind, however it ended."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import trio

from perdure.store.blobs import BlobStore
from perdure.store.disk import ThreadDisk
from perdure.store.sqlite import open_log
from tests.store.blobs.looking import in_rows


def judge_log(
    root: Path, *, acknowledged: set[str], failed: Collection[str] = (), possible: set[str] | None = None
) -> None:
    """Opens the log as the next process would. Nothing acknowledged is lost, nothing answered "failed" is there,
    nothing is there twice or out of nowhere, the chain verifies, and the log takes the next append."""
    found = trio.run(_open_and_read, root / "log.db")
    assert len(found) == len(set(found)), "a record is there twice"
    assert acknowledged <= set(found), f"acknowledged and lost: {sorted(acknowledged - set(found))}"
    assert not set(failed) & set(found), f"answered 'failed' and there: {sorted(set(failed) & set(found))}"
    if possible is not None:
        assert set(found) <= possible


async def _open_and_read(path: Path) -> list[str]:
    found: list[str] = []
    async with open_log(path, codecs=None) as log:
        after = 0
        while page := await log.records(after=after):
            found += [json.loads(record.payload)["id"] for record in page]
            after = page[-1].position
        (await log.verify()).raise_if_bad()
    return found


def judge_blobs(root: Path, *, acknowledged: set[str]) -> None:
    """Opens the store as the next process would. Every acknowledged blob is whole, and whatever has a digest for its
    name is what it says; the next process can store, and a sweep leaves no drafts of the dead."""
    trio.run(_open_and_verify, root / "blobs", acknowledged)


async def _open_and_verify(root: Path, acknowledged: set[str]) -> None:
    async def references(digests: object) -> set[str]:
        await trio.lowlevel.checkpoint()
        return acknowledged

    async with BlobStore(root, ThreadDisk()) as store:
        bad = await store.verify(sorted(acknowledged | _named(root)))
        assert not bad, f"lost or damaged: {[error.id for error in bad]}"
        blob = await store.put(b"the next process")
        await store.sweep(references, older_than_s=-1)
        assert await store.verify(sorted(acknowledged | {blob.digest})) == []
        assert _named(root) == acknowledged | {blob.digest}
        assert _drafts(root) == []


def _named(root: Path) -> set[str]:
    return {path.name for path in root.glob("[0-9a-f][0-9a-f]/*")} | in_rows(root)


def _drafts(root: Path) -> list[Path]:
    return [path for path in (root / "tmp").rglob("*") if path.is_file()]
