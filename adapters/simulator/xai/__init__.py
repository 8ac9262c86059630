"""xAI's wire, simulated: files, responses, chat completions, models.

It is OpenAI's but for errors, files, and answers that tell what they cost; what is the same comes from `openai/`.
"""

from __future__ import annotations

from perdure.adapters.simulator.openai import Live, OpenAIApp
from perdure.adapters.simulator.openai.errors import rate_headers, usual_error
from perdure.adapters.simulator.provider import SimulatedProvider
from perdure.adapters.simulator.world import World
from perdure.adapters.simulator.xai.cost import priced
from perdure.adapters.simulator.xai.errors import error_response
from perdure.adapters.simulator.xai.files import Files

XAI_PREFIX = "/xai/v1"
"""Where xAI's routes are, below the base URL."""

PLAYED_ENDPOINTS = ("/v1/responses", "/v1/chat/completions")
LISTED_MODELS = ("grok-5", "grok-5-mini")


def simulated_xai(world: World) -> SimulatedProvider:
    """xAI's part of a simulator. Errors that come from in front of it have OpenAI's form: it knows both."""
    files = Files(world)
    live = Live(world, files.store, provider="xai", endpoints=PLAYED_ENDPOINTS, models=LISTED_MODELS, priced=priced)
    routes = [*files.routes(), *live.routes()]
    return SimulatedProvider(
        prefix=XAI_PREFIX,
        app=OpenAIApp(routes, say=error_response, headers=lambda took_ms: {}),
        routes=routes,
        files=files.store,
        request_id_header="x-trace-id",
        usual_error=usual_error,
        rate_headers=rate_headers,
    )
