"""The input of a batch: a file of JSON lines, read in bounded memory, and judged whole before anything is submitted.

A line is a batch line as OpenAI documents it, or `{"custom_id", "prompt"}`. What a line says is judged by the same
`Intake` that takes it into the log later; here is only what a file can have wrong with it. Standard input is copied to
a temporary file first, because it is read twice: to judge it, and to submit it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import IO, Final

import msgspec
import trio
from msgspec import UNSET, Raw, Struct, UnsetType

from perdure.actors.batch.intake import Intake
from perdure.actors.batch.ports import BatchProvider
from perdure.adapters.cli.terminal import Terminal, is_terminal
from perdure.adapters.jsonl import LineSplitter, LineTooLong
from perdure.events.errors import InvalidRequest, Rejected
from perdure.events.ids import new_id
from perdure.events.requests import Prompt, RawRequest

logger = logging.getLogger("perdure")

CHUNK_BYTES: Final = 1 << 20
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class InputLine(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One line of the input, in either of its two forms."""

    custom_id: str
    method: str = "POST"
    url: str = ""
    body: Raw | UnsetType = UNSET
    prompt: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None


class Judged(Struct, frozen=True):
    """An input that may be submitted. `digest` is the SHA-256 of its bytes, `encoded_bytes` what the provider gets."""

    digest: str
    lines: int
    encoded_bytes: int
    endpoint: str
    model: str


class RequestsFile:
    """An input file. `name` is what messages call it."""

    def __init__(self, file: IO[bytes], name: str, model: str | None) -> None:
        self.name = name
        self._file = file
        self._model = model
        self._decode = msgspec.json.Decoder(InputLine).decode
        self._digest = hashlib.sha256()

    @classmethod
    async def open(cls, path: Path, model: str | None, terminal: Terminal) -> RequestsFile:
        """Opens a file, or copies standard input for `-`. Raises `InvalidRequest` for what is no readable file."""
        if str(path) == "-":
            logger.debug("reading standard input")
            if is_terminal(sys.stdin):
                terminal.say("reading requests from the terminal; end them with Ctrl-D")
            return cls(await trio.to_thread.run_sync(_spool, abandon_on_cancel=True), "standard input", model)
        return cls(await trio.to_thread.run_sync(_open, path), str(path), model)

    def is_file(self, path: Path) -> bool:
        """Whether this input is the file at `path`."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), path.stat())
        except OSError:
            return False

    def close(self) -> None:
        """Closes it, and removes the copy of standard input."""
        self._file.close()

    async def judge(self, provider: BatchProvider, endpoint: str | None) -> Judged:
        """Reads everything, submits nothing. Raises `InvalidRequest` that names the line, `TooLarge`, `Unsupported`."""
        intake = Intake(provider, new_id("batch"), endpoint)
        intake.model = self._model or ""
        lines = encoded_bytes = 0
        try:
            async with aclosing(self.requests()) as requests, aclosing(intake.runs(requests)) as runs:
                async for run in runs:
                    lines += len(run.lines)
                    encoded_bytes += run.size_bytes
        except Rejected as error:
            error.args = (f"{self.name}: {error}",)
            raise
        if not lines:
            raise InvalidRequest(f"{self.name} is empty: give it at least one line", field="INPUT", limit=1, value=0)
        return Judged(self._digest.hexdigest(), lines, encoded_bytes, intake.endpoint, intake.model)

    async def requests(self, judged: Judged | None = None) -> AsyncGenerator[Prompt | RawRequest]:
        """The requests, from the first line on. Raises `InvalidRequest` for a line that is none, and at the end when
        the file is no longer the one that was judged."""
        self._digest = hashlib.sha256()
        number = 0
        empty = 0
        async with aclosing(self._pages()) as pages:
            async for lines in pages:
                for line in lines:
                    number += 1
                    if not line or line.isspace():
                        empty = empty or number
                        continue
                    if empty:
                        raise InvalidRequest("it is empty: remove it, one line is one request", line=empty)
                    yield self._request(line, number)
        if judged is not None and self._digest.hexdigest() != judged.digest:
            raise InvalidRequest(f"{self.name} was changed while it was read: run the command again", field="INPUT")

    async def _pages(self) -> AsyncGenerator[list[bytes]]:
        splitter = LineSplitter()
        first = True
        await trio.to_thread.run_sync(self._file.seek, 0)
        try:
            while chunk := await trio.to_thread.run_sync(self._file.read, CHUNK_BYTES):
                self._digest.update(chunk)
                if first:
                    chunk, first = chunk.removeprefix(BYTE_ORDER_MARK), False
                yield splitter.feed(chunk)
        except LineTooLong as error:
            raise InvalidRequest(
                f"it is longer than {error.limit} bytes", line=error.line, field="INPUT", limit=error.limit
            ) from error
        last = splitter.finish()
        if last is not None:
            yield [last]

    def _request(self, line: bytes, number: int) -> Prompt | RawRequest:
        if not line.isascii():
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise InvalidRequest(
                    f"it is not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x}): save the file as UTF-8",
                    line=number,
                ) from error
        try:
            given = self._decode(line)
        except msgspec.ValidationError as error:
            raise InvalidRequest(
                f"it is no request: {error}; a line is a JSON object with custom_id, method, url and body, "
                "or with custom_id and prompt",
                line=number,
            ) from error
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidRequest(f"it is not valid JSON: {error}", line=number) from error
        if given.prompt is None:
            return _raw(given, number)
        if given.body is not UNSET:
            raise InvalidRequest("it has both a prompt and a body: give it one of them", line=number, field="prompt")
        if not self._model:
            raise InvalidRequest("it has a prompt and no model: name one with --model", line=number, field="model")
        return Prompt(
            given.prompt,
            model=self._model,
            custom_id=given.custom_id,
            instructions=given.instructions,
            max_output_tokens=given.max_output_tokens,
            temperature=given.temperature,
        )


def _raw(given: InputLine, number: int) -> RawRequest:
    if given.body is UNSET:
        raise InvalidRequest("it has neither a prompt nor a body", line=number, field="body")
    if given.method != "POST":
        raise InvalidRequest(f"its method is {given.method!r}, a batch can only POST", line=number, field="method")
    if not given.url:
        raise InvalidRequest("it has a body and no url, such as /v1/responses", line=number, field="url")
    for name in ("instructions", "max_output_tokens", "temperature"):
        if getattr(given, name) is not None:
            raise InvalidRequest(f"its {name} belongs into its body", line=number, field=name)
    return RawRequest(given.url, given.body, custom_id=given.custom_id)


def _open(path: Path) -> IO[bytes]:
    try:
        if path.is_dir():
            raise InvalidRequest(f"{path} is a directory: name a file of JSON lines in it", field="INPUT")
        return path.open("rb")
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be read: {error.strerror}; name a file of JSON lines, or - for standard input",
            field="INPUT",
        ) from error


def _spool() -> IO[bytes]:
    """Standard input as a file without a name, which ends with this process."""
    with ExitStack() as undo:
        copy = undo.enter_context(tempfile.TemporaryFile(prefix="perdure-"))
        shutil.copyfileobj(sys.stdin.buffer, copy, CHUNK_BYTES)
        undo.pop_all()  # from here on the caller owns it
    return copy
