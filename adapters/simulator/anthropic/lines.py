"""The requests of a message batch and their results, as files of lines. Runs in a thread; nothing whole is in memory.

The body of a creation is looked at where it lies, on the disk; what is kept of it in memory is where each request
begins, and the custom ids while they are checked. What is wrong with the parameters of a request is found only when its
turn comes: it makes that request's result `errored` (`contracts/providers.md` section 2.2).
"""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from msgspec import DecodeError, Raw, Struct, ValidationError, json

from perdure.adapters.simulator.anthropic.content import Lookup, Reader
from perdure.adapters.simulator.anthropic.errors import ApiError, Details, ErrorBody, error_type
from perdure.adapters.simulator.anthropic.lifecycle import Counts
from perdure.adapters.simulator.anthropic.messages import MessageBody, answered
from perdure.adapters.simulator.batching import Complaint, Phase, Plan, chance_of, spoil
from perdure.adapters.simulator.filestore import KeptFile
from perdure.adapters.simulator.ids import make_id
from perdure.adapters.simulator.jsonl import LineFile, numbered_lines

MAX_REQUESTS: Final = 100_000
"""How many requests a batch may have (section 2.2)."""

CUSTOM_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a custom id may be (section 2.2)."""


class BadInput(Exception):
    """The body of a creation cannot be taken; the message says where and why."""


class Received(Struct, frozen=True):
    """What was received: how many requests, the first and the last custom id, the digest of all in hex."""

    total: int
    first: str
    last: str
    sha256: str


class Job(Struct, frozen=True):
    """What to write for a batch that ended as `end`: `done` of its `total` requests ran, the first ones.

    `complaint`: all that ran fail with it. `find` and `is_expired` are for the files that requests name.
    """

    batch_id: str
    source: Path
    results: Path
    total: int
    done: int
    end: Phase
    complaint: Complaint | None
    plan: Plan
    seed: int
    version: str
    find: Lookup
    is_expired: Callable[[KeptFile], bool]


class _Body(Struct, frozen=True, forbid_unknown_fields=True):
    requests: list[Raw]


class _Checked(Struct, frozen=True, forbid_unknown_fields=True):
    custom_id: str
    params: dict[str, Raw]


class _Line(Struct, frozen=True):
    custom_id: str
    params: Raw


class _Succeeded(Struct, frozen=True):
    message: MessageBody
    type: Literal["succeeded"] = "succeeded"


class _Error(Struct, frozen=True):
    error: ErrorBody
    type: Literal["error"] = "error"


class _Errored(Struct, frozen=True):
    error: _Error
    type: Literal["errored"] = "errored"


class _NotRun(Struct, frozen=True):
    type: Literal["canceled", "expired"]


class _Result(Struct, frozen=True):
    custom_id: str
    result: _Succeeded | _Errored | _NotRun


_bodies: Final = json.Decoder(_Body)
_checked: Final = json.Decoder(_Checked)
_lines: Final = json.Decoder(_Line)
_encode: Final = json.Encoder().encode

_EXTRA: Final = b'{"model":"extra","max_tokens":64,"messages":[{"role":"user","content":"extra"}]}'


def split_requests(body: Path, target: Path) -> Received:
    """Writes the requests in the body of a creation as lines. Raises `BadInput` for a body that cannot be taken."""
    if not body.stat().st_size:
        raise BadInput("The request body is not a JSON object: it is empty.")
    with (
        body.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        LineFile(target) as lines,
    ):
        # What is decoded refers to the mapped bytes, so it must be gone, out of tracebacks too, before they are let go.
        received = _split(mapped, lines)
    if isinstance(received, str):
        target.unlink(missing_ok=True)
        raise BadInput(received)
    return received


def _split(body: mmap.mmap, lines: LineFile) -> Received | str:
    try:
        requests = _bodies.decode(body).requests
    except (ValidationError, DecodeError, UnicodeDecodeError) as error:
        return f"The request body is not what a batch is made of: {error}."
    if not 1 <= len(requests) <= MAX_REQUESTS:
        return f"requests: there must be 1 to {MAX_REQUESTS}, not {len(requests)}"
    seen: set[str] = set()
    first = last = ""
    digest = hashlib.sha256()
    for n, raw in enumerate(requests):
        try:
            last = _checked.decode(raw).custom_id
        except (ValidationError, DecodeError, UnicodeDecodeError) as error:
            return f"requests.{n}: {error}"
        if not CUSTOM_ID.fullmatch(last):
            return f"requests.{n}.custom_id: String should match pattern '^{CUSTOM_ID.pattern}$'"
        if last in seen:
            return f"requests.{n}.custom_id: '{last}' was used before"
        first = first or last
        seen.add(last)
        line = bytes(raw).replace(b"\n", b" ").replace(b"\r", b" ")
        digest.update(line)
        lines.add(line)
    lines.finish()
    return Received(len(requests), first, last, digest.hexdigest())


def write_results(job: Job) -> tuple[Counts, int]:
    """Writes the results of a batch, in another order than its requests had, and says how they did and how long they
    are."""
    plan = job.plan
    chance = chance_of(job.seed, job.batch_id)
    spoilt = spoil(plan, chance, done=job.done, total=job.total)
    reader = Reader(job.find, job.is_expired, job.version)
    not_run = _NotRun("expired" if job.end == "expired" else "canceled")
    succeeded = errored = 0
    with LineFile(job.results) as results:
        for n, raw in numbered_lines(job.source, chance):
            line = _lines.decode(raw)
            if n >= job.done:
                if n not in spoilt.left_out:
                    results.add(_encode(_Result(line.custom_id, not_run)))
                continue
            for salt in ("", "again") if n in spoilt.doubled else ("",):
                result = _fault(job, n in spoilt.failing) or _run(job, reader, bytes(line.params), n, salt)
                if not salt:
                    succeeded += isinstance(result, _Succeeded)
                    errored += isinstance(result, _Errored)
                if n not in spoilt.left_out:
                    said = _encode(_Result(line.custom_id, result))
                    results.add(said[: len(said) // 2] if n in spoilt.garbled else said)
        for n in range(plan.extra):
            results.add(_encode(_Result(f"extra-{n + 1}", _run(job, reader, _EXTRA, job.total + n, ""))))
        written = results.finish()
    if written is None:
        job.results.touch()
    left = job.total - job.done
    ended = Counts(0, succeeded, errored, expired=left) if job.end == "expired" else Counts(0, succeeded, errored, left)
    return ended, 0 if written is None else written.size_bytes


def _fault(job: Job, failing: bool) -> _Errored | None:
    """The error of a request that was made to fail."""
    if job.complaint is not None:
        said = job.complaint
        return _Errored(_Error(ErrorBody(error_type(400), said.message, Details(said.code))))
    if failing:
        return _Errored(_Error(ErrorBody(error_type(job.plan.failing_status), "This request was made to fail.")))
    return None


def _run(job: Job, reader: Reader, params: bytes, n: int, salt: str) -> _Succeeded | _Errored:
    id_ = make_id(job.seed, "msg_", job.batch_id, n, salt)
    try:
        return _Succeeded(
            answered(params, id_, reader=reader, version=job.version, seed=job.seed, tier="batch", salt=salt)
        )
    except ApiError as error:
        return _Errored(_Error(error.body))
