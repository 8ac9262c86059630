"""The one module that names the HTTP library, so that a fork with the same API is put in place by one line.

Only types of the library's public transport seam are used. Its client and its connection pool are not: see
`transport.py` for why.
"""

from __future__ import annotations

from httpx import (
    URL,
    AsyncBaseTransport,
    AsyncByteStream,
    ConnectError,
    ConnectTimeout,
    InvalidURL,
    PoolTimeout,
    ReadError,
    RemoteProtocolError,
    Request,
    Response,
    TimeoutException,
    TransportError,
    UnsupportedProtocol,
    WriteError,
    create_ssl_context,
)

__all__ = [
    "URL",
    "AsyncBaseTransport",
    "AsyncByteStream",
    "ConnectError",
    "ConnectTimeout",
    "InvalidURL",
    "PoolTimeout",
    "ReadError",
    "RemoteProtocolError",
    "Request",
    "Response",
    "TimeoutException",
    "TransportError",
    "UnsupportedProtocol",
    "WriteError",
    "create_ssl_context",
]
