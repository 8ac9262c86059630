"""The lines of a batch: reading the input file, writing the output and the error file.

Runs in a thread. Files are read and written line by line; what is kept in memory for a whole file is its custom ids
while they are checked, and, for a shuffled output, where each line begins.
"""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import IO, Final, Literal

from msgspec import DecodeError, Raw, Struct, ValidationError, json

from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.multipart import ReceivedPart
from perdure.adapters.simulator.openai.answers import Answer, AnswerBody, answer
from perdure.adapters.simulator.openai.errors import ErrorAnswer, ErrorBody
from perdure.adapters.simulator.openai.lifecycle import Checked, Plan
from perdure.adapters.simulator.openai.wire import LineError, Usage
from perdure.adapters.simulator.speech import NO_MODEL

MAX_LINES: Final = 50_000
"""How many lines a batch may have (OpenAI's SDK 3.52, documentation of `batches.create`)."""

MAX_ERRORS: Final = 100
"""How many errors of an input file are reported at most. Ours; OpenAI does not state a number."""

_WRITE_BYTES: Final = 1 << 20


class _ModelOnly(Struct, frozen=True):
    model: str | None = None


class _CheckedLine(Struct, frozen=True):
    custom_id: str
    method: str
    url: str
    body: _ModelOnly


class _InputLine(Struct, frozen=True):
    custom_id: str
    body: Raw


class _LineResponse(Struct, frozen=True):
    status_code: int
    request_id: str
    body: AnswerBody


class _NotRun(Struct, frozen=True):
    code: str
    message: str


class _OutputLine(Struct, frozen=True):
    id: str
    custom_id: str
    response: _LineResponse | None
    error: _NotRun | None


class Job(Struct, frozen=True):
    """What to write for a batch: `done` of its `total` lines ran, the first ones, before it ended as `status`.

    `files` are those that its lines may name.
    """

    batch_id: str
    endpoint: str
    source: Path
    output: Path
    errors: Path
    total: int
    done: int
    status: Literal["completed", "expired", "cancelled"]
    plan: Plan
    seed: int
    at: int
    files: Set[str]


class Written(Struct, frozen=True):
    """What was written; a file without lines is None and not there."""

    output: ReceivedPart | None
    errors: ReceivedPart | None
    completed: int
    failed: int
    usage: Usage


_check_decoder = json.Decoder(_CheckedLine)
_line_decoder = json.Decoder(_InputLine)
_encoder = json.Encoder()


def check_input(source: Path, endpoint: str) -> Checked:
    """Reads an input file and says what is wrong with it, in the order of its lines, `MAX_ERRORS` at most."""
    errors: list[LineError] = []
    seen: set[str] = set()
    model: str | None = None
    total = 0
    with source.open("rb") as file:
        for total, raw in enumerate(file, start=1):
            if total > MAX_LINES or len(errors) >= MAX_ERRORS:
                continue
            try:
                line = _check_decoder.decode(raw)
            except (ValidationError, DecodeError, UnicodeDecodeError) as error:
                errors.append(LineError("invalid_json_line", f"This line cannot be read: {error}.", total))
                continue
            if line.custom_id in seen:
                errors.append(
                    LineError("duplicate_custom_id", f"'{line.custom_id}' was used before.", total, "custom_id")
                )
            seen.add(line.custom_id)
            if line.url != endpoint:
                errors.append(LineError("url_mismatch", f"'{line.url}' is not '{endpoint}'.", total, "url"))
            if line.method != "POST":
                errors.append(LineError("invalid_json_line", "The method must be POST.", total, "method"))
            asked = line.body.model
            if asked and asked != NO_MODEL:
                if model is not None and asked != model:
                    errors.append(LineError("model_mismatch", f"'{asked}' is not '{model}'.", total, "body.model"))
                model = model or asked
    if total == 0:
        errors.append(LineError("empty_file", "The file has no lines."))
    if total > MAX_LINES:
        errors = [LineError("too_many_tasks", f"The file has {total} lines; {MAX_LINES} are allowed.")]
    return Checked(total, model, tuple(errors))


