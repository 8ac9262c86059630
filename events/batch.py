"""What happens to a batch, and what may be asked of it.

Lines are numbered from 0 over the whole batch. A part is what goes to the provider as one batch: a run of lines within
the provider's limits. Bulk is never here: lines and results are blobs that events point into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from msgspec import Struct

from perdure.events.command import Command
from perdure.events.cost import Cost
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.file_warnings import FileWarning
from perdure.events.purchase import OnUncertain
from perdure.events.sealed import Sealed

EndStatus = Literal["completed", "failed", "expired", "cancelled"]
"""How a part ended: the provider's word, or ours where it never got that far."""


class Part(Struct, frozen=True, gc=False):
    """The lines `first` to `last`, both included, and the bytes of their input file."""

    first: int
    last: int
    size_bytes: int


class Problem(Struct, frozen=True, gc=False, omit_defaults=True):
    """What the provider has against the input; `line` counts from 1 within the part, 0 when it is about all of it."""

    code: str
    message: Sealed[str]
    line: int = 0


class Settlement(Struct, frozen=True, gc=False):
    """Lines that end without a result line of the provider, as ranges `(first, last)`, and where their error lies."""

    code: str
    ranges: Sequence[tuple[int, int]]
    blob: str
    offset: int
    length: int


class LineNote(Struct, frozen=True, gc=False, omit_defaults=True):
    """What is known of a line of a shared window besides its bytes: who asked for it and how.

    `key` is the caller's idempotency key and `digest` what the request hashed to under it; `deadline_at` is µs since
    1970 UTC, 0 for none.
    """

    number: int
    key: str = ""
    digest: str = ""
    custom_id: str = ""
    deadline_at: int = 0
    principal: str = ""
    tags: Mapping[str, str] = {}


class BatchOpened(Event, frozen=True, tag="BatchOpened"):
    """The window is open: lines are collected. Times ending in `_at` are µs since 1970 UTC, 0 for none.

    A window that holds fewer than `minimum` lines when it closes is not sent as a batch: each line goes live, whatever
    their number where the window is `direct`. `resubmit`: how often the unfinished lines of a part are bought again
    that the provider failed, let expire or cancelled.
    """

    schema: ClassVar[int] = 3

    provider: str
    endpoint: str
    model: str
    credential: str
    max_lines: int
    max_bytes: int
    window_us: int
    settle_us: int
    every_us: int
    searchable: bool = False
    first_poll_us: int = 0
    hint: bool = False
    on_uncertain: str = ""
    deadline_at: int = 0
    close_at: int = 0
    tags: Mapping[str, str] = {}
    minimum: int = 0
    direct: bool = False
    resubmit: int = 0


class LinesCollected(Event, frozen=True, tag="LinesCollected"):
    """A run of lines is durable. `names` are the callers' ids, `lengths` the bytes of each line in `blob`, in order.

    Lines of a window that callers share have no names, for theirs may clash: they are in `notes`, one for each line of
    which there is something to note. A line with files has the hash of what its caller wrote there.
    """

    schema: ClassVar[int] = 2

    first: int
    blob: str
    names: Sequence[str]
    lengths: Sequence[int]
    notes: Sequence[LineNote] = ()


class BatchClosed(Event, frozen=True, tag="BatchClosed"):
    """No more lines: the parts are what the provider will be asked for, or, `direct`, each line goes live.

    Lines that were abandoned before are in no input file, and a part of which that is true of all lines is left out.
    """

    schema: ClassVar[int] = 2

    lines: int
    parts: Sequence[Part]
    direct: bool = False


class BatchDiscarded(Event, frozen=True, tag="BatchDiscarded"):
    """The input turned out to be bad while it was read. Nothing was sent; the key is free again."""

    reason: Sealed[str] = Sealed()


class LinesAbandoned(Event, frozen=True, tag="LinesAbandoned"):
    """Nobody waits for these lines any more, ranges `(first, last)`: their callers gave them up, or their deadline
    passed (`reason`: `caller` or `deadline`). An answer that comes all the same is kept and changes nothing for them.
    """

    ranges: Sequence[tuple[int, int]]
    reason: str


