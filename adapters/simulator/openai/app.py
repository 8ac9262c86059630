"""Routes of OpenAI's wire put together: the key check, the routes, and errors in the provider's form."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perdure.adapters.simulator.keys import bearer_key, is_refused
from perdure.adapters.simulator.openai.errors import ApiError, error_response
from perdure.adapters.simulator.routes import without_head

API_VERSION: Final = "2020-10-01"
"""What OpenAI answers in `openai-version`."""


def openai_headers(took_ms: int) -> dict[str, str]:
    """What OpenAI tells in the head of every answer."""
    return {
        "openai-version": API_VERSION,
        "openai-organization": "simulator",
        "openai-processing-ms": str(took_ms),
    }


class OpenAIApp:
    """OpenAI, or who speaks its wire, as an ASGI application, to be mounted at `/openai/v1` or the like.

    `say` words an error; `headers` are added to every answer, by the milliseconds that it took. `keyless` is how paths
    begin, below where it is mounted, that need no key; "": there are none.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        say: Callable[[ApiError], Response] = error_response,
        headers: Callable[[int], Mapping[str, str]] = openai_headers,
        keyless: str = "",
    ) -> None:
        self.routes = without_head(routes)
        self._router: ASGIApp = Router(routes, redirect_slashes=False)
        self._say = say
        self._headers = headers
        self._keyless = keyless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Raises nothing that is the client's fault."""
        request = Request(scope, receive)
        started = time.perf_counter()
        answering = False

        async def send_marked(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                took_ms = int((time.perf_counter() - started) * 1000)
                told = self._headers(took_ms).items()
                message["headers"] = [*message.get("headers", ()), *((n.encode(), v.encode()) for n, v in told)]
            await send(message)

        try:
            below: str = scope["path"].removeprefix(scope.get("root_path", ""))
            if not self._keyless or not below.startswith(self._keyless):
                check_key(request)
            await self._router(scope, receive, send_marked)
        except ClientDisconnect:
            return
        except (ApiError, HTTPException) as error:
            if answering:
                raise
            answer = self._say(error if isinstance(error, ApiError) else _explain(request, error))
            await answer(scope, receive, send_marked)


def check_key(request: Request) -> None:
    """Raises `ApiError` 401 without a key and for one that ends in `bad-key`."""
    key = bearer_key(request)
    if not key:
        raise ApiError(401, "There is no API key in the Authorization header (Bearer …).")
    if is_refused(key):
        raise ApiError(401, "The API key is not valid.", code="invalid_api_key")


def _explain(request: Request, error: HTTPException) -> ApiError:
    what = f"{request.method} {request.url.path}"
    if error.status_code == 405:
        return ApiError(405, f"There is no {what}; another method is needed.", code="method_not_supported")
    return ApiError(error.status_code, f"There is no {what}.", code="unknown_url")


def not_found(scope: Scope) -> Response:
    """The answer to a route that is no provider's."""
    return error_response(ApiError(404, f"The simulator has no {scope['method']} {scope['path']}.", code="unknown_url"))