def write_results(job: Job) -> Written:
    """Writes what a batch that ended leaves behind."""
    plan = job.plan
    chance = random.Random(digest(job.seed, "lines", job.batch_id))
    failing = _some(chance, job.done, job.done if plan.only_error_file else plan.failing)
    left_out = _some(chance, job.total, plan.missing)
    doubled = _some(chance, job.total, plan.duplicate)
    garbled = _some(chance, job.total, plan.garbled)
    completed = failed = read = said = 0
    with _LineFile(job.output) as output, _LineFile(job.errors) as errors:
        for n, raw in _read_lines(job, chance):
            line = _line_decoder.decode(raw)
            if n >= job.done:
                errors.add(_not_run(job, n, line.custom_id))
                continue
            salts = ("", "again") if n in doubled else ("",)
            for salt in salts:
                given = _answer(job, n, line, failing=n in failing, salt=salt)
                if not salt:
                    completed += given.status < 400
                    failed += given.status >= 400
                    read += given.usage.input_tokens
                    said += given.usage.output_tokens
                if n in left_out or plan.no_files:
                    continue
                wrapped = _wrap(job, n, line.custom_id, given, salt)
                target = output if given.status < 400 else errors
                target.add(wrapped[: len(wrapped) // 2] if n in garbled else wrapped)
        for n in range(plan.extra):
            extra = _InputLine(
                f"extra-{n + 1}", Raw(b'{"model":"extra","input":"extra","messages":[{"content":"extra"}]}')
            )
            given = _answer(job, job.total + n, extra, failing=False, salt="")
            output.add(_wrap(job, job.total + n, extra.custom_id, given, ""))
        return Written(output.finish(), errors.finish(), completed, failed, Usage(read, said, read + said))


def _some(chance: random.Random, of: int, count: int) -> frozenset[int]:
    """`count` different numbers below `of`, or all of them if there are not so many."""
    return frozenset(chance.sample(range(of), min(count, of))) if count else frozenset()


def _read_lines(job: Job, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    with job.source.open("rb") as file:
        if not job.plan.shuffled:
            yield from enumerate(file)
            return
        begins = array("Q", _offsets(file))
        order = array("L", range(len(begins)))
        chance.shuffle(order)
        for n in order:
            file.seek(begins[n])
            yield n, file.readline()


def _offsets(lines: Iterable[bytes]) -> Iterator[int]:
    at = 0
    for line in lines:
        yield at
        at += len(line)


def _answer(job: Job, n: int, line: _InputLine, *, failing: bool, salt: str) -> Answer:
    if failing:
        status = job.plan.failing_status
        return Answer(status, ErrorAnswer(ErrorBody("This line was made to fail.", "server_error", None, None)))
    return answer(
        job.endpoint,
        bytes(line.body),
        seed=job.seed,
        name=f"{job.batch_id}/{n}{salt}",
        at=job.at,
        has_file=job.files.__contains__,
        salt=salt,
    )


def _wrap(job: Job, n: int, custom_id: str, given: Answer, salt: str) -> bytes:
    name = digest(job.seed, "line", job.batch_id, n, salt)
    response = _LineResponse(given.status, name[24:56], given.body)
    return _encoder.encode(_OutputLine(f"batch_req_{name[:24]}", custom_id, response, None))


def _not_run(job: Job, n: int, custom_id: str) -> bytes:
    name = digest(job.seed, "line", job.batch_id, n, "")
    reason = _NotRun(f"batch_{job.status}", f"The batch was {job.status} before this line was run.")
    return _encoder.encode(_OutputLine(f"batch_req_{name[:24]}", custom_id, None, reason))


class _LineFile:
    """A file written in large pieces; removed again if nothing was added to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] = path.open("wb")
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._lines = 0

    def __enter__(self) -> _LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, line: bytes) -> None:
        self._buffer += line
        self._buffer += b"\n"
        self._lines += 1
        if len(self._buffer) >= _WRITE_BYTES:
            self._flush()

    def finish(self) -> ReceivedPart | None:
        self._flush()
        self._file.close()
        if not self._lines:
            self._path.unlink()
            return None
        return ReceivedPart("", self._size_bytes, self._lines, self._hash.hexdigest())

    def _flush(self) -> None:
        self._file.write(self._buffer)
        self._hash.update(self._buffer)
        self._size_bytes += len(self._buffer)
        self._buffer.clear()