class FileAsked(Event, frozen=True, tag="FileAsked"):
    """The provider-file actor `file` was told to upload the part's lines."""

    part: int
    file: str


class FileReady(Event, frozen=True, tag="FileReady"):
    """The part's lines are at the provider, as its file `provider_file`."""

    part: int
    provider_file: str


class FileNotNeeded(Event, frozen=True, tag="FileNotNeeded"):
    """The part has no input file: its lines go into the call that creates its batch."""

    part: int


class FileTroubled(Event, frozen=True, tag="FileTroubled"):
    """The part's file cannot be uploaded until somebody mends a key or a quota, as was learnt at `at`."""

    part: int
    error: str
    at: int


class FileResumeAsked(Event, frozen=True, tag="FileResumeAsked"):
    """Somebody says that it may work now: the file actor is to try again."""

    part: int


class FileResumed(Event, frozen=True, tag="FileResumed"):
    """The file actor was told to try again."""

    part: int


class BatchSubmitted(Event, frozen=True, tag="BatchSubmitted"):
    """The provider has the part as `provider_batch`; `reconciled` when that was found out after a crash or a doubt.

    `at` is when we learnt of it; `hint_us` is the provider's own hint for the first poll, 0 for none.
    """

    part: int
    attempt: int
    provider_batch: str
    at: int
    hint_us: int = 0
    reconciled: bool = False


class BatchPolled(Event, frozen=True, tag="BatchPolled"):
    """The provider shows something new of a part: its status, or progress of at least a hundredth."""

    part: int
    status: str
    total: int = 0
    completed: int = 0
    failed: int = 0


class PollTroubled(Event, frozen=True, tag="PollTroubled"):
    """Asking about a part began to fail at `at`. `blocked`: it needs somebody (a key, a quota)."""

    part: int
    error: str
    at: int
    blocked: bool = False


class PollRecovered(Event, frozen=True, tag="PollRecovered"):
    """Asking about a part works again."""

    part: int


class BatchOverdue(Event, frozen=True, tag="BatchOverdue"):
    """An alarm: at `at` the provider had neither ended `provider_batch` within its window nor within the margin behind
    it. From now on it is cancelled there, so that what it has done so far can be taken."""

    part: int
    provider_batch: str
    at: int


class PartDeferred(Event, frozen=True, tag="PartDeferred"):
    """The provider had no room for a part: it failed `provider_batch` before any line was run, for a limit on what may
    wait there at a time. It is bought again at `retry_at`. Both times are µs since 1970 UTC."""

    part: int
    provider_batch: str
    at: int
    retry_at: int
    code: str
    message: Sealed[str] = Sealed()


class PartResubmitted(Event, frozen=True, tag="PartResubmitted"):
    """`provider_batch` ended as `status` with lines unfinished, and all that it had was taken: those lines are bought
    again, the `round`-th time. `settlements` are the lines that the provider found wrong."""

    part: int
    round: int
    provider_batch: str
    status: EndStatus
    settlements: Sequence[Settlement] = ()


class PartEnded(Event, frozen=True, tag="PartEnded"):
    """Nothing more will happen to a part. `sources` is what must be read for its results, in order.

    `code` and `message` say why lines without a result have none. `abandoned`: the provider has it and did not end it
    in time; it is given up here and to be cancelled there.
    """

    schema: ClassVar[int] = 2

    part: int
    status: EndStatus
    code: str
    message: Sealed[str] = Sealed()
    sources: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    abandoned: bool = False


class ResultsTaken(Event, frozen=True, tag="ResultsTaken"):
    """A run of result lines is durable. `numbers`, `offsets` and `lengths` run in step; `failed` are error lines.

    `cursor` is how many bytes of the `source`-th source are behind us. Lines that nobody asked for, or that came twice,
    are counted and not kept. `cancelled` and `expired` are those of `numbers` that had been abandoned before.
    """

    schema: ClassVar[int] = 2

    part: int
    source: int
    cursor: int
    blob: str
    numbers: Sequence[int]
    offsets: Sequence[int]
    lengths: Sequence[int]
    failed: Sequence[int] = ()
    extra: int = 0
    duplicate: int = 0
    unreadable: int = 0
    cancelled: Sequence[int] = ()
    expired: Sequence[int] = ()


