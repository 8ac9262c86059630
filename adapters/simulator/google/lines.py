"""The requests of a batch: out of the call or a file, and their responses, in place or in a file.

Runs in a thread. Requests stand on disk as lines, those that came in the call too; one is in memory at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from msgspec import DecodeError, Raw, Struct, ValidationError, json

from perdure.adapters.simulator.batching import Plan, chance_of, spoil
from perdure.adapters.simulator.google.answers import answer, read_request
from perdure.adapters.simulator.google.bodies import camel_case
from perdure.adapters.simulator.google.errors import ApiError, invalid, rpc_code
from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.jsonl import LineFile, numbered_lines
from perdure.adapters.simulator.multipart import ReceivedPart

MAX_DISPLAY_NAME: Final = 512
"""The longest display name, in characters: that of a file; for batches Google states none."""


class _Inlined(Struct, frozen=True):
    request: Raw
    metadata: dict[str, Raw] | None = None


class InputLine(Struct, frozen=True, omit_defaults=True):
    """A request on disk. `metadata` is what came with it in the call, where that was more than a key."""

    key: str | None = None
    request: Raw = Raw()
    metadata: dict[str, Raw] | None = None


class Asked(Struct, frozen=True):
    """What a call for a batch asks. `file` is the name of its input, "" where `requests` came with it."""

    display_name: str
    file: str
    requests: list[_Inlined]


class Checked(Struct, frozen=True):
    """What reading an input file found."""

    total: int
    complaint: str


class Job(Struct, frozen=True):
    """What to write for a batch: `done` of its `total` requests ran, the first ones, before it ended.

    `check_file` raises `ApiError` for a file that a request may not name.
    """

    batch_id: str
    model: str
    source: Path
    output: Path
    is_inline: bool
    total: int
    done: int
    plan: Plan
    seed: int
    check_file: Callable[[str], None]


class Written(Struct, frozen=True):
    """What was written; None where there is nothing."""

    output: ReceivedPart | None
    successful: int
    failed: int


_inlined = json.Decoder(list[_Inlined])
_fields = json.Decoder(dict[str, Raw])
_lines = json.Decoder(InputLine)
_encode = json.Encoder().encode


def read_call(body: bytes) -> Asked:
    """What the body of a call asks. Raises `ApiError` 400."""
    try:
        batch = _named(_named(json.format(body, indent=-1)).get("batch", b"{}"))
        config = _named(batch.get("inputConfig", b"{}"))
        display_name = json.decode(batch.get("displayName", b'""'), type=str)
        file = json.decode(config.get("fileName", b'""'), type=str)
        requests = _inlined.decode(_named(config.get("requests", b"{}")).get("requests", b"[]"))
    except (ValidationError, DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"Invalid JSON payload received. {error}") from error
    if bool(file) == bool(requests):
        raise invalid("A batch has either requests or a file with them.", "batch.input_config")
    if len(display_name) > MAX_DISPLAY_NAME:
        raise invalid(f"A display name may have {MAX_DISPLAY_NAME} characters.", "batch.display_name")
    if any(not bytes(one.request).startswith(b"{") for one in requests):
        raise invalid("Each of the requests has a 'request'.", "batch.input_config.requests")
    return Asked(display_name, file, requests)


def write_input(requests: list[_Inlined], path: Path) -> str:
    """Writes the requests of a call as lines. The SHA-256 of the file, in hex."""
    sha256 = hashlib.sha256()
    with path.open("wb") as file:
        for one in requests:
            line = _encode(_input_line(one)) + b"\n"
            sha256.update(line)
            file.write(line)
    return sha256.hexdigest()


def check_input(source: Path) -> Checked:
    """Reads an input file; what is wrong with it is that of its first bad line."""
    total, complaint = 0, ""
    for n, raw in numbered_lines(source):
        total = n + 1
        if complaint:
            continue
        try:
            line = _lines.decode(raw)
        except (ValidationError, DecodeError, UnicodeDecodeError, RecursionError) as error:
            complaint = f"Line {total} of the input file cannot be read: {error}."
            continue
        if not bytes(line.request).startswith(b"{"):
            complaint = f"Line {total} of the input file has no 'request'."
    return Checked(total, complaint or ("" if total else "The input file has no lines."))


def write_results(job: Job) -> Written:
    """Writes what a batch that ended leaves behind: requests that were not run leave nothing."""
    counted = _Counted()
    with LineFile(job.output) as output:
        if job.plan.no_files:
            for _ in _responses(job, counted):
                pass
        elif job.is_inline:
            held = b""
            for response in _responses(job, counted):
                if held:
                    output.add(held + b",")
                held = response
            if held:
                output.add(held)
        else:
            for response in _responses(job, counted):
                output.add(response)
        return Written(output.finish(), counted.successful, counted.failed)


class _Counted:
    def __init__(self) -> None:
        self.successful = 0
        self.failed = 0


def _responses(job: Job, counted: _Counted) -> Iterator[bytes]:
    plan = job.plan
    chance = chance_of(job.seed, job.batch_id)
    spoilt = spoil(plan, chance, done=job.done, total=job.total)
    for n, raw in numbered_lines(job.source, chance if plan.shuffled else None):
        if n >= job.done:
            continue
        line = _lines.decode(raw)
        for salt in ("", "again") if n in spoilt.doubled else ("",):
            said = _answer(job, n, bytes(line.request), failing=n in spoilt.failing, salt=salt)
            if not salt:
                counted.successful += "response" in said
                counted.failed += "error" in said
            if n not in spoilt.left_out:
                yield _written(job, line, said, garbled=n in spoilt.garbled)
    for n in range(plan.extra):
        request = b'{"contents":[{"parts":[{"text":"extra"}]}]}'
        said = _answer(job, job.total + n, request, failing=False, salt="")
        yield _written(job, InputLine(f"extra-{n + 1}"), said, garbled=False)


def _answer(job: Job, n: int, request: bytes, *, failing: bool, salt: str) -> dict[str, Any]:
    if failing:
        return _failed(ApiError(job.plan.failing_status, "This request was made to fail."))
    try:
        asked = read_request(request)
        if asked.modality() != "TEXT":
            raise invalid("This simulator's batches answer with text alone.", "generation_config.response_modalities")
        for uri in asked.files():
            job.check_file(uri)
    except ApiError as error:
        return _failed(error)
    id_ = digest(job.seed, "google-batch-answer", job.batch_id, n, salt)[:24]
    return {"response": answer(asked, request, model=job.model, seed=job.seed, id_=id_, salt=salt)}


def _failed(error: ApiError) -> dict[str, Any]:
    return {"error": {"code": rpc_code(error.status), "message": str(error)}}


def _written(job: Job, line: InputLine, said: dict[str, Any], *, garbled: bool) -> bytes:
    """A response as it stands in the operation or in the file. What is garbled is half a line, or neither answer nor
    error: half an object would spoil the operation around it."""
    if not job.is_inline:
        whole = _encode(({} if line.key is None else {"key": line.key}) | said)
        return whole[: len(whole) // 2] if garbled else whole
    metadata: object = line.metadata or (None if line.key is None else {"key": line.key})
    keyed = {} if job.plan.keyless or metadata is None else {"metadata": metadata}
    return _encode(keyed if garbled else said | keyed)


def _input_line(one: _Inlined) -> InputLine:
    metadata = one.metadata or {}
    key = metadata.get("key")
    told = json.decode(key) if key is not None else None
    is_key_only = isinstance(told, str) and len(metadata) == 1
    return InputLine(
        key=told if isinstance(told, str) else None,
        request=one.request,
        metadata=None if is_key_only else metadata or None,
    )


def _named(raw: bytes | Raw) -> dict[str, Raw | bytes]:
    """The fields of an object, with their names in camel case."""
    return {camel_case(name): value for name, value in _fields.decode(raw).items()}
