"""What batches are bought with and looked for by, for tests of adapters."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

import trio

from perdure.actors.batch.ports import BatchInput, Sought
from perdure.actors.remote_files import Upload


def over(file: str, *, count: int = 1, model: str = "m") -> BatchInput:
    """A part whose lines were uploaded as `file`."""
    return BatchInput(model=model, count=count, size_bytes=count * 100, file=file, lines=_runs(()))


def inline(lines: Sequence[bytes], *, model: str = "m", run: int = 2) -> BatchInput:
    """A part whose lines, each with its newline, go with the call: in runs of `run` lines."""
    size_bytes = sum(len(line) for line in lines)
    return BatchInput(model=model, count=len(lines), size_bytes=size_bytes, file="", lines=_runs(lines, run))


def _runs(lines: Sequence[bytes], run: int = 1) -> Callable[[], AsyncIterator[bytes]]:
    async def runs() -> AsyncGenerator[bytes]:
        for start in range(0, len(lines), run):
            await trio.lowlevel.checkpoint()
            yield b"".join(lines[start : start + run])

    return runs


def sought(
    identity: str, since: int, *, line_prefix: str = "batch_1-", count: int = 1, others: frozenset[str] = frozenset()
) -> Sought:
    """A batch of lines numbered from 0 that may have been created, since `since` (µs since 1970 UTC)."""
    return Sought(
        identity=identity,
        line_prefix=line_prefix,
        count=count,
        first=0,
        last=count - 1,
        since=since,
        others=others,
    )


def lines_file(
    body: Callable[[], AsyncIterator[bytes]], size_bytes: int, filename: str = "in.jsonl", purpose: str = "batch"
) -> Upload:
    """An input file of a batch: `body` opens its bytes from their start."""

    def open_at(offset: int) -> AsyncIterator[bytes]:
        assert offset == 0
        return body()

    async def keep(session: str) -> None:
        raise AssertionError(f"nothing to keep: {session}")

    return Upload(
        filename=filename,
        mime_type="application/jsonl",
        purpose=purpose,
        size_bytes=size_bytes,
        open=open_at,
        keep=keep,
    )