class PartSettled(Event, frozen=True, tag="PartSettled"):
    """Every line of the part has an answer or an error."""

    part: int
    settlements: Sequence[Settlement] = ()


class LineAnswered(Event, frozen=True, tag="LineAnswered"):
    """The provider's answer to a line that went live, paid for: `blob` is its body, `ok` whether it holds an answer.

    `late`: the line had been abandoned before, as `cancelled` or `expired`, and stays so for its caller.
    """

    number: int
    attempt: int
    blob: str
    length: int
    ok: bool
    late: str = ""


class LineFailed(Event, frozen=True, tag="LineFailed"):
    """A line that went live will have no answer: it was refused for good, or it cannot be told whether it was bought.

    `status` is the provider's HTTP status, 0 for none.
    """

    number: int
    code: str
    message: Sealed[str] = Sealed()
    status: int = 0


class LineSettled(Event, frozen=True, tag="LineSettled"):
    """Why a line has no answer is written down, as `blob`: the line has ended."""

    number: int
    blob: str
    length: int


class CancelRequested(Event, frozen=True, tag="CancelRequested"):
    """Somebody, or the deadline, wanted the batch to end at `at` (µs UTC). What is owed is settled first."""

    schema: ClassVar[int] = 2

    reason: str
    at: int = 0


class CancelSent(Event, frozen=True, tag="CancelSent"):
    """The provider agreed at `at` to cancel a part, or had nothing left to cancel."""

    part: int
    at: int


class DuplicateCancelled(Event, frozen=True, tag="DuplicateCancelled"):
    """A batch at the provider that nobody needs was cancelled."""

    provider_batch: str


class BatchFinished(Event, frozen=True, tag="BatchFinished"):
    """All lines have an answer or an error; `status` is the operation's."""

    status: str
    ok: int
    failed: int


# ---------------------------------------------------------------- commands: from callers


class WindowClosed(Rejected):
    """The window takes these lines no more: it is closed, or has no room for them. Another one will."""


class OpenBatch(Command, frozen=True):
    """Opens the window; the fields of `BatchOpened`, with spans in µs relative to now where the event has times."""

    provider: str
    endpoint: str
    model: str
    credential: str
    max_lines: int
    max_bytes: int
    window_us: int
    settle_us: int
    every_us: int
    searchable: bool
    first_poll_us: int = 0
    hint: bool = True
    on_uncertain: OnUncertain = "fail"
    deadline_us: int = 0
    close_after_us: int = 0
    tags: Mapping[str, str] = {}
    minimum: int = 0
    direct: bool = False
    resubmit: int = 0


class CollectLines(Command, frozen=True):
    """Adds a run of lines whose blob is durable. `names` may be empty: then they have none.

    `warnings` are of files that could not be shown to the provider as they are.
    """

    first: int
    blob: str
    names: Sequence[str]
    lengths: Sequence[int]
    notes: Sequence[LineNote] = ()
    warnings: Sequence[FileWarning] = ()


class CloseBatch(Command, frozen=True):
    """Ends the window."""


class DiscardBatch(Command, frozen=True):
    """Gives up a batch whose input is bad, before anything was sent."""

    reason: str


class CancelBatch(Command, frozen=True):
    """Wants the batch to end. `reason` is `caller` or `deadline`."""

    reason: str = "caller"


class CancelLines(Command, frozen=True):
    """Gives up single lines: their callers do not wait for them any more. Settled ones are left as they are."""

    numbers: Sequence[int]
    reason: Literal["caller", "deadline"] = "caller"


class ResumeBatch(Command, frozen=True):
    """Tries a blocked batch again now: a key or a quota may have changed."""


class ResubmitBatch(Command, frozen=True):
    """Buys the parts again of which it could not be told whether they were bought."""


# ---------------------------------------------------------------- commands: from effects and from the file actor


class NoteFileAsked(Command, frozen=True):
    """Report: the file actor has its order."""

    part: int
    file: str


class NoteFileNotNeeded(Command, frozen=True):
    """Report: the provider takes the part's lines with the call that creates its batch."""

    part: int


