"""Load for a server, in plain sockets and one loop, so that it costs less than what it measures.

Each kind takes its turn at one server: connects, loads it for a while, and leaves. Measuring begins when all have
connected.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import TextMessage

from benchmarks._asgi_process import Process

PATIENCE_S = 30.0
_PIECE_BYTES = 256 * 1024
_READ_BYTES = 16 * 1024  # of which Python allocates all for each read


class Turn(NamedTuple):
    """What one server did in its turn: things a second, CPU for one of them in µs, and of what core time we used."""

    per_s: float
    cpu_us: float
    load_share: float


class Spread(NamedTuple):
    """How long events took to arrive, in milliseconds."""

    p50_ms: float
    p99_ms: float


def request(path: str, *, method: str = "GET", headers: str = "") -> bytes:
    """A request's head, as a short one from a program looks."""
    return f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\nUser-Agent: bench\r\n{headers}\r\n".encode(
        "ascii"
    )


def connect(process: Process) -> socket.socket:
    """A connection that sends at once, on which nothing may take longer than `PATIENCE_S`."""
    connection = socket.create_connection(("127.0.0.1", process.port), timeout=PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """All bytes up to a mark that ends them."""
    data = b""
    while not data.endswith(mark):
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(f"the server closed a connection after {data!r}")
        data += more
    return data


class Clients:
    """Many connections to one server, watched together."""

    def __init__(self, process: Process, count: int, opening: bytes = b"", until: bytes = b"") -> None:
        """Each connection sends `opening`, if there is one, and reads `until` that mark."""
        self.process = process
        self._poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        for _ in range(count):
            connection = connect(process)
            if opening:
                connection.sendall(opening)
                read_until(connection, until)
            self._poll.register(connection, select.EPOLLIN)
            self.sockets[connection.fileno()] = connection

    def received(self) -> Generator[tuple[int, bytes]]:
        """What has arrived, by descriptor; waits until there is something."""
        ready = self._poll.poll(PATIENCE_S)
        if not ready:
            raise TimeoutError(f"{self.process.name} sent nothing in {PATIENCE_S:g} s")
        for descriptor, _ in ready:
            data = os.read(descriptor, _READ_BYTES)
            if not data:
                raise ConnectionError(f"{self.process.name} closed a connection")
            yield descriptor, data

    def close(self) -> None:
        self._poll.close()
        for connection in self.sockets.values():
            connection.close()


@contextmanager
def _clients(process: Process, count: int, opening: bytes = b"", until: bytes = b"") -> Generator[Clients]:
    clients = Clients(process, count, opening, until)
    try:
        yield clients
    finally:
        clients.close()


class _Meter:
    """Counts from its making on."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._server_s, self._load_s, self._began_s = process.cpu_s(), time.process_time(), time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._began_s

    def turn(self, count: int) -> Turn:
        elapsed_s = self.elapsed_s
        cpu_us = (self._process.cpu_s() - self._server_s) / count * 1e6
        return Turn(count / elapsed_s, cpu_us, (time.process_time() - self._load_s) / elapsed_s)


def _ask_and_answer(clients: Clients, question: bytes, end: bytes, duration_s: float) -> Turn:
    """One question in flight on each connection for this long; an answer ends in `end`."""
    meter, answered = _Meter(clients.process), 0
    for connection in clients.sockets.values():
        connection.sendall(question)
    in_flight = len(clients.sockets)
    while in_flight:
        more = meter.elapsed_s < duration_s
        for descriptor, data in clients.received():
            if not data.endswith(end):
                continue  # the head came by itself
            answered += 1
            if more:
                os.write(descriptor, question)
            else:
                in_flight -= 1
    return meter.turn(answered)


def json_requests(process: Process, *, connections: int, duration_s: float) -> Turn:
    """Short requests, kept alive."""
    with _clients(process, connections) as clients:
        return _ask_and_answer(clients, request("/operations/op_1"), b'"n":12}', duration_s)


def websocket_echoes(process: Process, *, connections: int, duration_s: float) -> Turn:
    """Short text messages, each of which comes back."""
    key = base64.b64encode(os.urandom(16)).decode("ascii")
    upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    text = "a message of thirty-two letters."
    question = Frames(ConnectionType.CLIENT).send(TextMessage(text))
    with _clients(process, connections, request("/echo", headers=upgrade), b"\r\n\r\n") as clients:
        return _ask_and_answer(clients, question, text.encode("ascii"), duration_s)


def _ages_ns(clients: Clients, count: int) -> list[int]:
    """The ages of the next `count` events when they arrive, in nanoseconds."""
    ages: list[int] = []
    while len(ages) < count:
        for _, data in clients.received():
            now = time.monotonic_ns()
            ages += [now - int(part.partition(b"\n\n")[0]) for part in data.split(b"data: ")[1:]]
    return ages


def events_flat_out(process: Process, *, listeners: int, duration_s: float) -> Turn:
    """Server-sent events to all listeners, the next when all have the last one."""
    with _listening(process, listeners) as (clients, publisher):
        meter, delivered = _Meter(process), 0
        while meter.elapsed_s < duration_s:
            publisher.sendall(request("/publish"))
            arrived = 0
            while arrived < listeners:
                arrived += sum(data.count(b"data: ") for _, data in clients.received())
            delivered += arrived
            read_until(publisher, b"\r\n\r\n")
        return meter.turn(delivered)


def events_paced(process: Process, *, listeners: int, events_per_s: float, duration_s: float) -> Spread:
    """Server-sent events at a steady pace that each server can keep; how long each took to each listener."""
    ages: list[int] = []
    with _listening(process, listeners) as (clients, publisher):
        due_s = time.perf_counter()
        for _ in range(int(duration_s * events_per_s)):
            time.sleep(max(0.0, due_s - time.perf_counter()))
            due_s += 1 / events_per_s
            publisher.sendall(request("/publish"))
            ages += _ages_ns(clients, listeners)
            read_until(publisher, b"\r\n\r\n")
    ages.sort()
    return Spread(ages[len(ages) // 2] / 1e6, ages[len(ages) * 99 // 100] / 1e6)


@contextmanager
def _listening(process: Process, listeners: int) -> Generator[tuple[Clients, socket.socket]]:
    with (
        _clients(process, listeners, request("/events"), b": welcome\n\n\r\n") as clients,
        connect(process) as publisher,
    ):
        yield clients, publisher


def upload(process: Process, *, size_bytes: int) -> Turn:
    """One body, as fast as the server takes it; MiB a second, and CPU for one MiB."""
    piece = bytes(_PIECE_BYTES)
    head = request("/upload", method="POST", headers=f"Content-Length: {size_bytes}\r\n")
    with connect(process) as connection:
        meter = _Meter(process)
        connection.sendall(head)
        for _ in range(size_bytes // _PIECE_BYTES):
            connection.sendall(piece)
        read_until(connection, b'{"size":%d}' % size_bytes)
        return meter.turn(size_bytes >> 20)
