"""The ports of a batch: what a provider and the blob store must be able to do. Adapters implement the former."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from msgspec import Struct

from perdure.actors.fetch import BodySource, Fetch
from perdure.events.requests import Answer, LineError, Prompt, RawRequest

ProviderStatus = Literal["pending", "processing", "completed", "failed", "expired", "cancelled"]
"""A batch's status at its provider. Unknown words of the provider mean `pending`. The last four are terminal."""


class BatchLimits(Struct, frozen=True, kw_only=True):
    """What one batch at the provider may hold: lines, and bytes of the input file."""

    max_lines: int
    max_bytes: int


class InputProblem(Struct, frozen=True):
    """What a provider has against the input: `line` counts from 1 within the part, None when it is about all of it."""

    code: str
    message: str
    line: int | None = None


class ProviderBatch(Struct, frozen=True, kw_only=True):
    """A batch as its provider shows it. `created_at` is µs since 1970 UTC.

    `sources` are the ids of everything that must be read for the results, output first, then errors; empty ids are left
    out. `poll_after_s` is the provider's own hint for the next poll, in seconds.
    """

    id: str
    status: ProviderStatus
    created_at: int
    identity: str = ""
    total: int = 0
    completed: int = 0
    failed: int = 0
    sources: Sequence[str] = ()
    problems: Sequence[InputProblem] = ()
    poll_after_s: float | None = None


class OutputLine(Struct, frozen=True, gc=False):
    """One result line: the id that we planted, whether it holds an answer, and the line itself without its newline."""

    line_id: str
    ok: bool
    raw: bytes


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file as its provider shows it. Times are µs since 1970 UTC; `expires_at` is None for never."""

    id: str
    filename: str
    size_bytes: int
    created_at: int
    expires_at: int | None = None


class Stored(Protocol):
    """A blob that was put: its digest."""

    @property
    def digest(self) -> str:
        """The digest, which names the blob."""
        ...


class Blobs(Protocol):
    """The blob store as a batch uses it."""

    async def put(self, chunks: bytes) -> Stored:
        """Stores content; durable and pinned when it returns. Raises `Unavailable`."""
        ...

    async def read(self, digest: str) -> bytes:
        """A whole blob. Raises `BlobLost`, `Unavailable`."""
        ...

    def release(self, *digests: str) -> None:
        """Takes the pins away."""
        ...


class BatchProvider(Protocol):
    """A provider's batches. All I/O goes through the `fetch` that each call is handed.

    Every async method raises `Refused`, `NotSent` or `Unknown` (see `perdure.actors.fetch`), nothing else on purpose.
    """

    name: str
    endpoints: Sequence[str]
    """The endpoints whose requests may be batched; the first is the default for prompts."""
    searchable: bool
    """Whether a planted identity can be found again."""
    settle_s: float
    """How long after a create a listing may not show it yet, in seconds."""
    window_s: float
    """Within which time the provider ends a batch, in seconds."""

    def limits(self, endpoint: str) -> BatchLimits:
        """What one batch for `endpoint` may hold."""
        ...

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """The provider's request for a neutral prompt. Raises `Unsupported` for what it cannot express."""
        ...

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a body asks for, "" when it names none."""
        ...

    def encode_line(self, line_id: str, url: str, body: bytes) -> bytes:
        """One line of the input file, with a newline at its end and nowhere else; `body` is the request's JSON."""
        ...

    def body_of(self, line: bytes) -> bytes:
        """The request's JSON in a line that `encode_line` made."""
        ...

    def parse_line(self, raw: bytes) -> OutputLine | None:
        """One line of a result source; None when it cannot be read. Never raises."""
        ...

    def answer(self, endpoint: str, raw: bytes) -> Answer | LineError:
        """What a result line says. Never raises: what cannot be read is a `LineError`."""
        ...

    async def create(self, fetch: Fetch, *, file_id: str, endpoint: str, identity: str) -> ProviderBatch:
        """Buys: creates the batch over an uploaded file, with `identity` planted in it."""
        ...

    async def find(self, fetch: Fetch, *, identity: str, since: int) -> Sequence[ProviderBatch]:
        """All batches with `identity`, oldest first; reads every page back to `since` (µs since 1970 UTC)."""
        ...

    async def status(self, fetch: Fetch, batch_id: str) -> ProviderBatch:
        """The batch as it stands."""
        ...

    def results(
        self, fetch: Fetch, source: str, *, skip_bytes: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[bytes]]]:
        """The raw lines of a source behind its first `skip_bytes` bytes, in runs as they arrive, newlines stripped.

        Each line accounts for its own bytes plus one. Bounded memory. Raises `Unknown` when the source ends early.
        """
        ...

    async def cancel(self, fetch: Fetch, batch_id: str) -> None:
        """Asks the provider to cancel. Returns when it agreed, or when there is nothing left to cancel."""
        ...


class FileProvider(Protocol):
    """A provider's files, as far as a batch needs them."""

    name: str
    searchable: bool
    settle_s: float

    async def upload(
        self, fetch: Fetch, *, filename: str, purpose: str, body: BodySource, size_bytes: int
    ) -> StoredFile:
        """Stores a file. `filename` is the planted identity."""
        ...

    async def find(
        self, fetch: Fetch, *, filename: str, size_bytes: int, purpose: str, since: int
    ) -> Sequence[StoredFile]:
        """All files with this name and size, oldest first; reads every page back to `since` (µs since 1970 UTC)."""
        ...
