"""How a provider gets to see a file: the default rule, and the protocol for others. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from perdure.actors.resolving.facts import (
    Decision,
    FileFacts,
    InlineIt,
    NativeUrl,
    ProviderFacts,
    Refer,
    RemoteCopy,
    Reupload,
    Skip,
    UploadIt,
)
from perdure.actors.sources.media_type import accepted

INLINE_BELOW_BYTES: Final = 50_000

EXPIRY_MARGIN_S: Final = 600.0
"""A copy that expires sooner counts as gone: the request has to wait its turn, and clocks differ."""


class FileStrategy(Protocol):
    """Decides how one provider gets to see one file. Pure: the same facts at the same time, the same decision."""

    def decide(self, file: FileFacts, provider: ProviderFacts, now: int) -> Decision:
        """The decision at `now`, µs since 1970 UTC."""
        ...


class DefaultFileStrategy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first that holds: unsupported type, too large, live reference, native URL, small enough to be inline, a copy
    that is gone (upload again), anything else (upload).

    What is not known decides nothing: a file of unknown size is neither too large nor small, one of unknown type is
    not unsupported.
    """

    inline_below_bytes: int = INLINE_BELOW_BYTES
    expiry_margin_s: float = EXPIRY_MARGIN_S

    def decide(self, file: FileFacts, provider: ProviderFacts, now: int) -> Decision:
        """See `FileStrategy.decide`."""
        may_refer = _admits(provider.references, file)
        may_inline = _admits(provider.inline, file)
        may_name_url = file.url != "" and _admits(provider.urls, file)
        if not (may_refer or may_inline or may_name_url):
            return Skip("unsupported_type", f"{provider.provider} takes no {file.mime_type}")
        limits = [provider.max_bytes] * may_refer + [provider.max_inline_bytes] * may_inline
        if file.size_bytes is not None and limits and file.size_bytes > max(limits):
            return Skip("too_large", f"it has {file.size_bytes} bytes and {provider.provider} takes {max(limits)}")
        if may_refer and file.copy is not None and self.is_live(file.copy, now):
            return Refer(file.copy.reference)
        if may_name_url:
            return NativeUrl(file.url)
        if file.url and not file.fetchable:
            return Skip("not_fetched", f"{provider.provider} fetches no such address, and here it is not allowed")
        small = file.size_bytes is not None and file.size_bytes < self.inline_below_bytes
        if may_inline and (small or not may_refer):
            return InlineIt()
        return UploadIt() if file.copy is None else Reupload()

    def is_live(self, copy: RemoteCopy, now: int) -> bool:
        """Whether a copy can be named in a request at `now` (µs UTC) and for the margin after it."""
        margin = round(self.expiry_margin_s * 1_000_000)
        return copy.usable and (copy.expires_at is None or copy.expires_at - margin > now)


def _admits(patterns: Sequence[str], file: FileFacts) -> bool:
    return accepted(file.mime_type, patterns) if file.mime_type else bool(patterns)


DEFAULT_STRATEGY: Final = DefaultFileStrategy()