class FileStored(Command, frozen=True):
    """From the file actor `file`: the part's lines are at the provider."""

    part: int
    provider_file: str
    file: str = ""


class FileFailed(Command, frozen=True):
    """From the file actor `file`: the part's lines cannot be put at the provider."""

    part: int
    code: str
    message: str
    file: str = ""


class FileBlocked(Command, frozen=True):
    """From the file actor `file`: it needs somebody who mends a key or a quota."""

    part: int
    error: str
    file: str = ""


class NoteFileResumed(Command, frozen=True):
    """Report: the file actor was told to try again."""

    part: int


class NoteSubmitted(Command, frozen=True):
    """Report: the provider has the part."""

    bought: ClassVar[bool] = True

    part: int
    attempt: int
    provider_batch: str
    hint_us: int = 0
    reconciled: bool = False


class NotePolled(Command, frozen=True):
    """Report: what the provider shows."""

    part: int
    status: str
    total: int
    completed: int
    failed: int


class NoteTrouble(Command, frozen=True):
    """Report: asking about a part fails."""

    part: int
    error: str
    blocked: bool


class NoteOverdue(Command, frozen=True):
    """Report: the provider has not ended `provider_batch`, although its window and the margin are over."""

    part: int
    provider_batch: str


class DeferPart(Command, frozen=True):
    """Report: the provider failed `provider_batch` for want of room, before any line of it was run."""

    part: int
    provider_batch: str
    code: str
    message: str


class EndPart(Command, frozen=True):
    """Report: nothing more will happen to a part at the provider, or it was waited for long enough (`abandoned`)."""

    part: int
    status: EndStatus
    code: str
    message: str
    sources: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    abandoned: bool = False


class TakeResults(Command, frozen=True):
    """Report: a run of result lines lies in a durable blob; `behind` was the cursor when it began.

    `numbers`, `offsets` and `lengths` run in step; `failed` are the places in them of error lines. `costs` runs in step
    with them too: what each line cost, None for one that cost nothing; it may be left out.
    """

    part: int
    source: int
    behind: int
    cursor: int
    blob: str
    numbers: Sequence[int]
    offsets: Sequence[int]
    lengths: Sequence[int]
    failed: Sequence[int]
    foreign: int
    unreadable: int
    costs: Sequence[Cost | None] = ()


class SettlePart(Command, frozen=True):
    """Report: all sources were read. Lines still open end with `code`, at the given place, or at their own in `own`."""

    part: int
    code: str
    blob: str
    offset: int
    length: int
    own: Mapping[int, tuple[int, int]] = {}


class ExpireLines(Command, frozen=True):
    """Report: the deadlines up to `until` (µs since 1970 UTC) are here."""

    until: int


class NoteLineAnswered(Command, frozen=True):
    """Report: the provider's answer to a line that went live is in a durable blob, and what it cost."""

    bought: ClassVar[bool] = True

    number: int
    attempt: int
    blob: str
    length: int
    ok: bool
    cost: Cost | None = None


class FailLine(Command, frozen=True):
    """Report: a line cannot be sent, for its bytes are lost."""

    number: int
    code: str
    message: str


class SettleLine(Command, frozen=True):
    """Report: why a line has no answer is in a durable blob."""

    number: int
    blob: str
    length: int


class NoteCancelSent(Command, frozen=True):
    """Report: the provider was asked to cancel a part."""

    part: int


class NoteDuplicateCancelled(Command, frozen=True):
    """Report: a batch that nobody needs was cancelled."""

    provider_batch: str


BATCH_EVENTS = (
    BatchOpened,
    LinesCollected,
    BatchClosed,
    BatchDiscarded,
    LinesAbandoned,
    FileAsked,
    FileReady,
    FileNotNeeded,
    FileTroubled,
    FileResumeAsked,
    FileResumed,
    BatchSubmitted,
    BatchPolled,
    PollTroubled,
    PollRecovered,
    BatchOverdue,
    PartDeferred,
    PartEnded,
    ResultsTaken,
    PartResubmitted,
    PartSettled,
    LineAnswered,
    LineFailed,
    LineSettled,
    CancelRequested,
    CancelSent,
    DuplicateCancelled,
    BatchFinished,
)
