"""The law of the blob store: whatever is put, pinned, named, released, swept, crashed, in whatever order,
every blob that a record names is there and whole."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from perdure.store.blobs import Blob, BlobReader, BlobStore
from perdure.store.crash_points import armed
from perdure.store.disk import InlineDisk
from tests.store.blobs.looking import stored

CONTENTS = [b"", b"a", b"b" * 40, b"c" * 100]


class Put(Struct, frozen=True):
    """Stores contents by number; the pins are held."""

    numbers: tuple[int, ...]
    how: str


class Name(Struct, frozen=True):
    """Commits a record that names everything pinned, then releases the pins."""


class Drop(Struct, frozen=True):
    """Releases all pins without naming anything."""


class Crash(Struct, frozen=True):
    """Does the step, and dies at the given crash point of it, if it gets that far."""

    point: int
    step: Put


class Sweep(Struct, frozen=True):
    """Sweeps; the steps happen while the log is asked, before or after it made up its answer."""

    before: tuple[Put | Name | Drop, ...]
    after: tuple[Put | Name | Drop, ...]


class Died(Exception):
    """The process is gone."""


PUTS = st.builds(
    Put,
    st.lists(st.integers(0, len(CONTENTS) - 1), min_size=1, max_size=3).map(tuple),
    st.sampled_from(["whole", "many", "pieces", "writer"]),
)
SIMPLE = st.one_of(PUTS, st.builds(Name), st.builds(Drop))
INNER = st.lists(SIMPLE, max_size=3).map(tuple)
STEPS = st.lists(
    st.one_of(SIMPLE, st.builds(Sweep, INNER, INNER), st.builds(Crash, st.integers(0, 8), PUTS)), max_size=15
)


class World:
    """A store, the log beside it, and what is pinned."""

    def __init__(self, root: Path, small_bytes: int) -> None:
        self.root = root
        self.small_bytes = small_bytes
        self.named: set[str] = set()
        self.start()

    def start(self) -> None:
        """A new process: pins and all that was known are gone."""
        self.store = BlobStore(self.root, InlineDisk(), buffer_bytes=30, small_bytes=self.small_bytes)
        self.held: list[str] = []

    async def put(self, step: Put) -> None:
        contents = [CONTENTS[number] for number in step.numbers]
        blobs: list[Blob] = []
        match step.how:
            case "whole":
                blobs = [await self.store.put(content) for content in contents]
            case "many":
                blobs = await self.store.put_many(contents)
            case "pieces":
                blobs = [await self.store.put(pieces(content)) for content in contents]
            case _:
                for content in contents:
                    async with self.store.open_writer() as writer:
                        await writer.write(content)
                        blobs.append(await writer.commit())
        self.held += [blob.digest for blob in blobs]

    async def do(self, step: Put | Name | Drop | Crash | Sweep) -> None:
        match step:
            case Put():
                await self.put(step)
            case Name():
                self.named.update(self.held)
                self.release()
            case Drop():
                self.release()
            case Crash():
                await self.crash(step)
            case Sweep():

                async def references(digests: Sequence[str]) -> Collection[str]:
                    for inner in step.before:
                        await self.do(inner)
                    answer = self.named & set(digests)
                    for inner in step.after:
                        await self.do(inner)
                    return answer

                await self.store.sweep(references, older_than_s=-1)

    def release(self) -> None:
        self.store.release(*self.held)
        self.held = []

    async def crash(self, step: Crash) -> None:
        passed = 0

        def probe(name: str, kind: str) -> None:
            nonlocal passed
            if passed == step.point:
                raise Died(name)
            passed += 1

        try:
            with armed(probe):
                await self.put(step.step)
        except Died:
            self.store.close()
            self.start()

    async def check(self) -> None:
        """Everything named or held is whole for a process that begins now."""
        async with BlobReader(self.root, InlineDisk()) as reader:
            assert await reader.verify(sorted(self.named | set(self.held))) == []
        assert self.store.pinned == len(set(self.held))


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 7):
        await trio.lowlevel.checkpoint()
        yield content[start : start + 7]


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([0, 30, 60]))
def test_every_named_blob_is_kept(steps: list[Put | Name | Drop | Crash | Sweep], small_bytes: int) -> None:
    async def live() -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder) / "blobs", small_bytes)
            for step in steps:
                await world.do(step)
                await world.check()
            # In the end nothing else is kept either.
            world.release()
            await world.do(Sweep((), ()))
            assert stored(world.root) == world.named
            world.store.close()

    trio.run(live)
