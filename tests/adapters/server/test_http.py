"""HTTP/1.1 as the wire has it: keep-alive, pipelining, framing both ways, expectations, refusals; streams in memory."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from perdure.adapters.server import ApplicationFault, Limits, Reception, limit_body
from perdure.adapters.server.asgi import ASGIApp, Message, Receive, Scope, Send
from tests.adapters.server.peers import Answer, App, Client, answer_with, connect, request

pytestmark = pytest.mark.trio

CHUNKED = "Transfer-Encoding: chunked\r\n"


async def exchange(app: ASGIApp, data: bytes, *, limits: Limits | None = None, head_only: bool = False) -> Answer:
    """One connection, one answer."""
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, limits or Limits()))
        await client.send(data)
        answer = await client.answer(head_only=head_only)
        nursery.cancel_scope.cancel()
    return answer


# ---------------------------------------------------------------- many requests on one connection


async def test_a_connection_serves_many_requests(autojump_clock: MockClock) -> None:
    app = App()
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, Limits()))
        for number in range(20):
            answer = await client.get(f"/{number}")
            assert (answer.status, answer.body) == (200, b"hello")
        nursery.cancel_scope.cancel()
    assert app.seen == [f"/{number}" for number in range(20)]


async def test_pipelined_requests_are_answered_in_order(autojump_clock: MockClock) -> None:
    """Sent in one piece, bodies among them, the last one asking for the end."""
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), Limits()))
        bodies = [b"one", b"", b"three" * 1000, b"four"]
        requests = [request("/echo", method="POST", body=body) for body in bodies]
        await client.send(b"".join(requests) + request("/", headers="Connection: close\r\n"))
        assert [(await client.answer()).body for _ in bodies] == bodies
        last = await client.answer()
        assert (last.body, last.headers["connection"]) == (b"hello", "close")
        assert await client.rest() == b""


async def test_what_is_pipelined_behind_a_stream_waits(autojump_clock: MockClock) -> None:
    """The watcher keeps what comes early, and gives the connection back."""
    app = App()
    async with trio.open_nursery() as nursery:
        reception = Reception(app, Limits())
        client = connect(nursery, reception)
        await client.send(request("/events"))
        assert (await client.head()).status == 200
        assert await client.chunk() == b"data: first\n\n"
        await client.send(request("/"))
        await wait_all_tasks_blocked()
        assert app.seen == ["/events"]
        nursery.start_soon(reception.drain)
        assert await client.chunk() == b"data: last\n\n"
        assert await client.chunk() == b""


async def test_a_stream_gives_its_connection_back(autojump_clock: MockClock) -> None:
    """After an answer in parts, with a watcher beside it, the next request is served."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"a", b"b", b""):
            await trio.sleep(1)
            await send({"type": "http.response.body", "body": part, "more_body": bool(part)})

    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, Limits()))
        for _ in range(3):
            assert (await client.get("/")).body == b"ab"
            await trio.sleep(1)  # the server reads its next head before there is one
        nursery.cancel_scope.cancel()


async def test_http_1_0_is_answered_and_closed(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), Limits()))
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.answer()).body == b"hello"
        assert await client.rest() == b""


async def test_a_full_server_closes_after_each_answer(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), Limits(connections=1)))
        assert (await client.get("/")).headers["connection"] == "close"
        assert await client.rest() == b""


# ---------------------------------------------------------------- bodies of requests


async def test_a_chunked_upload_arrives_whole(autojump_clock: MockClock) -> None:
    data = request("/echo", method="POST", headers=CHUNKED) + b"4\r\nhalf\r\n6;x=y\r\n a two\r\n0\r\nTrailer: t\r\n\r\n"
    assert (await exchange(App(), data)).body == b"half a two"


async def test_continue_is_sent_when_the_body_is_asked_for(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), Limits()))
        await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.answer()).status == 100
        await client.send(b"body")
        assert (await client.answer()).body == b"body"
        assert (await client.get("/")).body == b"hello"
        nursery.cancel_scope.cancel()


async def test_no_continue_without_interest_in_the_body(autojump_clock: MockClock) -> None:
    """The answer comes at once, and says that the connection ends: whether the body follows cannot be known."""
    data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    answer = await exchange(App(), data)
    assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"hello", "close")


