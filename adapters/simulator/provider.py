"""What the simulator is told of each provider that it plays, besides its routes: where it is, how it words things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from starlette.routing import Route
from starlette.types import ASGIApp

from perdure.adapters.simulator.batching import SimulatedBatches
from perdure.adapters.simulator.filestore import FileStore
from perdure.adapters.simulator.media.operations import SimulatedOperations
from perdure.adapters.simulator.rates import Admission

REQUEST_ID: str = "simulator.request_id"
"""The key under which a request's id stands in its ASGI scope, for answers that repeat it in their body."""


class SimulatedProvider(Struct, frozen=True, kw_only=True):
    """One provider's part of the simulator.

    `prefix` is where it is, below the base URL; `app` answers all that comes there, by `routes`, whose paths are below
    the prefix. `files` are its files, `batches` its batches and `operations` its videos, None where it has none.
    `request_id_header` carries a request's id in every answer. `usual_error` is the body (JSON) of an error answer when
    nothing is known but its status and the request's id. `rate_headers` tells how a request stands against an armed
    rate, at a time in seconds since 1970.
    """

    prefix: str
    app: ASGIApp
    routes: Sequence[Route]
    files: FileStore
    request_id_header: str
    usual_error: Callable[[int, str], bytes]
    rate_headers: Callable[[Admission, float], Mapping[str, str]]
    batches: SimulatedBatches | None = None
    operations: SimulatedOperations | None = None

    def owns(self, path: str) -> bool:
        """Whether a path is this provider's."""
        return path == self.prefix or path.startswith(self.prefix + "/")

    def templates(self) -> list[tuple[str, str]]:
        """Its routes: the method, and the whole path with `{name}` for what varies."""
        return [(method, self.prefix + route.path) for route in self.routes for method in route.methods or ()]
