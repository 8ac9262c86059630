"""A file, and a copy of it at a provider, as applications see them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import trio

from perdure.actors.file.state import (
    CODEC,
    KIND,
    Copy,
    FileState,
    evolve,
    find_copy,
    initial,
    opened,
)
from perdure.actors.views import ENDED, Backing, Handle, Teller, View, moment
from perdure.events.command import Command
from perdure.events.errors import FileDeleted, FileExpired, NotFound, OperationFailed
from perdure.events.file import RemoveFile, ResumeCopies, WithdrawCopy
from perdure.events.files import FileInfo, ProviderCopy, ProviderFile
from perdure.events.supervision import SUPERVISION_EVENTS
from perdure.store.recorded_event import RecordedEvent, with_event
from perdure.store.records import ActorRow, Standing

FILE_ENDS: Final = {"file_expired": FileExpired, "file_deleted": FileDeleted}
"""What a copy that came to nothing because its file is over is told as."""


def over(id: str, life: str) -> FileExpired | FileDeleted:
    """What whoever asks for a file that is over is told; `life` is `expired` or `deleted`."""
    if life == "expired":
        return FileExpired(f"{id} has expired: its time to live is over; upload it again", id=id)
    return FileDeleted(f"{id} was deleted", id=id)


def info_of(state: FileState, now: int) -> FileInfo:
    """What is known of a file that was created, at a time in µs since 1970 UTC."""
    created = state.created
    assert created is not None
    filename = opened(created.filename)
    return FileInfo(
        id=state.actor,
        filename=filename,
        shown_name=opened(created.shown) or filename,
        mime_type=created.mime_type,
        size_bytes=created.size_bytes,
        created_at=moment(created.at),
        expires_at=_moment(created.expires_at),
        declared_mime_type=created.declared,
        charset=created.charset,
        subject=created.subject,
        tags=dict(created.tags),
        copies=[_shown(copy, now) for copy in state.copies],
    )


def _shown(copy: Copy, now: int) -> ProviderCopy:
    return ProviderCopy(
        provider=copy.order.provider,
        credential=copy.order.credential,
        status=copy.status_at(now),
        reference=copy.reference,
        expires_at=_moment(copy.expires_at),
        error=copy.purchase.blocked or ": ".join(part for part in (copy.code, copy.message) if part),
    )


def _moment(at_us: int) -> datetime | None:
    return moment(at_us) if at_us else None


class FileView(View[FileInfo]):
    """A file, as any process sees it. It has succeeded as long as it is there."""

    async def _value(self) -> FileInfo:
        state: FileState = await self.state()
        return info_of(state, state.created.at if state.created else 0)

    async def _failure(self, status: str) -> Exception:
        if status in ("expired", "cancelled"):
            return over(self.id, "expired" if status == "expired" else "deleted")
        return await super()._failure(status)


class FileHandle(FileView, Handle[FileInfo]):
    """A file of a running service. It is deleted through `service.files`."""

    def _cancel_command(self) -> Command:
        return RemoveFile()

    def _resubmit_command(self) -> Command:
        return ResumeCopies()

    def _resume_command(self) -> Command:
        return ResumeCopies()


# ---------------------------------------------------------------- copies


def copy_id(file: str, ordinal: int) -> str:
    """The id of a copy."""
    return f"{file}-{ordinal}"


def provider_file(copy: Copy) -> ProviderFile:
    """What the provider calls a copy that it has."""
    return ProviderFile(
        provider=copy.order.provider,
        id=copy.remote_id,
        reference=copy.reference,
        expires_at=_moment(copy.expires_at),
    )


class CopyView(View[ProviderFile]):
    """A file on its way to a provider; its result is what the provider calls it, also when that is over by now."""

    def __init__(self, backing: Backing, file: ActorRow, copy: Copy) -> None:
        super().__init__(backing, _row(file, copy))
        self._file = file.actor
        self._ordinal = copy.order.ordinal
        self._copy = copy

    async def refresh(self) -> str:
        """Looks again and returns the status."""
        file, self._copy = await look_at_copy(self._backing, self._file, self._ordinal)
        self._row = _row(file, self._copy)
        return self.status

    async def events(self, *, after: int = 0, follow: bool = True) -> AsyncGenerator[RecordedEvent]:
        """The history of this copy, and of the end of its file, then what comes (with `follow`), to its end."""
        codecs = {fold.name: fold.codec for fold in self._backing.folds}
        while True:
            signal = self._signal()
            ended = await self.refresh() in ENDED
            page = await self._backing.log.stream(self._file, after=after)
            for record in page:
                told = with_event(record, self._backing.log.log_id, codecs)
                after = record.version
                if getattr(told.event, "ordinal", self._ordinal) == self._ordinal:
                    yield told
            if page:
                continue
            if not follow or ended:
                return
            self._backing.check_open()
            await signal.wait()

    def _signal(self) -> trio.Event:
        return self._backing.signal(self._file)

    def _stream(self) -> str:
        return self._file

    async def _value(self) -> ProviderFile:
        return provider_file(self._copy)

    async def _failure(self, status: str) -> Exception:
        if status != "failed":
            return await super()._failure(status)
        copy = self._copy
        if copy.code in FILE_ENDS:
            return over(self._file, copy.code.removeprefix("file_"))
        reason = ": ".join(part for part in (copy.code, copy.message) if part)
        return OperationFailed(f"{self._file} could not be put at {self.provider}: {reason}", id=self.id, cause=reason)


class CopyHandle(CopyView, Handle[ProviderFile]):
    """A file on its way to a provider, of a running service. Everybody who wants the same shares it."""

    def __init__(self, backing: Teller, file: ActorRow, copy: Copy) -> None:
        CopyView.__init__(self, backing, file, copy)
        self._teller = backing
        self._file_row = file

    async def cancel(self, *, wait: bool = False) -> Literal["cancelled", "requested", "too_late"]:
        """Gives it up for everybody who waits for it, if nothing of it has been sent; else it is too late."""
        await self._teller.tell(self._file_row, self._cancel_command())
        return "cancelled" if await self.refresh() == "cancelled" else "too_late"

    def _target(self) -> ActorRow:
        return self._file_row

    def _cancel_command(self) -> Command:
        return WithdrawCopy(self._ordinal)

    def _resubmit_command(self) -> Command:
        return ResumeCopies(self._ordinal)

    def _resume_command(self) -> Command:
        return ResumeCopies(self._ordinal)


async def look_at_copy(backing: Backing, file: str, ordinal: int) -> tuple[ActorRow, Copy]:
    """The row of a file, and one of its copies as it is or as it was last. Raises `NotFound`."""
    stream = await backing.looking.stream(file)
    copy = _fold_copy(stream.row, stream.events, ordinal)
    if copy is None:
        raise NotFound(f"{file} has no copy {ordinal}", id=copy_id(file, ordinal))
    return stream.row, copy


def _fold_copy(row: ActorRow, events: Sequence[tuple[int, int, bytes]], ordinal: int) -> Copy | None:
    """A copy also after a newer one has taken its place in the state: what it was is kept by the log."""
    found: Copy | None = None
    state = initial(row.actor, row.tenant)
    for _, _, payload in events:
        event: Any = CODEC.decode(payload)
        if not isinstance(event, SUPERVISION_EVENTS):
            state = evolve(state, event)
            found = find_copy(state, ordinal) or found
    return found


def _status(file: ActorRow, copy: Copy) -> str:
    """The copy's status in the words of the API: it has succeeded once it could be used, whatever comes after that."""
    if copy.ready:
        return "succeeded"
    if copy.status == "error":
        return "cancelled" if copy.code == "withdrawn" else "failed"
    if copy.status in ("deleting", "deleted"):
        return "cancelled"
    if file.standing.status == "parked":
        return "parked"
    if copy.purchase.blocked:
        return "blocked"
    return "running" if copy.status == "processing" or copy.purchase.owed else "pending"


def _row(file: ActorRow, copy: Copy) -> ActorRow:
    """The copy as a row of its own, made from its file's."""
    status = _status(file, copy)
    return ActorRow(
        actor=copy_id(file.actor, copy.order.ordinal),
        kind=KIND,
        tenant=file.tenant,
        key=None,
        version=file.version,
        created_at=copy.order.at,
        updated_at=file.updated_at,
        standing=Standing(
            status=status,
            fold=file.standing.fold,
            next_due=None,
            terminal=status in ENDED,
            provider=copy.order.provider,
            tags=file.standing.tags,
            progress=f"{int(status in ENDED)}/1 {copy.purchase.blocked}".rstrip(),
        ),
    )
