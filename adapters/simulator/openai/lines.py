"""The lines of a batch: reading the input file, writing the output and the error file.

Runs in a thread. Files are read and written line by line; what is kept in memory for a whole file is its custom ids
while they are checked, and, for a shuffled output, where each line begins.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Final, Literal

from msgspec import DecodeError, Raw, Struct, ValidationError, json

from perdure.adapters.simulator.batching import Plan, chance_of, spoil
from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.jsonl import LineFile, numbered_lines
from perdure.adapters.simulator.multipart import ReceivedPart
from perdure.adapters.simulator.openai.answers import Answer, AnswerBody, answer
from perdure.adapters.simulator.openai.errors import ErrorAnswer, ErrorBody
from perdure.adapters.simulator.openai.lifecycle import Checked
from perdure.adapters.simulator.openai.wire import LineError, Usage
from perdure.adapters.simulator.speech import NO_MODEL

MAX_LINES: Final = 50_000
"""How many lines a batch may have (OpenAI's SDK 3.52, documentation of `batches.create`)."""

MAX_ERRORS: Final = 100
"""How many errors of an input file are reported at most. Ours; OpenAI does not state a number."""


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
    chance = chance_of(job.seed, job.batch_id)
    spoilt = spoil(plan, chance, done=job.done, total=job.total)
    completed = failed = read = said = 0
    with LineFile(job.output) as output, LineFile(job.errors) as errors:
        for n, raw in numbered_lines(job.source, chance if plan.shuffled else None):
            line = _line_decoder.decode(raw)
            if n >= job.done:
                errors.add(_not_run(job, n, line.custom_id))
                continue
            salts = ("", "again") if n in spoilt.doubled else ("",)
            for salt in salts:
                given = _answer(job, n, line, failing=n in spoilt.failing, salt=salt)
                if not salt:
                    completed += given.status < 400
                    failed += given.status >= 400
                    read += given.usage.input_tokens
                    said += given.usage.output_tokens
                if n in spoilt.left_out or plan.no_files:
                    continue
                wrapped = _wrap(job, n, line.custom_id, given, salt)
                target = output if given.status < 400 else errors
                target.add(wrapped[: len(wrapped) // 2] if n in spoilt.garbled else wrapped)
        for n in range(plan.extra):
            extra = _InputLine(
                f"extra-{n + 1}", Raw(b'{"model":"extra","input":"extra","messages":[{"content":"extra"}]}')
            )
            given = _answer(job, job.total + n, extra, failing=False, salt="")
            output.add(_wrap(job, job.total + n, extra.custom_id, given, ""))
        return Written(output.finish(), errors.finish(), completed, failed, Usage(read, said, read + said))


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
