"""Files as applications see them: values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct


class ProviderFile(Struct, frozen=True, kw_only=True):
    """A file as a provider has it. `reference` is what its requests name it by; `expires_at` None: never, or untold."""

    provider: str
    id: str
    reference: str
    expires_at: datetime | None = None


class ProviderCopy(Struct, frozen=True, kw_only=True):
    """How a file stands at one provider. `reference` is "" before it is there; `error` says why it is not usable."""

    provider: str
    credential: str
    status: Literal["pending", "processing", "uploaded", "expired", "deleting", "deleted", "error"]
    reference: str = ""
    expires_at: datetime | None = None
    error: str = ""


class FileInfo(Struct, frozen=True, kw_only=True):
    """What is known of a file. `filename` is safe to use elsewhere, `shown_name` is what its owner called it.

    `mime_type` is what the content is, `declared_mime_type` what it was said to be, "" where that does not differ.
    `expires_at` None: it is kept until somebody deletes it.
    """

    id: str
    filename: str
    shown_name: str
    mime_type: str
    size_bytes: int
    created_at: datetime
    expires_at: datetime | None
    declared_mime_type: str = ""
    charset: str = ""
    subject: str = ""
    tags: Mapping[str, str] = {}
    copies: Sequence[ProviderCopy] = ()


class RemoteOrphan(Struct, frozen=True, kw_only=True):
    """A file at a provider that this log put there and that nothing in it needs.

    `id` is what the provider's file routes call it, `filename` what this log called it there. `why`: `"unknown"` (the
    log knows of no such file), `"unused"` (a copy that is not used any more, or one too many), `"file_over"` (its file
    expired or was deleted days ago), `"batch_over"` (the input of a batch that has ended).
    """

    provider: str
    credential: str
    id: str
    filename: str
    why: str
    size_bytes: int = 0
    created_at: datetime | None = None


class SweptOrphan(Struct, frozen=True, kw_only=True):
    """What became of an orphan at `at`. `reason` says why it was left, "" when it was deleted."""

    orphan: RemoteOrphan
    deleted: bool
    reason: str
    at: datetime
