"""The transport on loopback sockets: keep-alive, stale connections, TLS, streams with back-pressure.

Each test has a deadline of its own and never sleeps.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from perdure.actors.fetch import HttpRequest, NotSent, Refused, Unknown
from perdure.adapters.network import Endpoint, Engine, PooledTransport, json_body
from tests.adapters.network.certificate import certificate
from tests.adapters.network.peer import LANE, Answer, Peer, Raw, Reply, Seen, memory_rig, socket_rig
from tests.secrets import unique_key

pytestmark = pytest.mark.trio

GET = HttpRequest(method="GET", path="/a", safety="read")
CREATE = HttpRequest(method="POST", path="/a", safety="create", body=b"{}")


async def engine_for(nursery: trio.Nursery, url: str, trusted: ssl.SSLContext | None = None) -> Engine:
    """An engine for `url` that closes its connections when the test ends."""
    engine = Engine(lambda lane: Endpoint(base_url=url), transport=PooledTransport(ssl_context=trusted))
    await nursery.start(engine.run)
    return engine


async def listen(nursery: trio.Nursery, serve: Callable[[trio.SocketStream], Awaitable[None]]) -> str:
    """Serves every connection with `serve`; the base URL."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}"


def pool_of(engine: Engine) -> PooledTransport:
    assert isinstance(engine.transport, PooledTransport)
    return engine.transport


async def test_connections_are_reused_last_in_first_out(nursery: trio.Nursery) -> None:
    """Several at once open several; afterwards one after another uses the one that was used last."""
    with trio.fail_after(10):
        all_here = trio.Event()
        arrived: list[int] = []

        async def together(seen: Seen) -> Answer:
            arrived.append(seen.connection)
            if len(arrived) == 3:
                all_here.set()
            await all_here.wait()
            return Reply()

        rig = await socket_rig(nursery, together)
        async with trio.open_nursery() as calls:
            for _ in range(3):
                calls.start_soon(rig.engine.bind(LANE), GET)
        assert (rig.peer.connections, pool_of(rig.engine).idle_connections) == (3, 3)
        for _ in range(5):
            await rig.engine.bind(LANE)(GET)
        assert rig.peer.connections == 3
        assert len(set(arrived[3:])) == 1


async def test_connection_that_the_peer_closed_is_not_used(nursery: trio.Nursery) -> None:
    """A peer that closes an idle connection costs nothing: a create goes out on a new one, once."""
    with trio.fail_after(10):
        rig = await socket_rig(nursery, [Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), Reply()])
        await rig.engine.bind(LANE)(GET)
        while rig.peer.open_connections:
            await trio.lowlevel.checkpoint()
        assert pool_of(rig.engine).idle_connections == 1
        assert (await rig.engine.bind(LANE)(CREATE)).status == 200
        assert [seen.connection for seen in rig.peer.seen] == [1, 2]


async def test_connection_that_dies_while_before_send_waits(nursery: trio.Nursery) -> None:
    """If the peer closes while the intent is made durable, another connection is taken and nothing is asked again."""
    with trio.fail_after(10):
        let_go = trio.Event()
        announced: list[int] = []

        async def answer(seen: Seen) -> Answer:
            await trio.lowlevel.checkpoint()
            return Reply()

        rig = await socket_rig(nursery, answer)
        await rig.engine.bind(LANE)(GET)
        closing = rig.peer.streams[0]

        async def announce() -> None:
            announced.append(1)
            await closing.aclose()
            let_go.set()
            while rig.peer.open_connections:
                await trio.lowlevel.checkpoint()

        assert (await rig.engine.bind(LANE, before_send=announce)(CREATE)).status == 200
        assert let_go.is_set()
        assert announced == [1]
        assert [seen.connection for seen in rig.peer.seen] == [1, 2]


