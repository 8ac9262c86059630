"""The window of a batch, the judgement: lines are collected, and when it closes they become parts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.actors.batch.state import BatchState, Chunk
from perdure.events.batch import (
    BatchClosed,
    BatchDiscarded,
    BatchFinished,
    BatchOpened,
    CollectLines,
    LinesCollected,
    OpenBatch,
    Part,
    WindowClosed,
)
from perdure.events.errors import InvalidRequest, Rejected, TooLarge
from perdure.events.event import Event
from perdure.events.sealed import plain


def difference(state: BatchState, command: OpenBatch) -> str | None:
    """How a request differs from the one that this batch was opened with; None when it is the same request."""
    if state.opened is None:
        return None
    for name in ("provider", "endpoint", "model", "credential"):
        was, wanted = getattr(state.opened, name), getattr(command, name)
        if wanted and was != wanted:
            return f"{name} was {was!r} and is now {wanted!r}"
    return None


def open_window(state: BatchState, command: OpenBatch, at: int) -> Sequence[Event]:
    if state.opened is not None:
        differs = difference(state, command)
        if differs is not None:
            raise Rejected(f"{state.actor} is open with another request: its {differs}", field="request")
        return ()
    return (
        BatchOpened(
            provider=command.provider,
            endpoint=command.endpoint,
            model=command.model,
            credential=command.credential,
            max_lines=command.max_lines,
            max_bytes=command.max_bytes,
            window_us=command.window_us,
            settle_us=command.settle_us,
            every_us=command.every_us,
            searchable=command.searchable,
            first_poll_us=command.first_poll_us,
            hint=command.hint,
            on_uncertain=command.on_uncertain,
            deadline_at=at + command.deadline_us if command.deadline_us else 0,
            close_at=at + command.close_after_us if command.close_after_us else 0,
            tags=command.tags,
            minimum=command.minimum,
            direct=command.direct,
            resubmit=command.resubmit,
        ),
    )


def collect(state: BatchState, command: CollectLines) -> Sequence[Event]:
    opened = state.opened
    if opened is None:
        raise Rejected(f"{state.actor} is not open: open it before lines are added", field="batch")
    if command.first < state.lines:
        same = any(chunk.first == command.first and chunk.blob == command.blob for chunk in state.chunks)
        if same:
            return ()
        raise Rejected(f"line {command.first} of {state.actor} was collected with other content", field="lines")
    if state.phase != "collecting":
        raise WindowClosed(f"{state.actor} is closed: no line can be added", field="batch")
    if command.first != state.lines:
        raise Rejected(f"{state.actor} expects line {state.lines} next, not {command.first}", field="first")
    count, size_bytes = len(command.lengths), sum(command.lengths)
    if not count or len(command.names) not in (0, count):
        raise Rejected(f"a run has a line at least, and a name for each or for none: {state.actor}", field="names")
    if any(not 0 <= note.number - command.first < count for note in command.notes):
        raise Rejected(f"a run has notes on its own lines only: {state.actor}", field="notes")
    if count > opened.max_lines or size_bytes > opened.max_bytes:
        raise TooLarge(
            f"a run of {size_bytes} bytes exceeds what {opened.provider} takes in one batch ({opened.max_bytes} bytes)",
            limit=opened.max_bytes,
            size=size_bytes,
            field="lines",
        )
    lines, total = state.lines + count, state.size_bytes + size_bytes
    if opened.close_at and (lines > opened.max_lines or total > opened.max_bytes):
        raise WindowClosed(f"{state.actor} has no room for {count} more lines of {size_bytes} bytes", field="lines")
    collected = LinesCollected(
        first=command.first, blob=command.blob, names=command.names, lengths=command.lengths, notes=command.notes
    )
    if opened.close_at and (lines == opened.max_lines or total == opened.max_bytes):
        return (
            collected,
            *command.warnings,
            *_closed(state, opened, [*state.chunks, Chunk(command.first, count, command.blob, size_bytes)]),
        )
    return (collected, *command.warnings)


def close_window(state: BatchState, at: int) -> Sequence[Event]:
    opened = state.opened
    if opened is None:
        raise Rejected(f"{state.actor} is not open: there is nothing to close", field="batch")
    if state.phase != "collecting":
        return ()
    if state.lines:
        return _closed(state, opened, state.chunks)
    if opened.close_at and at >= opened.close_at:
        return (BatchDiscarded(reason=plain("its window closed before any line came")),)
    raise InvalidRequest("the batch has no lines: give it at least one request", field="lines", limit=1, value=0)


def _closed(state: BatchState, opened: BatchOpened, chunks: Sequence[Chunk]) -> Sequence[Event]:
    """What becomes of a window with lines: parts, single live requests, or nothing where nobody waits any more."""
    lines = chunks[-1].first + chunks[-1].count
    waiting = lines - state.abandoned
    if not waiting:
        nothing_sent = BatchFinished(status="cancelled", ok=0, failed=lines)
        return (BatchClosed(lines=lines, parts=()), nothing_sent)
    if opened.direct or waiting < opened.minimum:
        return (BatchClosed(lines=lines, parts=(), direct=True),)
    parts = [part for part in _split(opened, chunks) if state.open_in(part.first, part.last)]
    return (BatchClosed(lines=lines, parts=parts),)


def _split(opened: BatchOpened, chunks: Sequence[Chunk]) -> list[Part]:
    """Groups chunks into parts within the provider's limits."""
    parts: list[Part] = []
    first, last, size_bytes = 0, -1, 0
    for chunk in chunks:
        lines = chunk.first + chunk.count - first
        if last >= first and (lines > opened.max_lines or size_bytes + chunk.size_bytes > opened.max_bytes):
            parts.append(Part(first, last, size_bytes))
            first, size_bytes = chunk.first, 0
        last = chunk.first + chunk.count - 1
        size_bytes += chunk.size_bytes
    parts.append(Part(first, last, size_bytes))
    return parts
