"""What each way of failing proves about a `create`, and when `before_send` is asked. In memory, on a jumping clock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from perdure.actors.fetch import FetchError, HttpRequest, NotSent, Refused, Unknown
from perdure.adapters.network import Endpoint, Engine, PooledTransport, Retried, RetryOverride
from perdure.events.errors import InvalidRequest
from perdure.store.crash_points import armed
from tests.adapters.network.peer import LANE, Answer, Peer, Raw, Reply, Seen, fault, memory_rig

pytestmark = pytest.mark.trio

CREATE = HttpRequest(method="POST", path="/batches", safety="create", body=b"{}")
PUT = HttpRequest(method="PUT", path="/batches", safety="idempotent", body=b"{}")

_CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
_HTML = Reply(503, b"<html>", {"content-type": "text/html"})


@pytest.mark.parametrize(
    ("answer", "error", "attempts"),
    [
        pytest.param(fault(429, "slow"), Refused, 6, id="429 was not accepted and is sent again"),
        pytest.param(fault(503, "busy"), Refused, 3, id="503 with the provider's body was not accepted"),
        pytest.param(fault(529, "overloaded"), Refused, 3, id="529 with the provider's body was not accepted"),
        pytest.param(fault(401, "who"), Refused, 1, id="401 is final"),
        pytest.param(fault(400, "bad"), Refused, 1, id="400 is final"),
        pytest.param(Reply(400, b"<html>"), Unknown, 1, id="400 by somebody else proves nothing"),
        pytest.param(_HTML, Unknown, 1, id="503 by somebody else proves nothing"),
        pytest.param(fault(500, "oh"), Unknown, 1, id="500 proves nothing"),
        pytest.param(fault(502, "oh"), Unknown, 1, id="502 proves nothing"),
        pytest.param(fault(504, "oh"), Unknown, 1, id="504 proves nothing"),
        pytest.param(fault(408, "late"), Unknown, 1, id="408 proves nothing"),
        pytest.param(Reply(303, b"", {"location": "/b"}), Unknown, 1, id="a redirect proves nothing"),
        pytest.param(Raw(), Unknown, 1, id="closed without an answer"),
        pytest.param(Raw(b"rubbish\r\n\r\n"), Unknown, 1, id="not HTTP"),
        pytest.param(Raw(_CUT), Unknown, 1, id="body cut"),
        pytest.param(Raw(_CUT, "hang"), Unknown, 1, id="body stalls"),
        pytest.param(Raw(b"", "hang"), Unknown, 1, id="no answer before the deadline"),
    ],
)
async def test_what_an_answer_to_a_create_proves(
    autojump_clock: MockClock, nursery: trio.Nursery, answer: Answer, error: type[FetchError], attempts: int
) -> None:
    """A create is sent again only after what proves that it was not accepted; all else after the first byte is
    `Unknown`."""
    rig = await memory_rig(nursery, [answer])
    with pytest.raises(error):
        await rig.engine.bind(LANE)(CREATE)
    assert len(rig.peer.seen) == attempts


@pytest.mark.parametrize(
    "answer",
    [Raw(), Raw(_CUT), fault(500, "oh"), fault(502, "oh"), _HTML],
    ids=["closed", "cut", "500", "502", "HTML 503"],
)
async def test_idempotent_is_sent_again(autojump_clock: MockClock, nursery: trio.Nursery, answer: Answer) -> None:
    """What may be sent twice is sent again after all of these."""
    rig = await memory_rig(nursery, [answer, Reply(body=b"[3]")])
    assert (await rig.engine.bind(LANE)(PUT)).body == b"[3]"
    assert len(rig.peer.seen) == 2


@pytest.mark.parametrize(("status", "error"), [(500, Refused), (502, Unknown), (503, Refused), (504, Unknown)])
async def test_gateway_that_got_no_answer_is_unknown(
    autojump_clock: MockClock, nursery: trio.Nursery, status: int, error: type[FetchError]
) -> None:
    """What stays of a call that may be sent twice: a refusal by the server itself, `Unknown` from a gateway."""
    rig = await memory_rig(nursery, [fault(status, "no")])
    with pytest.raises(error) as caught:
        await rig.engine.bind(LANE)(PUT)
    assert (caught.value.status, caught.value.retryable) == (status, True)


async def test_refused_connection_is_not_sent(autojump_clock: MockClock) -> None:
    """Without a connection no byte left: the create is tried again, then ends as `NotSent`."""
    tries: list[float] = []

    async def refuse(host: str, port: int) -> trio.abc.Stream:
        tries.append(trio.current_time())
        raise ConnectionRefusedError(f"{host}:{port}")

    announced: list[int] = []

    async def announce() -> None:
        announced.append(1)

    engine = Engine(lambda lane: Endpoint(base_url="http://peer.test"), transport=PooledTransport(connect=refuse))
    with pytest.raises(NotSent, match="nothing was sent"):
        await engine.bind(LANE, before_send=announce)(CREATE)
    assert (len(tries), announced) == (3, [])


async def test_slow_connection_is_not_sent(autojump_clock: MockClock) -> None:
    """A connection that is not made in time is `NotSent`, also when the deadline ends it."""

    async def hang(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    engine = Engine(lambda lane: Endpoint(base_url="http://peer.test"), transport=PooledTransport(connect=hang))
    for deadline_s in (5.0, 60.0):
        with pytest.raises(NotSent):
            await engine.bind(LANE)(HttpRequest(method="POST", path="/", safety="create", deadline_s=deadline_s))


async def test_uncertain_attempt_is_not_forgotten(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """When a later attempt finds no connection, a call whose earlier attempt got through is still `Unknown`."""
    peer = Peer([Raw()])
    peer.start(nursery)
    opened: list[int] = []

    async def once(host: str, port: int) -> trio.abc.Stream:
        opened.append(1)
        if len(opened) > 1:
            raise ConnectionRefusedError
        return await peer.connect(host, port)

    engine = Engine(lambda lane: Endpoint(base_url="http://peer.test"), transport=PooledTransport(connect=once))
    with pytest.raises(Unknown, match="an earlier attempt may have been accepted"):
        await engine.bind(LANE)(PUT)


async def test_before_send_comes_once_before_the_first_byte(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """`before_send` is awaited when nothing has left yet, once for all attempts, and for creates only."""
    rig = await memory_rig(nursery, [fault(429, "slow"), Reply()])
    seen_then: list[int] = []

    async def announce() -> None:
        await trio.sleep(1)
        seen_then.append(len(rig.peer.seen))

    fetch = rig.engine.bind(LANE, before_send=announce)
    await fetch(CREATE)
    await fetch(PUT)
    assert (seen_then, len(rig.peer.seen)) == ([0], 3)


async def test_before_send_that_raises_sends_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """What `before_send` raises comes out unchanged, nothing is sent, and the slot is free again."""
    rig = await memory_rig(nursery, [Reply()])
    refusal = KeyError("not durable")

    async def announce() -> None:
        raise refusal

    with pytest.raises(KeyError) as caught:
        await rig.engine.bind(LANE, before_send=announce)(CREATE)
    assert caught.value is refusal
    assert (rig.peer.seen, rig.engine.snapshot()[0].in_flight) == ([], 0)


async def test_before_send_waits_for_the_slot(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A create that only waits in the queue has announced nothing."""
    rig = await memory_rig(nursery, [Raw(then="hang")])
    rig.engine.configure_queue("one", rig.engine.settings.defaults["", ""])
    announced: list[int] = []

    async def announce() -> None:
        announced.append(1)
        await trio.lowlevel.checkpoint()

    for _ in range(20):  # 16 slots
        nursery.start_soon(rig.engine.bind(LANE, queue="one", before_send=announce), CREATE)
    await trio.testing.wait_all_tasks_blocked()
    assert len(announced) == 16
    nursery.cancel_scope.cancel()


