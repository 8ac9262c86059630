"""The requests of a batch of xAI and their results, as files of lines. Runs in a thread; nothing whole is in memory.

Input lines have OpenAI's form, also those that were added one by one. Each result line is one object of the list that
the results route pages through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Final, Literal

from msgspec import DecodeError, Raw, Struct, ValidationError, json

from perdure.adapters.simulator.batching import Complaint, Plan, chance_of, spoil
from perdure.adapters.simulator.jsonl import LineFile, numbered_lines
from perdure.adapters.simulator.openai.answers import (
    Answer,
    ChatBody,
    ChatChoice,
    ChatMessage,
    ChatUsage,
    ResponseBody,
    answer,
)
from perdure.adapters.simulator.openai.errors import ErrorAnswer, ErrorBody
from perdure.adapters.simulator.xai.cost import BATCH_TICKS_A_TOKEN
from perdure.adapters.simulator.xai.wire import BatchRequest

VARIANTS: Final[Mapping[str, str]] = {"responses": "/v1/responses", "chat_get_completion": "/v1/chat/completions"}
"""Under which name a request that is added may stand, and the endpoint that it is for."""

OTHER_ENDPOINTS: Final = ("/v1/images/generations", "/v1/images/edits", "/v1/videos/generations")
"""Endpoints that xAI would take for a batch and the simulator refuses, because it does not play them."""

CODES: Final[Mapping[int, int]] = {
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    429: 8,
    499: 1,
    500: 13,
    503: 14,
    504: 4,
}
"""The numbers that gRPC has for what HTTP's statuses say; any other is 2, unknown."""


class BadInput(Exception):
    """The input cannot be taken; the message says where and why."""


class _CheckedLine(Struct, frozen=True):
    custom_id: str
    url: str
    body: dict[str, Raw]
    method: Literal["POST"] = "POST"


class _InputLine(Struct, frozen=True):
    custom_id: str
    url: str
    body: Raw


