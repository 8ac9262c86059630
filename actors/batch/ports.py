"""The ports of a batch: what a provider and the blob store must be able to do. Adapters implement the former."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from msgspec import Struct

from perdure.actors.fetch import Fetch, FetchError
from perdure.actors.resolving.facts import ProviderFacts
from perdure.events.requests import Answer, LineError, Prompt, RawRequest

ProviderStatus = Literal["pending", "processing", "completed", "failed", "expired", "cancelled"]
"""A batch's status at its provider. Unknown words of the provider mean `pending`. The last four are terminal."""


class BatchLimits(Struct, frozen=True, kw_only=True):
    """What one batch at the provider may hold: lines, and bytes of the input file."""

    max_lines: int
    max_bytes: int


class BatchInput(Struct, frozen=True, kw_only=True):
    """What one part is bought with: `count` lines of `size_bytes` bytes, as `encode_line` made them, all for `model`.

    `file` is what its upload is called at the provider (`RemoteFile.id`), "" where the lines go into the create call
    itself. `lines` gives them in runs of whole lines, anew and the same each time it is called; it raises `BlobLost`.
    """

    model: str
    count: int
    size_bytes: int
    file: str
    lines: Callable[[], AsyncIterator[bytes]]


class Sought(Struct, frozen=True, kw_only=True):
    """What tells a batch that may have been created apart from others. Lists are read back to `since` (µs since 1970
    UTC).

    `identity` is what was planted where the provider has a place for it. It has `count` lines, whose ids are
    `line_prefix` and a number from `first` to `last`. `others` are batches that are known already and are not it.
    """

    identity: str
    line_prefix: str
    count: int
    first: int
    last: int
    since: int
    others: frozenset[str] = frozenset()


class Undecided(FetchError):
    """There are candidates, and it cannot be told yet which of them is the one that is sought: ask again later, after
    `retry_after_s` where that is given."""


class InputProblem(Struct, frozen=True):
    """What a provider has against the input: `line` counts from 1 within the part, None when it is about all of it."""

    code: str
    message: str
    line: int | None = None


class ProviderBatch(Struct, frozen=True, kw_only=True):
    """A batch as its provider shows it. `created_at` is µs since 1970 UTC.

    `sources` name everything that must be read for the results, output first, then errors, in words that `results`
    understands: a file's id, a URL, `inline`; empty ones are left out. `poll_after_s` is the provider's own hint for
    the next poll, in seconds. `no_room`: it `failed` before any line was run, for a limit on what may wait at the
    provider at a time; later it may be taken.
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
    no_room: bool = False


class OutputLine(Struct, frozen=True, gc=False):
    """One result line: the id that we planted, whether it holds an answer, and the line itself without its newline.

    `unfinished`: it only says that the batch expired or was cancelled before the line was run.
    """

    line_id: str
    ok: bool
    raw: bytes
    unfinished: bool = False


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

    def shows(self, endpoint: str) -> ProviderFacts:
        """How requests for `endpoint`, one of `endpoints`, can show files."""
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

    def needs_file(self, size_bytes: int) -> bool:
        """Whether lines of this size are uploaded as a file before the batch is created."""
        ...

    async def create(self, fetch: Fetch, part: BatchInput, *, endpoint: str, identity: str) -> ProviderBatch:
        """Buys: creates the batch over `part`, with `identity` planted in it where the provider has a place for it."""
        ...

    async def find(self, fetch: Fetch, sought: Sought) -> Sequence[ProviderBatch]:
        """All batches that are what is sought, oldest first; reads every page back to `sought.since`.

        May raise `Undecided` too.
        """
        ...

    async def status(self, fetch: Fetch, batch_id: str) -> ProviderBatch:
        """The batch as it stands."""
        ...

    def results(
        self, fetch: Fetch, source: str, *, skip_bytes: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[bytes]]]:
        """The raw lines of a source behind its first `skip_bytes` bytes, in runs as they arrive, newlines stripped.

        A source gives the same bytes each time. Each line accounts for its own bytes plus one; where the provider has
        no lines, a line is one result as the provider wrote it. Bounded memory. Raises `Unknown` when the source ends
        early.
        """
        ...

    async def cancel(self, fetch: Fetch, batch_id: str) -> None:
        """Asks the provider to cancel. Returns when it agreed, or when there is nothing left to cancel."""
        ...
