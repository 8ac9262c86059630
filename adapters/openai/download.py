"""OpenAI's output and error files: their size is asked for, then they are read; see `adapters/download.py`.

OpenAI documents no ranges for the content of files.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote

from perdure.actors.fetch import Fetch, HttpRequest
from perdure.adapters import download
from perdure.adapters.answers import read_answer
from perdure.adapters.openai.account import NAME
from perdure.adapters.openai_compatible.answers import FILE


@asynccontextmanager
async def open_lines(fetch: Fetch, file_id: str, *, skip_bytes: int) -> AsyncGenerator[AsyncIterator[Sequence[bytes]]]:
    """The lines of a file behind its first `skip_bytes` bytes; see `download.open_lines`."""
    path = f"/files/{quote(file_id, safe='')}"
    file = read_answer(await fetch(HttpRequest(method="GET", path=path, safety="read")), FILE)
    content = download.ResultFile(provider=NAME, path=f"{path}/content", size_bytes=file.bytes)
    async with download.open_lines(fetch, content, skip_bytes=skip_bytes) as runs:
        yield runs
