"""A disk that fills while files are uploaded: the caller is told, and nothing that is half stored takes space."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

import perdure
from perdure.adapters.composition import blobs_beside
from perdure.store.blobs import BlobStore
from perdure.store.disk import ThreadDisk
from perdure.store.sqlite import open_log
from tests.faults.lab import Ended, Kind, Rule, run_worker
from tests.store.blobs.looking import stored

pytestmark = pytest.mark.compiler

FILES: Final = 6
"""How many are uploaded: large and small ones, streams and bytes."""


def content(key: str) -> bytes:
    """What `workers/upload_worker.py` uploads under a key."""
    number = int(key.removeprefix("k-"))
    return Random(number).randbytes(100_000 if number % 2 == 0 else 1_000)


async def judge(ended: Ended) -> None:
    """The next process has exactly the files that were acknowledged, whole, and stores again what was refused."""
    path = ended.root / "log.db"
    known, refused = ended.ids("ack"), ended.ids("full") | ended.ids("fail")
    async with open_log(path, codecs=None) as log, BlobStore(blobs_beside(path), ThreadDisk()) as blobs:
        await blobs.sweep(log.referenced, older_than_s=-3_600.0)
    async with perdure.open(path, config=perdure.Config()) as service:
        (await service.log.verify()).raise_if_bad()
        listed = {info.id: info async for info in service.files.list()}
        kept = {f"k-{number}": await service.find(f"k-{number}") for number in range(FILES)}
        there = {key: handle.id for key, handle in kept.items() if handle is not None}
        assert set(there.values()) == set(listed)
        assert known <= set(there), "acknowledged and lost"
        assert not refused & set(there), "answered 'failed' and there"
        assert len(stored(blobs_beside(path))) == len(listed), "nothing else takes space"
        for key, id in there.items():
            async with aclosing(service.files.read(id)) as chunks:
                assert b"".join([chunk async for chunk in chunks]) == content(key)
        for key in sorted(refused):
            await service.files.upload(content(key), key=key)


def run(folder: Path, shim: Path, rule: Rule) -> Ended:
    """Uploads with one fault, and judges what is left."""
    ended = run_worker("upload_worker", folder, shim, rule, arguments=[str(FILES)])
    trio.run(judge, ended)
    return ended


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("part", ["log.db-blobs", "log.db-wal"])
def test_a_disk_that_fills_during_an_upload(tmp_path: Path, shim: Path, part: str, lasting: bool) -> None:
    ended = run(tmp_path / "run", shim, Rule("full", 2, lasting, part))
    assert ended.struck
    if lasting or part == "log.db-blobs":
        assert ended.ids("full"), "the caller is told what it is"
    else:
        assert len(ended.ids("ack")) == FILES, "the log writes once more what was not taken"


@pytest.mark.sweep
@pytest.mark.parametrize("kind", ["full", "half", "sync"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_calls_that_fail_during_uploads(tmp_path: Path, shim: Path, kind: Kind, lasting: bool) -> None:
    ended = [run(tmp_path / str(nth), shim, Rule(kind, nth, lasting)) for nth in (1, 2, 3, 5, 8, 13, 21)]
    assert all(one.struck for one in ended)