async def test_crash_points_are_passed_in_order(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Before the first byte, after the last, with the answer in memory: each once for each exchange."""
    passed: list[tuple[str, int]] = []
    rig = await memory_rig(nursery, [Reply()])
    with armed(lambda name, kind: passed.append((name, len(rig.peer.seen)))):
        await rig.engine.bind(LANE)(CREATE)
    assert passed == [("send.before", 0), ("send.after_last_byte", 0), ("answer.received", 1)]


async def test_last_byte_has_not_left_while_the_source_has_more(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """With a streamed body the last byte leaves when the source is at its end."""
    passed: list[str] = []

    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        assert passed == ["send.before"]
        await trio.sleep(1)
        yield b"two"
        assert passed == ["send.before"]

    rig = await memory_rig(nursery, [Reply()])
    with armed(lambda name, kind: passed.append(name)):
        await rig.engine.bind(LANE)(HttpRequest(method="POST", path="/", safety="create", body=source))
    assert passed == ["send.before", "send.after_last_byte", "answer.received"]
    [seen] = rig.peer.seen
    assert (seen.body, seen.headers["transfer-encoding"]) == (b"onetwo", "chunked")


@pytest.mark.parametrize(("safety", "attempts"), [("create", 1), ("idempotent", 2)])
async def test_streamed_create_is_sent_once(
    autojump_clock: MockClock, nursery: trio.Nursery, safety: str, attempts: int
) -> None:
    """A create whose body was begun is not sent again, not even after 429; an idempotent one opens its source anew."""
    opened: list[int] = []

    async def source() -> AsyncIterator[bytes]:
        opened.append(1)
        yield b"abc"

    rig = await memory_rig(nursery, [fault(429, "slow"), Reply()])
    request = HttpRequest(
        method="POST",
        path="/",
        safety="create" if safety == "create" else "idempotent",
        body=source,
        body_bytes=3,
    )
    if attempts == 1:
        with pytest.raises(Refused):
            await rig.engine.bind(LANE)(request)
    else:
        await rig.engine.bind(LANE)(request)
    assert (len(opened), len(rig.peer.seen)) == (attempts, attempts)
    assert {seen.headers["content-length"] for seen in rig.peer.seen} == {"3"}


@pytest.mark.parametrize("promised", [2, 4])
async def test_source_of_another_length_is_named(
    autojump_clock: MockClock, nursery: trio.Nursery, promised: int
) -> None:
    """A source that gives more or less than promised is the caller's mistake, and the request is never whole."""

    async def source() -> AsyncIterator[bytes]:
        yield b"abc"

    rig = await memory_rig(nursery, [Reply()])
    with pytest.raises(InvalidRequest, match=f"promises {promised}"):
        await rig.engine.bind(LANE)(
            HttpRequest(method="POST", path="/", safety="create", body=source, body_bytes=promised)
        )
    assert (rig.peer.seen, rig.engine.snapshot()[0].in_flight) == ([], 0)


async def test_raising_source_comes_out_unchanged(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """What the source raises is neither retried nor renamed."""

    async def source() -> AsyncIterator[bytes]:
        yield b"abc"
        raise OSError("disk gone")

    rig = await memory_rig(nursery, [Reply()])
    with pytest.raises(OSError, match="disk gone"):
        await rig.engine.bind(LANE)(HttpRequest(method="PUT", path="/", safety="idempotent", body=source))
    assert rig.told(Retried) == []


async def test_attempt_bound_covers_the_body(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An attempt whose body stalls ends after `attempt_s`; what may be repeated is."""
    rig = await memory_rig(nursery, [Raw(_CUT, "hang"), Reply(body=b"[4]")])
    answer = await rig.engine.bind(LANE, retry=RetryOverride(attempt_s=5.0))(PUT)
    first, second = rig.peer.seen
    assert answer.body == b"[4]"
    assert 5 <= second.at - first.at < 6


async def test_should_retry_header_forbids_a_retry(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """`x-should-retry: false` ends the call after one attempt."""

    async def answer(seen: Seen) -> Answer:
        await trio.lowlevel.checkpoint()
        return fault(500, "no", x_should_retry="false")

    rig = await memory_rig(nursery, answer)
    with pytest.raises(Refused):
        await rig.engine.bind(LANE)(PUT)
    assert len(rig.peer.seen) == 1
