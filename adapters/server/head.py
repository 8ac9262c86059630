"""Heads, without I/O: what a parsed request asks for, why it may be refused, and its ASGI scope.

h11 has checked the syntax already; this adds what h11 leaves to the server (limits, ambiguous framing, versions, forms
of the target). Nothing here reads or writes a connection.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import h11

from perdure.adapters.server.asgi import EXTENSION, Control, Scope
from perdure.adapters.server.limits import Limits

Headers = list[tuple[bytes, bytes]]
Address = tuple[str, int]

_SPEC_VERSION = "2.3"  # 2.4 would make Starlette stop listening for a departure and see it only at its next send
_ASGI = {"version": "3.0", "spec_version": _SPEC_VERSION}
_HEAD_LINE_BYTES = len(b"  HTTP/1.1\r\n\r\n")
_HEADER_LINE_BYTES = len(b": \r\n")


class Head(NamedTuple):
    """A request's head as the server needs it.

    `old` stands for HTTP/1.0, `content_length` is in bytes (None: not declared), `expects_continue` that the peer waits
    for our word before it sends the body, `closing` that the connection ends with the answer; `refusal` is a status.
    """

    method: bytes
    headers: Headers
    old: bool
    content_length: int | None
    has_body: bool
    expects_continue: bool
    closing: bool
    websocket: bool
    refusal: int | None


def examine(request: h11.Request, limits: Limits, received_bytes: int) -> Head:
    """Judge a request's head.

    `received_bytes` is an upper bound for its size; only where that exceeds the limit is the head measured exactly.
    """
    headers = list(request.headers)
    length: int | None = None
    chunked = upgrade = expects_continue = False
    connection = b""
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"upgrade":
            upgrade = value.strip().lower() == b"websocket"
        elif name == b"connection":
            connection += b"," + value
        elif name == b"expect":
            expects_continue = expects_continue or has_token(value, b"100-continue")
    old = request.http_version < b"1.1"
    websocket = upgrade and has_token(connection, b"upgrade")
    refusal: int | None = None
    if len(headers) > limits.head_count or (
        received_bytes > limits.head_bytes and _size_bytes(request, headers) > limits.head_bytes
    ):
        refusal = 431
    elif request.http_version[:1] != b"1":
        refusal = 505
    elif chunked and length is not None:
        refusal = 400  # two readings of where the body ends: the way requests are smuggled past a proxy
    elif request.method == b"CONNECT":
        refusal = 501
    elif websocket and (request.method != b"GET" or chunked or length):
        refusal = 400
    has_body = chunked or bool(length)
    return Head(
        method=request.method,
        headers=headers,
        old=old,
        content_length=length,
        has_body=has_body,
        expects_continue=expects_continue and has_body and not old,
        closing=old or (bool(connection) and has_token(connection, b"close")),
        websocket=websocket,
        refusal=refusal,
    )


def has_token(value: bytes, token: bytes) -> bool:
    """Whether a header that lists tokens has this one, given in lower case (RFC 9110, section 5.6.1)."""
    return any(part.strip() == token for part in value.lower().split(b","))


def _size_bytes(request: h11.Request, headers: Headers) -> int:
    lines = sum(len(name) + len(value) + _HEADER_LINE_BYTES for name, value in headers)
    return len(request.method) + len(request.target) + _HEAD_LINE_BYTES + lines


def build_scope(
    request: h11.Request,
    head: Head,
    *,
    control: Control,
    server: Address | None,
    client: Address | None,
    state: dict[str, object],
) -> Scope:
    """The ASGI scope of an HTTP request or, where the head asks for it, of a WebSocket."""
    target = request.target
    if target[:1] != b"/" and target != b"*":
        target = _origin_form(target)
    raw_path, _, query = target.partition(b"?")
    path = unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path
    scope: Scope = {
        "type": "http",
        "asgi": _ASGI,
        "http_version": request.http_version.decode("ascii"),
        "server": server,
        "client": client,
        "scheme": "http",
        "root_path": "",
        "path": path.decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": query,
        "headers": head.headers,
        "state": state.copy(),
        "extensions": {EXTENSION: control},
    }
    if head.websocket:
        scope["type"] = "websocket"
        scope["scheme"] = "ws"
        scope["subprotocols"] = [
            part.strip().decode("latin-1")
            for name, value in head.headers
            if name == b"sec-websocket-protocol"
            for part in value.split(b",")
            if part.strip()
        ]
        scope["extensions"]["websocket.http.response"] = {}
    else:
        scope["method"] = request.method.decode("ascii").upper()
    return scope


def _origin_form(target: bytes) -> bytes:
    """The path and query of an absolute target, `http://host/path` (RFC 9112, 3.2.2); other forms get a slash."""
    _, mark, rest = target.partition(b"://")
    if not mark:
        return b"/" + target
    slash, question = rest.find(b"/"), rest.find(b"?")
    if slash >= 0 and (question < 0 or slash < question):
        return rest[slash:]
    return b"/" + (rest[question:] if question >= 0 else b"")
