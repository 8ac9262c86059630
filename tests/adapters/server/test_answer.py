"""Answers as bytes: another's parser reads what the application said, and nothing that it said can break a head."""

from __future__ import annotations

from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.server.answer import Answer, refusal, write_head
from perdure.adapters.server.errors import ApplicationFault

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


def written(answer: Answer, status: int, headers: list[tuple[bytes, bytes]], parts: list[bytes]) -> bytes:
    """A whole answer; the last of the parts ends it."""
    answer.start(status, headers, date=DATE, close=False)
    pieces: list[bytes] = []
    for part in parts[:-1]:
        pieces += answer.body(part, more=True)
    return b"".join([*pieces, *answer.body(parts[-1], more=False)])


def read(data: bytes, *, method: bytes = b"GET") -> tuple[h11.Response, bytes, bool]:
    """The head, the body, and whether h11 would send another request behind it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(b"")
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            break
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return response, body, client.their_state is h11.DONE


def values(response: h11.Response, name: bytes) -> list[bytes]:
    return [value for known, value in response.headers if known == name]


OWN = frozenset({b"connection", b"content-length", b"date", b"transfer-encoding"})
TOKEN = b"!#$%&'*+-.^_`|~0123456789ABYZabyz"
VISIBLE = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])
NAMES = (
    st.lists(st.sampled_from(TOKEN), min_size=1, max_size=12).map(bytes).filter(lambda name: name.lower() not in OWN)
)
CLEAN = st.lists(st.sampled_from(VISIBLE + b" \t"), max_size=12).map(lambda value: bytes(value).strip(b" \t"))
VALUES = st.binary(max_size=12)
BODIES = st.lists(st.binary(max_size=20), min_size=1, max_size=4)


@given(
    status=st.integers(200, 999).filter(lambda status: status not in (204, 304)),
    headers=st.lists(st.tuples(NAMES, CLEAN), max_size=4),
    parts=BODIES,
    declared=st.booleans(),
    old=st.booleans(),
)
def test_what_is_written_is_what_another_reads(
    status: int, headers: list[tuple[bytes, bytes]], parts: list[bytes], declared: bool, old: bool
) -> None:
    body = b"".join(parts)
    lines = [(b"Content-Length", b"%d" % len(body)), *headers] if declared else headers
    response, received, goes_on = read(written(Answer(old=old), status, lines, parts))
    assert (response.status_code, received) == (status, body)
    assert [(name, value) for name, value in response.headers if name not in OWN] == [
        (name.lower(), value) for name, value in headers
    ]
    assert goes_on == (declared or not old)


@given(name=VALUES, value=VALUES)
def test_no_header_can_become_two(name: bytes, value: bytes) -> None:
    """What is not refused is one line, and another reads it as it was said."""
    try:
        head = write_head(200, [(name, value), (b"content-length", b"0")])
    except ApplicationFault:
        return
    assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") == 4
    assert (name.lower(), value) in list(read(head)[0].headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x", b"a\r\nset-cookie: b"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\r\n"),
        (b"x", b"a\n"),
        (b"x", b"\r\na"),
        (b"x", b"a\0b"),
        (b"x", b" a"),
        (b"x\r\ny", b"a"),
        (b"x\n", b"a"),
        (b"x y", b"a"),
        (b"x:", b"a"),
        (b"", b"a"),
        (b"content-length", b"1\r\n"),
        (b"content-length", b"+1"),
        (b"content-length", b"1, 1"),
        (b"content-length", b""),
        ("x", b"a"),
        (b"x", "a"),
        (b"x", None),
        (3, b"a"),
    ],
)
def test_a_header_that_is_none_is_refused(name: bytes, value: bytes) -> None:
    """And the answer is as if it had not been tried: the next head is taken."""
    answer = Answer()
    with pytest.raises(ApplicationFault, match="not valid"):
        answer.start(200, [(b"y", b"z"), (name, value)], date=DATE, close=False)
    assert written(answer, 200, [], [b""]).startswith(b"HTTP/1.1 200 OK\r\ndate: ")


@pytest.mark.parametrize("status", [0, 42, 100, 101, 199, 1000, "200", None])
def test_a_status_that_is_none_is_refused(status: int) -> None:
    with pytest.raises(ApplicationFault, match="not valid"):
        Answer().start(status, [], date=DATE, close=False)


def test_a_status_may_be_an_enum() -> None:
    assert written(Answer(), HTTPStatus.NOT_FOUND, [], [b""]).startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_the_framing_is_the_servers() -> None:
    """As ASGI has it: a transfer-encoding of the application's is ignored, with and without a length."""
    mine = [(b"Transfer-Encoding", b"gzip"), (b"connection", b"keep-alive, x")]
    response, body, goes_on = read(written(Answer(), 200, mine, [b"text"]))
    assert (values(response, b"transfer-encoding"), body, goes_on) == ([b"chunked"], b"text", True)
    response, body, goes_on = read(written(Answer(), 200, [*mine, (b"content-length", b"4")], [b"text"]))
    assert (values(response, b"transfer-encoding"), body, goes_on) == ([], b"text", True)
    assert values(response, b"connection") == []


def test_an_application_may_end_the_connection() -> None:
    answer = Answer()
    response, _, goes_on = read(written(answer, 200, [(b"Connection", b"x, Close")], [b"text"]))
    assert (values(response, b"connection"), goes_on, answer.closing) == ([b"close"], False, True)


def test_a_length_said_twice_is_written_once() -> None:
    """Two that agree are one; two that do not are two readings of where the answer ends."""
    length = (b"content-length", b"4")
    response, body, _ = read(written(Answer(), 200, [length, length], [b"text"]))
    assert (values(response, b"content-length"), body) == ([b"4"], b"text")
    with pytest.raises(ApplicationFault, match="content-length"):
        Answer().start(200, [length, (b"content-length", b"5")], date=DATE, close=False)


def test_there_is_one_date() -> None:
    """The application's, where it gives one."""
    assert values(read(written(Answer(), 200, [], [b""]))[0], b"date") == [DATE]
    theirs = b"Mon, 07 Nov 1994 08:49:37 GMT"
    assert values(read(written(Answer(), 200, [(b"Date", theirs)], [b""]))[0], b"date") == [theirs]


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"4")]], ids=["undeclared", "declared"])
@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_no_body_where_there_may_be_none(method: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    data = written(Answer(head_only=method == b"HEAD"), status, headers, [b"te", b"xt"])
    response, body, goes_on = read(data, method=method)
    assert (body, goes_on) == (b"", True)
    assert values(response, b"content-length") == ([] if status == 204 or not headers else [b"4"])


def test_a_refusal_says_its_status_and_ends_the_connection() -> None:
    response, body, goes_on = read(refusal(431))
    assert (response.status_code, body, goes_on) == (431, b"Request Header Fields Too Large\n", False)
    assert read(refusal(413, head_only=True), method=b"HEAD")[1] == b""


@pytest.mark.parametrize("parts", [[b"12345"], [b"1", b"2345"], [b"123"], [b"12", b"1"], [b""]])
def test_a_body_is_as_long_as_its_head_says(parts: list[bytes]) -> None:
    """Where it turns out not to be, the part that does not fit is refused and nothing of it is sent."""
    answer = Answer()
    with pytest.raises(ApplicationFault, match="not as long"):
        written(answer, 200, [(b"content-length", b"4")], parts)
    assert not answer.complete
    assert answer.started == (len(parts) > 1)
