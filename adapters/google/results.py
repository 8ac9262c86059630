"""Reading the results of a batch as they come: out of the operation itself, or out of a file.

A source is `files/<id>`, or `batches/<id>` and, behind a `#`, the places of its lines (see `places.py`). Responses in
an operation are put on lines, without white space between their values, so that they take the same bytes whenever they
are read; each takes its own bytes plus one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final
from urllib.parse import quote

import msgspec

from perdure.actors.fetch import Fetch, HttpAnswer, HttpRequest, HttpStream, Refused, Unknown
from perdure.adapters import download
from perdure.adapters.answers import DECODE_ERRORS, media_type, read_answer, refuse_answer
from perdure.adapters.google.account import NAME, VERSION
from perdure.adapters.google.fields import number
from perdure.adapters.google.lines import on_line
from perdure.adapters.google.names import name_of
from perdure.adapters.google.places import Places, parse_places
from perdure.adapters.google.scan import EndsEarly, ResponseScanner
from perdure.adapters.google.uploads import read_file
from perdure.adapters.google.wire import Operation
from perdure.adapters.jsonl import LineTooLong

_OPERATION: Final = msgspec.json.Decoder(Operation)


@asynccontextmanager
async def open_results(fetch: Fetch, source: str, *, skip_bytes: int) -> AsyncGenerator[AsyncIterator[Sequence[bytes]]]:
    """The lines of a source behind its first `skip_bytes` bytes, in runs as they arrive.

    Raises what `fetch` raises; `Refused(kind="not_found")` for a file that is gone; `Unknown` when the source ends
    early; `Refused` for what cannot be read.
    """
    if source.startswith("batches/"):
        name, _, text = source.partition("#")
        request = HttpRequest(
            method="GET", path=f"/{VERSION}/{quote(name, safe='/')}", safety="read", deadline_s=download.DOWNLOAD_S
        )
        async with (
            fetch.stream(request) as answer,
            aclosing(_responses(answer, name, parse_places(text), skip_bytes)) as runs,
        ):
            yield runs
        return
    name = name_of(source)
    file = await read_file(fetch, name)
    if file is None:
        raise Refused(f"{name} is gone: Google keeps results for 48 hours", kind="not_found", status=404)
    content = download.ResultFile(
        provider=NAME,
        path=f"/download/{VERSION}/{name}:download",
        query={"alt": "media"},
        size_bytes=number(file.size_bytes) or None,
    )
    async with download.open_lines(fetch, content, skip_bytes=skip_bytes) as runs:
        yield runs


async def _responses(
    answer: HttpStream, name: str, places: Places | None, skip_bytes: int
) -> AsyncGenerator[Sequence[bytes]]:
    """The responses that an operation holds, on lines."""
    if "json" not in media_type(answer.headers):
        refuse_answer(answer.status, answer.headers, f"{name} is no JSON")
    scanner, known = ResponseScanner(), _Known(name, skip_bytes, places)
    chunks = answer.chunks()
    try:
        async for chunk in chunks:
            if run := known.beyond(scanner.feed(chunk)):
                yield run
            if scanner.has_ended:
                break
        else:
            if run := known.beyond(scanner.finish()):
                yield run
            if not scanner.has_ended:  # what was cut before its responses must not pass for an operation without any
                read_answer(HttpAnswer(answer.status, answer.headers, bytes(scanner.outline)), _OPERATION)
    except LineTooLong as error:
        refuse_answer(answer.status, answer.headers, f"{name}, {error}", retryable=False)
    except EndsEarly:
        raise Unknown(f"{name} ends within its responses", retryable=True) from None
    except DECODE_ERRORS as error:
        refuse_answer(answer.status, answer.headers, f"{name} holds a response that is no JSON: {error}")
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    if known.place < skip_bytes:
        raise Unknown(f"{name} holds responses of {known.place} bytes, of which {skip_bytes} were read", retryable=True)


class _Known:
    """Puts responses on lines and leaves out those that are known already: the first `skip_bytes` bytes."""

    def __init__(self, name: str, skip_bytes: int, places: Places | None) -> None:
        self.place = 0
        self._name = name
        self._skip_bytes = skip_bytes
        self._places = places
        self._count = 0

    def beyond(self, responses: Sequence[bytes]) -> Sequence[bytes]:
        """The lines that are not known. Raises `Unknown` where what is known ends within one."""
        run: list[bytes] = []
        for response in responses:
            line = on_line(response, "" if self._places is None else self._places.line_id(self._count))
            self._count += 1
            if self.place >= self._skip_bytes:
                run.append(line)
            self.place += len(line) + 1
            if not run and self.place > self._skip_bytes:
                raise Unknown(
                    f"{self._name} has other responses than before: none of them ends at byte {self._skip_bytes}",
                    retryable=True,
                )
        return run
