"""What images and speech have in common for applications: looking them up and listing them, without reading blobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from perdure.actors.backing import Acting
from perdure.actors.media.state import PREFIXES
from perdure.actors.media.views import MediaView, StoredMedia
from perdure.actors.views import Summary, summary_of
from perdure.actors.who import Who
from perdure.events.errors import NotFound
from perdure.store.records import ActorRow

LISTED_AT_A_TIME: Final = 200


class Library:
    """The media of one kind."""

    def __init__(self, kind: str, acting: Acting, who: Who) -> None:
        self._kind = kind
        self._acting = acting
        self._who = who

    async def find(self, id: str) -> StoredMedia:
        """What is stored under an item's id, `<operation>-<n>`. Raises `NotFound`."""
        operation, _, number = id.rpartition("-")
        known = operation.startswith(f"{PREFIXES[self._kind]}_") and number.isascii() and number.isdigit()
        row = await self._acting.log.row(operation) if known else None
        if row is not None and row.kind == self._kind and row.tenant == self._who.tenant:
            items = {item.id: item for item in await self._view(row).stored()}
            if id in items:
                return items[id]
        raise NotFound(f"there is nothing stored as {id[:80]!r}: `list` shows the operations that there are", id=id)

    async def listed(
        self, *, status: str | None, provider: str | None, tag: tuple[str, str] | None
    ) -> AsyncGenerator[Summary]:
        """The operations that fit, newest first, from the log's index (W-35)."""
        after: str | None = None
        while page := await self._acting.log.rows(
            kind=self._kind,
            status=status,
            provider=provider,
            tenant=self._who.tenant,
            tag=tag,
            after=after,
            limit=LISTED_AT_A_TIME,
        ):
            for row in page:
                yield summary_of(row)
            after = page[-1].actor

    def _view(self, row: ActorRow) -> MediaView[object]:
        return _Stored(self._acting, row)


class _Stored(MediaView[object]):
    """An operation of which only what is stored is asked for."""

    async def _value(self) -> object:
        return await self.stored()
