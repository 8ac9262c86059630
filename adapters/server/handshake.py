"""The opening of a WebSocket, without I/O (RFC 6455, section 4.2): what the client asked and the headers we agree with.

The head has been read like any other, so that a refused WebSocket is an ordinary HTTP answer. No extension is
ever agreed to: compression would let a small frame become any amount of memory.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable

from perdure.adapters.server.errors import ApplicationFault
from perdure.adapters.server.head import Headers

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_VERSION = b"13"
_KEY_BYTES = 16
_OURS = frozenset({b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-protocol"})
UPGRADE_REQUIRED = (
    b"HTTP/1.1 426 Upgrade Required\r\nsec-websocket-version: 13\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


def refuse(headers: Headers) -> int | None:
    """The status to refuse an opening handshake with, or None: 426 for another version, 400 for a wrong key."""
    versions = [value.strip() for name, value in headers if name == b"sec-websocket-version"]
    keys = [value.strip() for name, value in headers if name == b"sec-websocket-key"]
    if versions != [_VERSION]:
        return 426 if versions else 400
    if len(keys) != 1:
        return 400
    try:
        nonce = base64.b64decode(keys[0], validate=True)
    except binascii.Error:
        return 400
    return None if len(nonce) == _KEY_BYTES else 400


def agree(
    request: Headers, *, offered: Iterable[str], subprotocol: str | None, extra: Iterable[tuple[bytes, bytes]]
) -> Headers:
    """The headers of the 101 response. Raises `ApplicationFault` for a subprotocol that the client did not offer."""
    key = next(value.strip() for name, value in request if name == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    headers = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", accept)]
    if subprotocol is not None:
        if subprotocol not in offered:
            raise ApplicationFault(f"the client did not offer the subprotocol {subprotocol!r}")
        headers.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
    headers.extend((name, value) for name, value in extra if name.lower() not in _OURS)
    return headers
