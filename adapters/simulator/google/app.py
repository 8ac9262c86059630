"""Google's routes put together: version and key, the routes, and errors in Google's form for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perdure.adapters.simulator.google.errors import ApiError, bad_key, error_response, no_key
from perdure.adapters.simulator.keys import is_refused
from perdure.adapters.simulator.routes import without_head

VERSIONS: Final = ("v1", "v1beta", "v1alpha")
"""The versions, all alike: Google's client asks for the first since its generation 3, for the second before."""

SESSION: Final = "upload_id"
"""The parameter that names an upload's session, and is its credential."""


class GoogleApp:
    """Google as an ASGI application, to be mounted at `/google`."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = without_head(routes)
        self._router: ASGIApp = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Raises nothing that is the client's fault."""
        request = Request(scope, receive)
        answering = read = False

        async def receive_noted() -> Message:
            nonlocal read
            message = await receive()
            read = not message.get("more_body")
            return message

        async def send_noted(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            check_key(request)
            await self._router(scope, receive_noted, send_noted)
        except ClientDisconnect:
            return
        except (ApiError, HTTPException) as error:
            if answering:
                raise
            while not read:  # a refusal that goes out while a chunk still comes in is lost with the connection
                await receive_noted()
            told = error if isinstance(error, ApiError) else _explain(request, error)
            await error_response(told)(scope, receive, send)


def check_key(request: Request) -> None:
    """Raises `ApiError` 403 without a key, 400 for one that ends in `bad-key`. A session needs none beside itself."""
    if SESSION in request.query_params:
        return
    key = (request.headers.get("x-goog-api-key") or request.query_params.get("key", "")).strip()
    if not key:
        raise no_key()
    if is_refused(key):
        raise bad_key()


def check_version(request: Request) -> str:
    """The version that a request's path names. Raises `ApiError` 404 for one that does not exist."""
    version: str = request.path_params["version"]
    if version not in VERSIONS:
        raise ApiError(404, f"There is no version {version!r}: {', '.join(VERSIONS)}.")
    return version


def _explain(request: Request, error: HTTPException) -> ApiError:
    return ApiError(error.status_code, f"There is no {request.method} {request.url.path}.", status="NOT_FOUND")
