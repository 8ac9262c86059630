"""Files that a provider has, as sources: what its tools made, or what is there already."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

from perdure.actors.backing import Acting
from perdure.actors.batch.opening import LONGEST_NAME, known_provider
from perdure.actors.fetch import Refused
from perdure.actors.lane import Lane
from perdure.actors.sources.content import Opened
from perdure.actors.who import Who
from perdure.events.errors import InvalidSource, shorten
from perdure.events.messages import ProviderRef
from perdure.events.texts import check_text

_KEPT: Final = ("invalid_request", "unsupported")
"""The kinds of refusal that say: there is such a file, and it is not given out."""


class Downloads:
    """Reads files at providers with one credential. See `perdure.actors.sources.content.ProviderReader`."""

    def __init__(self, acting: Acting, who: Who, *, credential: str) -> None:
        check_text(credential, "credential", longest=LONGEST_NAME)
        self._acting = acting
        self._tenant = who.tenant
        self._credential = credential

    def open(self, reference: ProviderRef) -> AbstractAsyncContextManager[Opened]:
        """The file's content as it comes, in bounded memory. What the provider does not say of it, the reference does.

        Raises `UnknownProvider`, `InvalidSource` (`missing`, `not_downloadable`, `kind`), and `ProviderError` for what
        a later try may bring; the chunks raise the last, too.
        """
        return self._opened(reference)

    @asynccontextmanager
    async def _opened(self, reference: ProviderRef) -> AsyncGenerator[Opened]:
        provider = known_provider(self._acting.remote_files, reference.provider)
        lane = Lane(self._tenant, reference.provider, self._credential, "files")
        async with AsyncExitStack() as opening:
            try:
                content = provider.content(self._acting.network.bind(lane), reference.reference)
                opened = await opening.enter_async_context(content)
            except Refused as error:
                explained = _explained(reference, error)
                if explained is None:
                    raise
                raise explained from error
            yield Opened(
                opened.chunks,
                opened.filename or reference.filename or None,
                opened.mime_type or reference.mime_type or None,
                opened.size_bytes,
            )


def _explained(reference: ProviderRef, error: Refused) -> InvalidSource | None:
    """The refusal as what is wrong with the source, None for trouble that is not the source's."""
    what = f"{shorten(reference.reference)} at {reference.provider}"
    if error.kind == "not_found":
        return InvalidSource(
            f"{what} is not there (any more): {error}", reason="missing", field="source.reference", value=error.status
        )
    if error.kind in _KEPT:
        return InvalidSource(
            f"{what} is not given out again, as what was uploaded there mostly is not: {error}",
            reason="not_downloadable",
            field="source.reference",
            value=error.provider_code or error.status,
        )
    return None
