"""Rude clients, twenty at a time, and what a server does about them: answer, close, grow, and serve others meanwhile.

Each rudeness meets a fresh process. That a connection is closed is read from the server's own descriptors, for a client
that does not read cannot tell.
"""

from __future__ import annotations

import base64
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import TextMessage

from benchmarks._asgi_load import connect, read_until, request
from benchmarks._asgi_process import Process, running

CLIENTS = 20
WATCH_S = 45.0
POLITE_S = 1.0
_TICK_S = 0.1
_LEAVE_TICKS = 5
_RESET = b"\1\0\0\0\0\0\0\0"  # linger for no time: closing sends a reset


class Rude(NamedTuple):
    """A way to be rude: what it `sends`, a piece each tenth of a second; whether it `reads`; whether it `leaves`."""

    title: str
    sends: Callable[[], Iterator[bytes]]
    reads: bool = True
    leaves: bool = False


class Outcome(NamedTuple):
    """What a server did: the status it answered with, when it had closed all, memory added, others not served."""

    status: str
    closed_s: float | None
    grown_mib: float
    unserved: int

    def __str__(self) -> str:
        closed = f"open after {WATCH_S:.0f} s" if self.closed_s is None else f"closed in {self.closed_s:.1f} s"
        others = f", {self.unserved} OTHERS NOT SERVED" if self.unserved else ""
        return f"{self.status}, {closed}, {self.grown_mib:+.1f} MiB{others}"


def _drip() -> Iterator[bytes]:
    head = b"GET / HTTP/1.1\r\nHost: bench\r\nX: "
    return itertools.chain((head[at : at + 1] for at in range(len(head))), itertools.repeat(b"x"))


def _endless_head() -> Iterator[bytes]:
    return itertools.chain([b"GET / HTTP/1.1\r\nHost: bench\r\nX: "], itertools.repeat(b"x" * 65536, 64))


def _websocket_flood() -> Iterator[bytes]:
    key = base64.b64encode(bytes(16)).decode("ascii")
    upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    message = Frames(ConnectionType.CLIENT).send(TextMessage("x" * 65536))
    return itertools.chain([request("/echo", headers=upgrade)], itertools.repeat(message))


def _once(data: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([data])


_POST = request("/upload", method="POST", headers="Content-Length: 100000\r\n")
_CHUNKED = request("/upload", method="POST", headers="Transfer-Encoding: chunked\r\n")

RUDE = (
    Rude("drips an endless head", _drip),
    Rude("sends a head of 4 MiB", _endless_head),
    Rude("sends garbage", _once(bytes(range(256)) + b"\r\n\r\n")),
    Rude(
        "sends two lengths",
        _once(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody"),
    ),
    Rude(
        "sends a length and chunks",
        _once(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
    Rude("sends a wrong chunk", _once(_CHUNKED + b"not a size\r\n")),
    Rude("begins a body and stops", _once(_POST + b"half")),
    Rude("leaves within a body", _once(_POST + b"half"), leaves=True),
    Rude("leaves a stream of events", _once(request("/events")), leaves=True),
    Rude("takes no endless answer", _once(request("/flood")), reads=False),
    Rude("asks on, takes no answer", lambda: itertools.repeat(request("/operations/op_1") * 500), reads=False),
    Rude("floods a WebSocket, takes no echo", _websocket_flood, reads=False),
)
STOPPED = Rude("a stop while 20 take no answer", _once(request("/flood")), reads=False)


class _Client:
    """One rude client's connection. `answer` is what it has read, `gone` that its connection has ended."""

    def __init__(self, process: Process, rude: Rude) -> None:
        self.answer = b""
        self.gone = False
        self._rude = rude
        self._socket = connect(process)
        self._socket.setblocking(False)
        self._pieces = rude.sends()
        self._left = b""
        self._ticks = 0

    def tick(self) -> None:
        """Send a piece, or what is left of the last, and read."""
        if self.gone:
            return
        self._ticks += 1
        try:
            self._read()  # first, for a send may fail where there is an answer to read
            self._left = self._left or next(self._pieces, b"")
            if self._left:
                with suppress(BlockingIOError):
                    self._left = self._left[self._socket.send(self._left) :]
        except OSError:
            self.gone = True
        if self._rude.leaves and self._ticks == _LEAVE_TICKS:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while self._rude.reads:
                data = self._socket.recv(65536)
                self.answer = (self.answer + data)[:64]
                if not data:
                    raise ConnectionError("the server has closed")

    def close(self) -> None:
        self.gone = True
        self._socket.close()


def _served(process: Process) -> bool:
    """Whether a new and polite client gets its answer in time."""
    try:
        with connect(process) as connection:
            connection.settimeout(POLITE_S)
            connection.sendall(request("/operations/op_1", headers="Connection: close\r\n"))
            read_until(connection, b'"n":12}')
    except OSError:
        return False
    return True


def torture(process: Process, rude: Rude) -> Outcome:
    """Let them be rude until the server has closed all of them, or for `WATCH_S`."""
    for _ in range(10):
        _served(process)
    sockets, base_mib, peak_mib = process.sockets(), process.resident_mib(), 0.0
    clients = [_Client(process, rude) for _ in range(CLIENTS)]
    began_s, closed_s = time.perf_counter(), None
    unserved = 0
    while closed_s is None and time.perf_counter() - began_s < WATCH_S:
        for client in clients:
            client.tick()
        time.sleep(_TICK_S)
        if process.sockets() <= sockets:
            closed_s = time.perf_counter() - began_s
        peak_mib = max(peak_mib, process.resident_mib())
        unserved += not _served(process)
    for client in clients:
        client.tick()  # reads what came just before the end
    answers = {client.answer[9:12].decode("ascii", "replace") for client in clients if client.answer}
    for client in clients:
        client.close()
    return Outcome("/".join(sorted(answers)) or "no answer", closed_s, peak_mib - base_mib, unserved)


def stop(process: Process) -> float | None:
    """Ask the server to stop while clients take nothing of endless answers: after how long it ended, if it did."""
    clients = [_Client(process, STOPPED) for _ in range(CLIENTS)]
    for client in clients:
        client.tick()
    time.sleep(1)
    began_s = time.perf_counter()
    ended = process.terminate(WATCH_S)
    for client in clients:
        client.close()
    return time.perf_counter() - began_s if ended else None


def torture_all(name: str) -> list[str]:
    """What a server did about each rudeness, and about being stopped; all at the same time, each in its own process."""
    ready = threading.Barrier(len(RUDE) + 1)

    def meet(rude: Rude | None) -> str:
        with running(name, quiet=True) as process:
            ready.wait()
            if rude is not None:
                return str(torture(process, rude))
            ended_s = stop(process)
            return "had to be killed" if ended_s is None else f"ended in {ended_s:.1f} s"

    with ThreadPoolExecutor(len(RUDE) + 1) as threads:
        return list(threads.map(meet, [*RUDE, None]))