class _Error(Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Response(Struct, frozen=True):
    chat_get_completion: ChatBody


class _Result(Struct, frozen=True, omit_defaults=True):
    response: _Response | None = None
    error: _Error | None = None


class _ResultLine(Struct, frozen=True):
    batch_request_id: str
    batch_result: _Result
    error_message: str = ""


class Job(Struct, frozen=True):
    """What to write for a batch that ended: `done` of its `total` requests ran, the first ones.

    `complaint`: all fail with it. `files` are those that its requests may name.
    """

    batch_id: str
    source: Path
    results: Path
    total: int
    done: int
    complaint: Complaint | None
    plan: Plan
    seed: int
    at: int
    files: Set[str]


class Written(Struct, frozen=True):
    """How the requests did, what they cost in ticks of 1e-10 USD, and how long the results are."""

    success: int
    error: int
    cost_ticks: int
    size_bytes: int


_check_decoder = json.Decoder(_CheckedLine)
_line_decoder = json.Decoder(_InputLine)
_encoder = json.Encoder()


def check_input(source: Path) -> int:
    """Reads an input file and counts its requests. Raises `BadInput` for the first line that cannot be taken.

    xAI does not say what it does with such a file; refusing it at once, with nothing bought, is ours.
    """
    seen: set[str] = set()
    total = 0
    for n, raw in numbered_lines(source):
        total = n + 1
        try:
            line = _check_decoder.decode(raw)
        except (ValidationError, DecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"Line {total} cannot be read: {error}.") from error
        if line.url in OTHER_ENDPOINTS:
            raise BadInput(f"Line {total}: this simulator plays no batches for '{line.url}'.")
        if line.url not in VARIANTS.values():
            raise BadInput(f"Line {total}: there is no endpoint '{line.url}' for batches.")
        if line.custom_id in seen:
            raise BadInput(f"Line {total}: '{line.custom_id}' was used before.")
        seen.add(line.custom_id)
    if not total:
        raise BadInput("The file has no lines.")
    return total


def written_lines(requests: Sequence[BatchRequest]) -> list[bytes]:
    """Requests that are added as lines of an input file. Raises `BadInput`."""
    lines: list[bytes] = []
    seen: set[str] = set()
    for request in requests:
        id_ = request.batch_request_id
        if id_ in seen:
            raise BadInput(f"'{id_}' is there twice.")
        seen.add(id_)
        if len(request.batch_request) != 1 or not request.batch_request.keys() <= VARIANTS.keys():
            raise BadInput(f"'batch_request' of '{id_}' must be one of {', '.join(VARIANTS)}.")
        ((variant, body),) = request.batch_request.items()
        lines.append(_encoder.encode(_InputLine(id_, VARIANTS[variant], body)) + b"\n")
    return lines


def append_lines(source: Path, size_bytes: int, lines: Sequence[bytes]) -> int:
    """Adds lines to the first `size_bytes` of an input file, and returns how long it is then.

    What stands behind was left by a process that was killed before it had said so.
    """
    with source.open("ab") as file:
        file.truncate(size_bytes)
        file.seek(size_bytes)
        file.writelines(lines)
        return file.tell()


def write_results(job: Job) -> Written:
    """Writes what a batch that ended leaves behind."""
    plan = job.plan
    chance = chance_of(job.seed, job.batch_id)
    spoilt = spoil(plan, chance, done=job.done, total=job.total)
    success = failed = ticks = 0
    with LineFile(job.results) as results:
        for n, raw in numbered_lines(job.source, chance if plan.shuffled else None):
            if n >= job.done:
                continue
            line = _line_decoder.decode(raw)
            for salt in ("", "again") if n in spoilt.doubled else ("",):
                given = _answer(job, n, line, failing=n in spoilt.failing, salt=salt)
                result = _result(line.custom_id, given)
                if not salt:
                    success += given.status < 400
                    failed += given.status >= 400
                    ticks += given.usage.total_tokens * BATCH_TICKS_A_TOKEN
                if n in spoilt.left_out or plan.no_files:
                    continue
                results.add(_garbled(result) if n in spoilt.garbled else _encoder.encode(result))
        for n in range(plan.extra):
            extra = _InputLine(f"extra-{n + 1}", "/v1/responses", Raw(b'{"model":"extra","input":"extra"}'))
            given = _answer(job, job.total + n, extra, failing=False, salt="")
            results.add(_encoder.encode(_result(extra.custom_id, given)))
        written = results.finish()
    return Written(success, failed, ticks, 0 if written is None else written.size_bytes)


def read_page(results: Path, offset: int, limit: int) -> tuple[list[bytes], int]:
    """At most `limit` result lines from a place on, without their newlines, and the place behind them."""
    lines: list[bytes] = []
    with results.open("rb") as file:
        file.seek(offset)
        while len(lines) < limit and (line := file.readline()):
            lines.append(line[:-1])
        return lines, file.tell()


def _answer(job: Job, n: int, line: _InputLine, *, failing: bool, salt: str) -> Answer:
    if job.complaint is not None:
        said = ErrorBody(f"{job.complaint.code}: {job.complaint.message}", "invalid_request_error", None, None)
        return Answer(400, ErrorAnswer(said))
    if failing:
        status = job.plan.failing_status
        return Answer(status, ErrorAnswer(ErrorBody("This request was made to fail.", "server_error", None, None)))
    return answer(
        line.url,
        bytes(line.body),
        seed=job.seed,
        name=f"{job.batch_id}/{n}{salt}",
        at=job.at,
        has_file=job.files.__contains__,
        salt=salt,
    )


def _result(id_: str, given: Answer) -> _ResultLine:
    if isinstance(given.body, ErrorAnswer):
        message = given.body.error.message
        return _ResultLine(id_, _Result(error=_Error(CODES.get(given.status, 2), message)), message)
    return _ResultLine(id_, _Result(_Response(_as_chat(given)), _Error()))


def _as_chat(given: Answer) -> ChatBody:
    """Every text is handed out in the form of chat completions, with what it cost."""
    usage = given.usage
    ticks = usage.total_tokens * BATCH_TICKS_A_TOKEN
    spent = ChatUsage(usage.input_tokens, usage.output_tokens, usage.total_tokens, ticks)
    if isinstance(given.body, ChatBody):
        return ChatBody(given.body.id, given.body.created, given.body.model, given.body.choices, spent)
    assert isinstance(given.body, ResponseBody)
    said = given.body
    text = "".join(part.text for message in said.output for part in message.content)
    return ChatBody(said.id, said.created_at, said.model, (ChatChoice(0, ChatMessage(text)),), spent)


def _garbled(result: _ResultLine) -> bytes:
    """A result that is no result: a page is one JSON value, so it must still be JSON."""
    half = _encoder.encode(result)
    return _encoder.encode({"batch_request_id": 7, "batch_result": half[: len(half) // 2].decode(errors="replace")})
