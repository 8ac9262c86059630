"""OpenAI's own objects as they come: batches, uploads, and the lines of result files. Lenient, as the shared ones are.

Shapes: `contracts/providers.md` sections 1.1 and 1.2, read in OpenAI's Python SDK 3.52 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw, Struct

from perdure.adapters.openai_compatible.wire import AnswerBody, FileObject, Id


class Counts(Struct, frozen=True):
    """How many lines a batch has and how many ended; null or absent while it is validated."""

    total: int | None = None
    completed: int | None = None
    failed: int | None = None


class Problem(Struct, frozen=True):
    """What is wrong with a batch's input. `code` may be a number; `line` counts from 1."""

    code: str | int | None = None
    message: str | None = None
    line: int | None = None


class Problems(Struct, frozen=True):
    """The list of what is wrong with a batch's input."""

    data: Sequence[Problem] | None = None


class BatchObject(Struct, frozen=True, kw_only=True):
    """A batch. File ids may be null, absent or empty; all three mean that there is none."""

    id: Id
    status: str | None = None
    created_at: int | float | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: Problems | None = None
    request_counts: Counts | None = None
    metadata: dict[str, object] | None = None


class UploadObject(Struct, frozen=True, kw_only=True):
    """An upload in parts, and the file that it has become once it is complete."""

    id: Id
    status: str | None = None
    file: FileObject | None = None


class UploadPart(Struct, frozen=True, kw_only=True):
    """A part of an upload."""

    id: Id


class LineResponse(Struct, frozen=True):
    """What the endpoint answered to a line."""

    status_code: int | None = None
    body: Raw = Raw()


class ResultLine(Struct, frozen=True):
    """A line of an output or error file. `response` is null for a line that was never run."""

    custom_id: str
    response: LineResponse | None = None
    error: Raw = Raw()


class ReadResponse(Struct, frozen=True):
    """As `LineResponse`, with the body read in the same pass."""

    status_code: int | None = None
    body: AnswerBody | None = None


class ReadLine(Struct, frozen=True):
    """As `ResultLine`, with the body read in the same pass: what nearly every line is."""

    custom_id: str
    response: ReadResponse | None = None
    error: Raw = Raw()