async def test_connection_close_is_honoured(nursery: trio.Nursery) -> None:
    """An answer with `Connection: close` leaves no idle connection."""
    with trio.fail_after(10):
        rig = await socket_rig(nursery, [Reply(headers={"connection": "close"})])
        await rig.engine.bind(LANE)(GET)
        assert pool_of(rig.engine).idle_connections == 0


async def test_idle_connections_expire(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """One timer closes what idled for 30 s; what is used goes on."""
    rig = await memory_rig(nursery, [Reply()])
    await rig.engine.bind(LANE)(GET)
    await trio.sleep(20)
    await rig.engine.bind(LANE)(GET)
    await trio.sleep(29)
    assert (pool_of(rig.engine).idle_connections, rig.peer.connections) == (1, 1)
    await trio.sleep(2)
    await wait_all_tasks_blocked()
    assert (pool_of(rig.engine).idle_connections, rig.peer.open_connections) == (0, 0)


async def test_idle_connections_expire_however_their_times_round(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A time whose sum with the expiry is rounded down does not set the timer off again and again."""
    rig = await memory_rig(nursery, [Reply()])
    expiry_s = 30.0
    await trio.sleep(next(at for n in range(1, 1_000) if (at := n / 7) + expiry_s - expiry_s < at))
    await rig.engine.bind(LANE)(GET)
    await trio.sleep(expiry_s + 1)
    assert (pool_of(rig.engine).idle_connections, rig.peer.open_connections) == (0, 0)


async def test_engine_closes_its_connections_when_it_ends(nursery: trio.Nursery) -> None:
    """When the task that runs the engine is cancelled, no idle connection is left open."""
    with trio.fail_after(10):
        async with trio.open_nursery() as owner:
            rig = await socket_rig(owner, [Reply()])
            await rig.engine.bind(LANE)(GET)
            owner.cancel_scope.cancel()
        assert pool_of(rig.engine).idle_connections == 0


async def test_call_under_way_when_the_engine_closes(nursery: trio.Nursery) -> None:
    """It is answered, and its connection is closed instead of kept."""
    with trio.fail_after(10):
        arrived, go = trio.Event(), trio.Event()

        async def wait(seen: Seen) -> Answer:
            arrived.set()
            await go.wait()
            return Reply()

        rig = await socket_rig(nursery, wait)
        async with trio.open_nursery() as calls:
            calls.start_soon(rig.engine.bind(LANE), GET)
            await arrived.wait()
            await rig.engine.aclose()
            go.set()
        assert pool_of(rig.engine).idle_connections == 0


async def test_refused_port_is_not_sent(nursery: trio.Nursery) -> None:
    """Nobody listens: `NotSent`, with host and port."""
    with trio.fail_after(10), socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        engine = await engine_for(nursery, f"http://127.0.0.1:{port}")
        with pytest.raises(NotSent, match=f"127.0.0.1:{port}"):
            await engine.bind(LANE)(HttpRequest(method="POST", path="/", safety="create", deadline_s=0.4))


async def test_reset_after_sending_is_unknown(nursery: trio.Nursery) -> None:
    """A reset after the request left proves nothing."""
    with trio.fail_after(10):

        async def reset(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()

        engine = await engine_for(nursery, await listen(nursery, reset))
        with pytest.raises(Unknown, match="broke"):
            await engine.bind(LANE)(CREATE)


class Refusing(trio.abc.Stream):
    """A peer that takes the beginning of a request, breaks the connection for the rest, and has answered."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._writes = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._writes += 1
        if self._writes > 1:
            raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._answer:
            raise trio.BrokenResourceError
        answer, self._answer = self._answer, b""
        return answer

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("answered", [True, False])
async def test_early_refusal_of_an_upload_is_read(answered: bool) -> None:
    """A peer that refuses in the middle of an upload is heard: its answer counts, not the broken pipe."""
    error = b'{"error":{"message":"too large","code":"request_too_large"}}'
    head = b"HTTP/1.1 413 Too Large\r\ncontent-length: %d\r\n\r\n" % len(error)

    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Refusing(head + error if answered else b"")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    engine = Engine(lambda lane: Endpoint(base_url="http://peer.test"), transport=PooledTransport(connect=connect))
    request = HttpRequest(method="POST", path="/", safety="create", body=endless)
    if answered:
        with pytest.raises(Refused, match="too large") as caught:
            await engine.bind(LANE)(request)
        assert caught.value.provider_code == "request_too_large"
    else:
        with pytest.raises(Unknown, match="while the request was being sent"):
            await engine.bind(LANE)(request)


async def test_upload_and_download_push_back(nursery: trio.Nursery) -> None:
    """A body of 32 MB goes up and comes down in pieces; a reader that stops is not run over."""
    with trio.fail_after(30):
        size, piece = 32 * 1024 * 1024, b"z" * 65536
        sent = 0

        async def serve(stream: trio.SocketStream) -> None:
            nonlocal sent
            received = 0
            data = await stream.receive_some()
            while received < size + data.find(b"\r\n\r\n") + 4:
                received += len(data)
                if received >= size:
                    break
                data = await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            while sent < size:
                await stream.send_all(piece)
                sent += len(piece)

        async def source() -> AsyncIterator[bytes]:
            for _ in range(size // len(piece)):
                yield piece

        engine = await engine_for(nursery, await listen(nursery, serve))
        request = HttpRequest(method="POST", path="/", safety="create", body=source, body_bytes=size)
        got = 0
        async with engine.bind(LANE).stream(request) as stream:
            async for chunk in stream.chunks():
                if got == 0:
                    await wait_all_tasks_blocked(0.05)
                    assert sent < size  # the peer waits for us: socket buffers are full
                got += len(chunk)
        assert got == size


async def test_tls_verifies_the_peer(nursery: trio.Nursery) -> None:
    """HTTPS works with a trusted certificate and sends nothing to a peer without one."""
    with trio.fail_after(10):
        peer = Peer([Reply(body=b'{"tls": true}')])
        server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trusting = ssl.create_default_context()
        with certificate() as path:
            server_side.load_cert_chain(path)
            trusting.load_verify_locations(path)

        async def serve(stream: trio.SocketStream) -> None:
            await peer.serve(trio.SSLStream(stream, server_side, server_side=True, https_compatible=True))

        url = (await listen(nursery, serve)).replace("http://127.0.0.1", "https://localhost")
        engine = await engine_for(nursery, url, trusting)
        for _ in range(2):
            assert json_body(await engine.bind(LANE)(GET)) == {"tls": True}
        assert peer.connections == 1
        suspicious = await engine_for(nursery, url)
        with pytest.raises(NotSent, match="certificate"):
            await suspicious.bind(LANE)(HttpRequest(method="POST", path="/", safety="create", deadline_s=0.4))
        assert len(peer.seen) == 2


@pytest.mark.parametrize("fails", [False, True])
async def test_another_transport_of_the_same_seam(nursery: trio.Nursery, fails: bool) -> None:
    """Any transport of the HTTP library can take the pool's place; what it may have sent counts as sent."""
    secret = unique_key()
    order: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        order.append(request.headers["authorization"])
        if fails:
            raise httpx.ReadError("gone")
        return httpx.Response(200, json={"path": request.url.path})

    async def announce() -> None:
        await trio.lowlevel.checkpoint()
        order.append("announced")

    engine = Engine(
        lambda lane: Endpoint(base_url="http://peer.test/v1", headers={"authorization": secret}),
        transport=httpx.MockTransport(handle),
    )
    await nursery.start(engine.run)
    fetch = engine.bind(LANE, before_send=announce)
    if fails:
        with pytest.raises(Unknown):
            await fetch(CREATE)
    else:
        assert json_body(await fetch(CREATE)) == {"path": "/v1/a"}
    assert order == ["announced", secret]
