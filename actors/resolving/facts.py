"""What is known when it is decided how a provider gets to see a file, and the decisions there are. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from perdure.events.file_warnings import SkipReason


class RemoteCopy(Struct, frozen=True):
    """A file's copy at the provider in question. `expires_at` is in µs since 1970 UTC, None for never.

    `usable` is False for a copy that is known to be gone, or that failed there.
    """

    reference: str
    expires_at: int | None = None
    usable: bool = True


class FileFacts(Struct, frozen=True, kw_only=True):
    """What is known of a file. `mime_type` is "" and `size_bytes` None where that cannot be known before it is read.

    `url` is the http or https address that it is known by, "" for a file whose bytes are at hand; `fetchable` says
    whether the bytes may be got from there. `copy` is None where the provider never had it.
    """

    filename: str
    mime_type: str
    size_bytes: int | None
    url: str = ""
    fetchable: bool = False
    copy: RemoteCopy | None = None


class ProviderFacts(Struct, frozen=True, kw_only=True):
    """How a provider can be shown files. The types are exact ones or declared wildcards such as `image/*`.

    `references`: types that a request may name uploaded files of, of at most `max_bytes` each. `inline`: types whose
    bytes may stand in the request, up to `max_inline_bytes` for one file. `urls`: types that the provider fetches from
    an address itself.
    """

    provider: str
    references: Sequence[str]
    max_bytes: int
    inline: Sequence[str] = ("*/*",)
    max_inline_bytes: int = 10_000_000
    urls: Sequence[str] = ()


class Shows(Protocol):
    """A provider that can be shown files."""

    def shows(self, endpoint: str) -> ProviderFacts:
        """How requests for `endpoint`, one of the provider's endpoints, can show files."""
        ...


class Skip(Struct, frozen=True):
    """Leave it out, and say why: `text` is for people."""

    reason: SkipReason
    text: str


class Refer(Struct, frozen=True):
    """Name the copy that the provider has."""

    reference: str


class NativeUrl(Struct, frozen=True):
    """Tell the provider the address."""

    url: str


class InlineIt(Struct, frozen=True):
    """Put the bytes into the request."""


class Reupload(Struct, frozen=True):
    """Upload it again: the copy that was there is gone, or soon will be."""


class UploadIt(Struct, frozen=True):
    """Upload it."""


Decision: TypeAlias = Skip | Refer | NativeUrl | InlineIt | Reupload | UploadIt
