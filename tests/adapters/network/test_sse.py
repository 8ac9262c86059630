"""Server-sent events: the parser alone, then over a connection."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from perdure.actors.fetch import HttpRequest, Unknown
from perdure.adapters.network import SseEvent, SseParser, events_of
from tests.adapters.network.peer import LANE, Raw, Reply, memory_rig

GET = HttpRequest(method="GET", path="/events", safety="read")

BODY = (
    b"\xef\xbb\xbf: a comment\n"
    b"data: one\n\n"
    b"event: delta\r\ndata:two\r\ndata:  lines\r\nid: 7\r\n\r\n"
    b"retry: 1500\rdata: \xc3\xa9\r\r"
    b"data\n\n"
    b"event: nothing\n\n"
    b"unknown: x\nretry: soon\ndata: [DONE]\n\n"
    b"data: cut off by the end"
)
EVENTS = [
    SseEvent("one"),
    SseEvent("two\n lines", "delta", "7"),
    SseEvent("é", "message", "7", 1500),
    SseEvent("", "message", "7"),
]


def parse(*chunks: bytes) -> list[SseEvent]:
    parser = SseParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_n22_sse_fields_comments_and_end_mark() -> None:
    """Events with their fields; comments, `[DONE]`, events without data and a cut one are dropped."""
    assert parse(BODY) == EVENTS


@given(st.lists(st.integers(0, len(BODY)), max_size=12))
def test_n22_sse_events_across_chunks(cuts: list[int]) -> None:
    """The same events, however the body is cut."""
    places = [0, *sorted(cuts), len(BODY)]
    assert parse(*(BODY[a:b] for a, b in pairwise(places))) == EVENTS


@given(st.binary(max_size=200))
def test_n22_sse_any_bytes(noise: bytes) -> None:
    """Noise raises nothing, and byte by byte it means the same as at once."""
    assert parse(noise) == parse(*(bytes([byte]) for byte in noise))


def test_n22_sse_endless_event_is_cut_off() -> None:
    """An event larger than allowed is refused instead of held."""
    parser = SseParser(max_event_bytes=1000)
    line = b"data: " + b"x" * 20 + b"\n"
    parser.feed(line * 30)
    with pytest.raises(Unknown, match="1000 bytes"):
        parser.feed(line * 30)


@pytest.mark.trio
async def test_n22_sse_over_a_stream_ends_cleanly(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Events are read over a streamed answer to its end, and the connection is kept."""
    rig = await memory_rig(nursery, [Reply(body=[BODY[:30], BODY[30:]], headers={"content-type": "text/event-stream"})])
    async with rig.engine.bind(LANE).stream(GET) as stream:
        assert [event async for event in events_of(stream.chunks())] == EVENTS
    await rig.engine.bind(LANE)(GET)
    assert rig.peer.connections == 1


@pytest.mark.trio
@pytest.mark.parametrize("how", ["break", "raise"])
async def test_n22_sse_leaving_early_closes_the_body(
    autojump_clock: MockClock, nursery: trio.Nursery, how: str
) -> None:
    """A consumer that breaks or raises closes the connection and frees the slot."""
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\ndata: 1\n\ndata: 2\n\n"
    rig = await memory_rig(nursery, [Raw(endless, "hang")])
    seen: list[str] = []

    async def consume() -> None:
        async with rig.engine.bind(LANE).stream(GET) as stream:
            async for event in events_of(stream.chunks()):
                seen.append(event.data)
                if how == "raise":
                    raise KeyError(event.data)
                break

    if how == "raise":
        with pytest.raises(KeyError):
            await consume()
    else:
        await consume()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["1"]
    assert (rig.peer.open_connections, rig.engine.snapshot()[0].in_flight) == (0, 0)
