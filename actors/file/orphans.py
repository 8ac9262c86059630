"""Remote orphans: what this log put at a provider and nothing in it needs any more. They are listed, and deleted on
demand (W-52).

What a file was planted as says whose it is: `<log id>-<actor>-<ordinal>`, with an extension. The invariant: what is
told to be an orphan is never needed again. A copy's ordinal comes once, its intent is on record before its first byte
leaves, and what is in doubt, on its way, or named by something that may go on is no orphan. So listing and sweeping are
safe beside uploads, and a sweep that was cut off is only taken up again.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import trio

from perdure.actors.backing import Acting
from perdure.actors.batch.opening import LONGEST_NAME, known_provider
from perdure.actors.batch.state import KIND as BATCH
from perdure.actors.file.state import KIND, MARGIN_US, FileState, find_deletion
from perdure.actors.lane import Lane
from perdure.actors.orphan.state import KIND as ORPHAN
from perdure.actors.orphan.state import OrphanState, orphan_id
from perdure.actors.orphan.views import swept
from perdure.actors.provider_file.state import KIND as PROVIDER_FILE
from perdure.actors.provider_file.state import FileState as InputState
from perdure.actors.purchase import SECOND_US
from perdure.actors.remote_files import RemoteFile, RemoteFiles
from perdure.actors.views import moment
from perdure.actors.who import Who
from perdure.events.errors import NotFound, PerdureError
from perdure.events.files import RemoteOrphan, SweptOrphan
from perdure.events.orphan import DeleteOrphan
from perdure.events.texts import check_text
from perdure.store.records import ActorRow

AT_A_TIME: Final = 500
"""How many orphans a sweep finds before it deletes them and lists anew: it never deletes from a list that it is still
reading, whose places may be those of deleted files."""

ENDED_LONG_AGO_US: Final = 2 * 86_400 * SECOND_US
"""How long after the end of its file a copy is kept for what may still name it. The windows of batches, the longest of
requests, are a day."""

_BATCH_ENDS: Final = frozenset({"succeeded", "failed", "cancelled", "expired"})

_PLANTED: Final = re.compile(r"(?P<actor>p?file_[0-9a-f]{32})-(?P<ordinal>[0-9]{1,9})(?:\.[a-z0-9]{1,10})?")


class Orphans:
    """The orphans at one provider, as far as one credential sees them. `who` is whose: other tenants' are left out."""

    def __init__(self, acting: Acting, who: Who, *, provider: str, credential: str) -> None:
        check_text(credential, "credential", longest=LONGEST_NAME)
        self._store: RemoteFiles = known_provider(acting.remote_files, provider)
        self._acting = acting
        self._runtime = acting.runtime
        self._tenant = who.tenant
        self._principal = who.principal
        self._provider = provider
        self._credential = credential

    async def listed(self) -> AsyncGenerator[RemoteOrphan]:
        """Each of them, over all pages, in the provider's order. Holds one page."""
        self._acting.check_open()
        lane = Lane(self._tenant, self._provider, self._credential, "files")
        fetch = self._acting.network.bind(lane)
        listing = self._store.listing(fetch)
        try:
            async for remote in listing:
                orphan = await self._judged(remote)
                if orphan is not None:
                    yield orphan
        finally:
            if isinstance(listing, AsyncGenerator):
                await listing.aclose()

    async def swept(self) -> AsyncGenerator[SweptOrphan]:
        """Deletes each of them; what became of it as soon as that is known. Holds `AT_A_TIME`, and the ids of those
        that were left, which are not tried again."""
        left: set[str] = set()
        while True:
            found = await self._some(left)
            await self._condemn(found)
            for orphan in found:
                result = swept(await self._ended(orphan), orphan)
                if not result.deleted:
                    left.add(orphan.id)
                yield result
            if len(found) < AT_A_TIME:
                return

    # ------------------------------------------------------------------ finding them

    async def _some(self, but: set[str]) -> Sequence[RemoteOrphan]:
        found: list[RemoteOrphan] = []
        async with aclosing(self.listed()) as orphans:
            async for orphan in orphans:
                if orphan.id not in but:
                    found.append(orphan)
                if len(found) == AT_A_TIME:
                    break
        return found

    async def _judged(self, remote: RemoteFile) -> RemoteOrphan | None:
        """The orphan that a remote file is, None if it is none. What the log says is read after the list was."""
        prefix, _, planted = remote.filename.partition("-")
        match = _PLANTED.fullmatch(planted)
        if prefix != self._acting.log.log_id or match is None or not remote.planted:
            return None  # somebody else's
        if self._passes_by_itself(remote):
            return None
        actor, ordinal = match["actor"], int(match["ordinal"])
        try:
            row = await self._acting.looking.row(actor)
        except NotFound:
            why = "" if self._tenant else "unknown"
        else:
            why = "" if row.tenant != self._tenant else await self._why(row, ordinal, remote.id)
        if not why or await self._is_gone(actor, remote.id):
            return None
        return RemoteOrphan(
            provider=self._provider,
            credential=self._credential,
            id=remote.id,
            filename=remote.filename,
            why=why,
            size_bytes=remote.size_bytes,
            created_at=moment(remote.created_at) if remote.created_at else None,
        )

    def _passes_by_itself(self, remote: RemoteFile) -> bool:
        """Whether it is so young that it may be on its way into the log, or so old that the provider removes it. Until
        then something that began before a copy was given up may still name it."""
        now = self._runtime.now()
        if now < remote.created_at + int(self._store.settle_s * SECOND_US):
            return True
        return remote.expires_at is not None and now >= remote.expires_at - MARGIN_US

    async def _why(self, row: ActorRow, ordinal: int, remote_id: str) -> str:
        """Why an actor of ours does not need what was planted for it, "" where it does or may."""
        aggregate = await self._runtime.state(row.kind, row.actor, row.tenant)
        if row.kind == KIND:
            return self._why_not_used(aggregate.state, row, ordinal, remote_id)
        return await self._why_not_read(aggregate.state, remote_id) if row.kind == PROVIDER_FILE else ""

    def _why_not_used(self, state: FileState, row: ActorRow, ordinal: int, remote_id: str) -> str:
        now = self._runtime.now()
        for copy in state.copies:
            order = copy.order
            # One provider account may be reached by several credentials: what is there is told apart by its own id.
            if order.provider == self._provider and find_deletion(
                state.deletions, order.provider, order.credential, remote_id
            ):
                return ""
            if order.ordinal == ordinal and copy.status == "pending":
                return ""
            if order.provider != self._provider or copy.remote_id != remote_id:
                continue
            if copy.status == "expired":
                return "unused" if copy.code == "lost" or not copy.expires_at or now >= copy.expires_at else ""
            if copy.status in ("processing", "uploaded", "deleting"):
                over = state.life in ("expired", "deleted") and row.updated_at + ENDED_LONG_AGO_US < now
                return "file_over" if over and copy.status == "uploaded" else ""
        return "unused"

    async def _why_not_read(self, state: InputState, remote_id: str) -> str:
        """The same for the input of a batch, which its provider reads at some time before the batch's end."""
        if state.status == "asked" or state.order is None:
            return ""
        if remote_id != state.provider_file:
            return "unused"
        try:
            owner = await self._acting.looking.row(state.order.owner)
        except NotFound:
            return "unused"
        over = owner.kind == BATCH and owner.standing.terminal and owner.standing.status in _BATCH_ENDS
        return "batch_over" if over else ""

    async def _is_gone(self, actor: str, remote_id: str) -> bool:
        """Whether it was deleted already: lists may show it for a while yet."""
        id = orphan_id(actor, self._provider, remote_id)
        try:
            await self._acting.looking.row(id)
        except NotFound:
            return False
        state: OrphanState = (await self._runtime.state(ORPHAN, id, self._tenant)).state
        settled = state.deleted_at + int(self._store.settle_s * SECOND_US)
        return state.status == "deleted" and self._runtime.now() < settled

    # ------------------------------------------------------------------ deleting them

    async def _condemn(self, orphans: Sequence[RemoteOrphan]) -> None:
        """Has each of them deleted: durable when it returns, and it goes on whoever still waits for it."""
        failures: list[PerdureError] = []

        async def condemn(orphan: RemoteOrphan) -> None:
            command = DeleteOrphan(
                provider=orphan.provider,
                credential=orphan.credential,
                remote_id=orphan.id,
                filename=orphan.filename,
                why=orphan.why,
            )
            id = _id_of(orphan)
            try:
                await self._runtime.tell(ORPHAN, id, command, tenant=self._tenant, principal=self._principal)
            except PerdureError as error:
                failures.append(error)  # a nursery would wrap it into a group

        async with trio.open_nursery() as nursery:
            for orphan in orphans:
                nursery.start_soon(condemn, orphan)
        if failures:
            raise failures[0]

    async def _ended(self, orphan: RemoteOrphan) -> OrphanState:
        """The state of an orphan once it is gone or left. Raises `Closed`."""
        id = _id_of(orphan)
        while True:
            signal = self._acting.signal(id)
            state: OrphanState = (await self._runtime.state(ORPHAN, id, self._tenant)).state
            if state.status in ("deleted", "left"):
                return state
            self._acting.check_open()
            await signal.wait()


def _id_of(orphan: RemoteOrphan) -> str:
    match = _PLANTED.fullmatch(orphan.filename.partition("-")[2])
    assert match is not None
    return orphan_id(match["actor"], orphan.provider, orphan.id)
