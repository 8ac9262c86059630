"""A call whose answer is read as it comes. The slot in its queue is held until the block is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType

import trio

from perdure.actors.fetch import HttpStream, Unknown
from perdure.adapters.network import http
from perdure.adapters.network.call import CLOSE_S, Call, Opened
from perdure.adapters.network.queue import CallQueue


class OpenedStream:
    """The `HttpStream` of one call. Its body can be read once; each chunk is read when it is asked for."""

    def __init__(self, opened: Opened, call: Call, idle_s: float) -> None:
        self.status: int = opened.status
        self.headers: Mapping[str, str] = opened.headers
        self._body = _Chunks(aiter(opened.stream), call, idle_s)

    def chunks(self) -> AsyncIterator[bytes]:
        """The rest of the body. Raises `Unknown` when it is cut, silent for `idle_s`, or past the deadline."""
        return self._body


class _Chunks:
    """Not a generator, so that leaving a loop early leaves nothing behind that has to be closed."""

    def __init__(self, body: AsyncIterator[bytes], call: Call, idle_s: float) -> None:
        self._body = body
        self._call = call
        self._idle_s = idle_s

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        now = trio.current_time()
        until = min(now + self._idle_s, self._call.deadline)
        try:
            with trio.CancelScope(deadline=until):
                return await anext(self._body)
        except http.TransportError as error:
            raise Unknown(f"{self._call.describe()}: {error}", retryable=True) from error
        if until == self._call.deadline:
            raise Unknown(f"{self._call.describe()}: the deadline passed before the answer was whole", retryable=True)
        raise Unknown(f"{self._call.describe()}: the answer's body was silent for {self._idle_s:g} s", retryable=True)


class StreamBlock:
    """`async with` around one streamed call: the request is sent on entry, the connection closed on exit unless the
    body was read to its end."""

    def __init__(self, prepare: Callable[[], tuple[Call, CallQueue]], idle_s: float) -> None:
        self._prepare = prepare
        self._idle_s = idle_s
        self._opened: Opened | None = None
        self._queue: CallQueue | None = None

    async def __aenter__(self) -> HttpStream:
        call, queue = self._prepare()
        self._opened = await call.run_opened()
        self._queue = queue
        return OpenedStream(self._opened, call, self._idle_s)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        opened, queue = self._opened, self._queue
        self._opened = self._queue = None
        if opened is None or queue is None:
            return
        try:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
                await opened.stream.aclose()
        finally:
            queue.release()
