"""Anthropic's routes put together: key and version, the routes, and errors in Anthropic's form for everything else."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perdure.adapters.simulator.anthropic.errors import ApiError, error_response
from perdure.adapters.simulator.anthropic.headers import check_key, version_of
from perdure.adapters.simulator.provider import REQUEST_ID
from perdure.adapters.simulator.routes import without_head


class AnthropicApp:
    """Anthropic as an ASGI application, to be mounted at `/anthropic`."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = without_head(routes)
        self._router: ASGIApp = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Raises nothing that is the client's fault."""
        request = Request(scope, receive)
        answering = False

        async def send_noted(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            check_key(request)
            version_of(request)
            await self._router(scope, receive, send_noted)
        except ClientDisconnect:
            return
        except (ApiError, HTTPException) as error:
            if answering:
                raise
            told = error if isinstance(error, ApiError) else _explain(request, error)
            answer = error_response(told, scope.get(REQUEST_ID, ""))
            await answer(scope, receive, send)


def _explain(request: Request, error: HTTPException) -> ApiError:
    what = f"{request.method} {request.url.path}"
    if error.status_code == 405:
        return ApiError(405, f"There is no {what}; another method is needed.")
    return ApiError(error.status_code, f"There is no {what}.")
