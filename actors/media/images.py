"""`service.images`: pictures of prompts and of other pictures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from perdure.actors.backing import Acting
from perdure.actors.media.library import Library
from perdure.actors.media.ordering import Ordering
from perdure.actors.media.state import IMAGE
from perdure.actors.media.views import ImageHandle, StoredMedia
from perdure.actors.views import Summary
from perdure.actors.who import Who
from perdure.events.errors import InvalidRequest
from perdure.events.media import ImageEdit, ImageRequest
from perdure.events.purchase import OnUncertain


class Images:
    """Images. Come by it as `service.images`."""

    def __init__(self, acting: Acting, ordering: Ordering, who: Who) -> None:
        self._acting = acting
        self._ordering = ordering
        self._who = who
        self._library = Library(IMAGE, acting, who)

    async def generate(
        self,
        request: ImageRequest,
        /,
        *,
        provider: str,
        key: str | None = None,
        credential: str | None = None,
        deadline_s: float | None = None,
        on_uncertain: OnUncertain = "fail",
        tags: Mapping[str, str] | None = None,
    ) -> ImageHandle:
        """Has pictures of a prompt made, once; durable when it returns.

        With a `key` that is known, the same request gives the handle of the operation that has it. `deadline_s` seconds
        from now it has expired. `on_uncertain` says what happens when it cannot be told whether the provider took it,
        and when it was made and the process ended before the bytes were kept: `"fail"`, or `"resubmit"`, which may pay
        again.

        Raises `InvalidRequest`, `Unsupported` with the capability and the parameter that the provider cannot honour,
        `TooLarge`, `UnknownProvider`, `KeyConflict`, `BudgetExceeded`, `Unavailable`, `Closed`; nothing is
        recorded then.
        """
        if not isinstance(request, ImageRequest) or isinstance(request, ImageEdit):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are untyped
            raise InvalidRequest(f"generate takes an ImageRequest, not {type(request).__name__}", field="request")
        return await self._order(request, provider, key, credential, deadline_s, on_uncertain, tags)

    async def edit(
        self,
        request: ImageEdit,
        /,
        *,
        provider: str,
        key: str | None = None,
        credential: str | None = None,
        deadline_s: float | None = None,
        on_uncertain: OnUncertain = "fail",
        tags: Mapping[str, str] | None = None,
    ) -> ImageHandle:
        """Has pictures made of others, once; durable when it returns, and the sources may change or vanish then.

        All else as `generate`; raises `InvalidSource` too, for a source that cannot be read or is no image.
        """
        if not isinstance(request, ImageEdit):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are untyped
            raise InvalidRequest(f"edit takes an ImageEdit, not {type(request).__name__}", field="request")
        return await self._order(request, provider, key, credential, deadline_s, on_uncertain, tags)

    async def get(self, id: str) -> StoredMedia:
        """What is stored under an item's id, `img_…-<n>`. Raises `NotFound`."""
        return await self._library.find(id)

    def list(
        self, *, status: str | None = None, provider: str | None = None, tag: tuple[str, str] | None = None
    ) -> AsyncGenerator[Summary]:
        """The operations that fit, newest first. Reads no blob."""
        return self._library.listed(status=status, provider=provider, tag=tag)

    async def _order(
        self,
        request: ImageRequest,
        provider: str,
        key: str | None,
        credential: str | None,
        deadline_s: float | None,
        on_uncertain: OnUncertain,
        tags: Mapping[str, str] | None,
    ) -> ImageHandle:
        row = await self._ordering.order(
            IMAGE,
            request,
            self._who,
            provider=provider,
            key=key,
            credential=credential,
            deadline_s=deadline_s,
            on_uncertain=on_uncertain,
            tags=tags,
        )
        return ImageHandle(self._acting, row)