async def test_a_short_unread_body_is_read_over(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), Limits()))
        await client.send(request("/", method="POST", body=b"unread"))
        assert (await client.answer()).body == b"hello"
        assert (await client.get("/")).body == b"hello"
        nursery.cancel_scope.cancel()


async def test_a_long_unread_body_ends_the_connection(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), Limits()))
        await client.send(request("/", method="POST", body=bytes(1_000_000)) + request("/"))
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"hello", "close")
        assert await client.rest() == b""


@pytest.mark.parametrize("headers", [f"Content-Length: {1001}\r\n", CHUNKED], ids=["declared", "chunked"])
async def test_a_body_over_the_limit_is_answered_with_413(headers: str, autojump_clock: MockClock) -> None:
    app = App()
    data = request("/echo", method="POST", headers=headers) + b"3e9\r\n" + b"x" * 1001
    answer = await exchange(app, data, limits=Limits(body_bytes=1000))
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert app.departed.is_set()


async def test_a_route_may_take_more_than_the_limit(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        limit_body(scope, 2000)
        await App()(scope, receive, send)

    answer = await exchange(app, request("/count", method="POST", body=bytes(1500)), limits=Limits(body_bytes=1000))
    assert answer.body == b"1500"


async def test_a_wrong_chunk_is_answered_with_400(autojump_clock: MockClock) -> None:
    """In the application's place, which may not answer any more."""
    refused: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            await answer_with(send, b"all is well")
        except OSError as error:
            refused.append(str(error))

    answer = await exchange(app, request("/", method="POST", headers=CHUNKED) + b"2\r\nok\r\nnonsense\r\n")
    assert answer.status == 400
    assert "400" in refused[0]


async def test_an_upload_waits_for_the_application(autojump_clock: MockClock) -> None:
    """What the application does not ask for stays in the peer's hands."""
    asked = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asked.wait()
        await App()(scope, receive, send)

    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Reception(app, Limits()).handle, theirs)
        client = Client(ours)
        await client.send(request("/count", method="POST", headers="Content-Length: 1000000\r\n"))
        uploaded = trio.Event()

        async def upload() -> None:
            await client.send(bytes(1_000_000))
            uploaded.set()

        nursery.start_soon(upload)
        await trio.sleep(3600)
        assert not uploaded.is_set()
        asked.set()
        assert (await client.answer()).body == b"1000000"
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_no_body_where_there_may_be_none(method: str, status: int, autojump_clock: MockClock) -> None:
    """Whatever the application sends; the connection goes on."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"too much"})

    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, Limits()))
        for _ in range(2):
            await client.send(request("/", method=method))
            assert (await client.answer(head_only=True)).status == status
            assert client.buffer == b""
        nursery.cancel_scope.cancel()


async def test_an_answer_without_length_is_chunked(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"one", b"", b"two"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    answer = await exchange(app, request("/"))
    assert (answer.headers["transfer-encoding"], answer.body, answer.whole) == ("chunked", b"onetwo", True)
    old = await exchange(app, b"GET / HTTP/1.0\r\n\r\n")
    assert ("transfer-encoding" in old.headers, old.body) == (False, b"onetwo")


async def test_the_head_waits_for_the_first_body_message(autojump_clock: MockClock) -> None:
    """As ASGI has it; an empty part sends it."""
    step = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await step.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, Limits()))
        await client.send(request("/"))
        with trio.move_on_after(100) as scope:
            await client.more()
        assert scope.cancelled_caught
        step.set()
        assert (await client.head()).status == 200
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("path", ["/fail", "/silent"])
async def test_a_failing_application_is_answered_with_500(
    path: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    answer = await exchange(App(), request(path))
    assert (answer.status, answer.headers["connection"]) == (500, "close")
    assert [(record.name, record.levelno) for record in caplog.records] == [("perdure.server", logging.ERROR)]
    assert path in caplog.text


async def test_an_answer_that_fails_on_its_way_is_cut(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """No last chunk: the peer can tell that something is missing."""
    answer = await exchange(App(), request("/fail-late"))
    assert (answer.status, answer.body, answer.whole) == (200, b"begun", False)
    assert "as told" in caplog.text


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
LONGER: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
WRONG: list[tuple[str, list[Message]]] = [
    ("a body first", [{"type": "http.response.body", "body": b""}]),
    ("two starts", [START, START]),
    ("a body after the last", [START, {"type": "http.response.body"}, {"type": "http.response.body"}]),
    ("more than declared", [LONGER, {"type": "http.response.body", "body": b"123456"}]),
    ("less than declared", [LONGER, {"type": "http.response.body", "body": b"1234"}]),
    ("a header with a line break", [{**START, "headers": [(b"x", b"a\r\nb: c")]}]),
    ("a status that is none", [{**START, "status": 42}]),
    ("an unknown message", [{"type": "http.response.sing"}]),
]


@pytest.mark.parametrize("messages", [case[1] for case in WRONG], ids=[case[0] for case in WRONG])
async def test_an_application_that_breaks_the_rules_is_told(
    messages: list[Message], caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """At the message that is wrong. The peer gets 500, or the whole answer where the fault came after it."""
    raised: list[ApplicationFault] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages[:-1]:
            await send(message)
        try:
            await send(messages[-1])
        except ApplicationFault as fault:
            raised.append(fault)
            raise

    answer = await exchange(app, request("/"))
    assert len(raised) == 1
    assert answer.status == (200 if len(messages) == 3 else 500)
    assert "ApplicationFault" in caplog.text


# ---------------------------------------------------------------- departures


async def test_a_departure_is_seen_while_nothing_flows(autojump_clock: MockClock) -> None:
    """Of a client of server-sent events, with no event in sight."""
    app = App()
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, Limits()))
        await client.send(request("/events"))
        assert (await client.head()).headers["content-type"] == "text/event-stream"
        assert await client.chunk() == b"data: first\n\n"
        assert not app.departed.is_set()
        await client.stream.aclose()
        await app.departed.wait()


async def test_sending_after_a_departure_is_an_error(autojump_clock: MockClock) -> None:
    """An OSError, at the first send: an application that does not listen must not go on for nobody."""
    left = trio.Event()
    raised: list[OSError] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await left.wait()
        try:
            await send({"type": "http.response.body", "body": b"second", "more_body": True})
        except OSError as error:
            raised.append(error)

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Reception(app, Limits()).handle, theirs)
        client = Client(ours)
        await client.send(request("/"))
        await client.until(b"first")
        assert isinstance(ours, trio.StapledStream)
        await ours.send_stream.aclose()  # its receiving half stays open, so that only the watcher can tell
        await wait_all_tasks_blocked()
        left.set()
    assert "left before its answer was complete" in str(raised[0])


async def test_a_departure_is_seen_by_looking(autojump_clock: MockClock) -> None:
    """An application that asks in a cancelled scope, as Starlette's `is_disconnected` does, gets an answer too."""
    seen: list[bool] = []

    async def look(receive: Receive) -> bool:
        with trio.CancelScope() as scope:
            scope.cancel()
            message = await receive()
            assert message["type"] == "http.disconnect"
        return not scope.cancelled_caught

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        while len(seen) < 100 and not any(seen):
            seen.append(await look(receive))
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, Limits()))
        await client.send(request("/"))
        await trio.sleep(3.5)
        await client.stream.aclose()
    assert seen == [False] * 4 + [True]


async def test_a_second_receive_waits_beside_the_first(autojump_clock: MockClock) -> None:
    """Two tasks of an application may wait for the departure at once."""
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            heard.append((await receive())["type"])

        await receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(listen)

    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, Limits()))
        await client.send(request("/"))
        await wait_all_tasks_blocked()
        await client.stream.aclose()
    assert heard == ["http.disconnect"] * 2


async def test_sends_from_two_tasks_do_not_mix(autojump_clock: MockClock) -> None:
    """Each chunk arrives whole, though both tasks send at once."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def say(letter: bytes) -> None:
            for _ in range(20):
                await send({"type": "http.response.body", "body": letter * 100_000, "more_body": True})

        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, b"a")
            nursery.start_soon(say, b"b")
        await send({"type": "http.response.body"})

    answer = await exchange(app, request("/"))
    assert answer.whole
    assert (answer.body.count(b"a"), answer.body.count(b"b")) == (2_000_000, 2_000_000)
