"""Anthropic's part of a simulator, put together."""

from __future__ import annotations

from typing import Final

from perdure.adapters.simulator.anthropic.app import AnthropicApp
from perdure.adapters.simulator.anthropic.batches import Batches
from perdure.adapters.simulator.anthropic.errors import usual_error
from perdure.adapters.simulator.anthropic.files import Files
from perdure.adapters.simulator.anthropic.headers import rate_headers
from perdure.adapters.simulator.anthropic.messages import Messages
from perdure.adapters.simulator.anthropic.models import models_routes
from perdure.adapters.simulator.batching import Arrange
from perdure.adapters.simulator.provider import SimulatedProvider
from perdure.adapters.simulator.world import World

ANTHROPIC_PREFIX: Final = "/anthropic"
"""Where Anthropic's routes are, below the base URL; their paths begin with `/v1`, which its SDK adds itself."""


def simulated_anthropic(world: World, *, pace_s: float, arrange: Arrange) -> SimulatedProvider:
    """Anthropic's part of a simulator. `pace_s` is how long a batch takes, in seconds; `arrange` says what shall go
    wrong with the next one."""
    files = Files(world)
    batches = Batches(world, files.store, prefix=ANTHROPIC_PREFIX, pace_s=pace_s, arrange=arrange)
    routes = [*files.routes(), *batches.routes(), *Messages(world, files).routes(), *models_routes()]
    return SimulatedProvider(
        prefix=ANTHROPIC_PREFIX,
        app=AnthropicApp(routes),
        routes=routes,
        files=files.store,
        request_id_header="request-id",
        usual_error=usual_error,
        rate_headers=rate_headers,
        batches=batches,
    )
