"""What the server raises: to whoever called `serve`, and to the application it runs."""

from __future__ import annotations

from typing import cast

from perdure.events.errors import Conflict, PerdureError, Rejected


class AddressInUse(Conflict):
    """Another process (or another server here) listens on this address. Attributes: `host`, `port`."""

    def __init__(self, message: str, *, host: str, port: int) -> None:
        super().__init__(message)
        self.host = host
        self.port = port


class AddressRefused(Rejected):
    """The system does not let this process listen on this address, or does not know it. Attributes: `host`, `port`."""

    def __init__(self, message: str, *, host: str, port: int) -> None:
        super().__init__(message, field="host", value=f"{host}:{port}")
        self.host = host
        self.port = port


class LifespanFailed(PerdureError):
    """The application did not start (it said so, or took too long), or its lifespan ended in an error while serving.

    Attribute: `reason`, in the application's words.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ApplicationFault(PerdureError):
    """The application broke a rule of ASGI or of HTTP, for example two starts or more body than it declared."""


class PeerGone(PerdureError, ConnectionError):
    """The peer has left, was cut off, or sent what cannot be answered: nothing can be sent to it any more.

    It is an `OSError`, as ASGI asks for, so that Starlette takes it for a disconnect. Attribute: `reason`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the peer is gone: {reason}")
        self.reason = reason


def is_departure(error: Exception) -> bool:
    """Whether an application failed of nothing but `PeerGone`: that is how it ends when its peer left, and no news."""
    if isinstance(error, ExceptionGroup):
        return all(is_departure(cause) for cause in cast("ExceptionGroup[Exception]", error).exceptions)
    return isinstance(error, PeerGone)
