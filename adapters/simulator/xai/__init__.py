"""xAI's wire, simulated: files, responses, chat completions, batches, models, images, speech and videos.

It is OpenAI's but for errors, files, batches, and answers that tell what they cost; what is the same comes from
`openai/`. `batches` are the routes of batches, `lifecycle` says how one stands, `lines` reads and writes its files,
`wire` is what it looks like. `images`, `speech` and `videos` are those routes, `making` is what they share.
"""

from __future__ import annotations

from email.utils import formatdate

from perdure.adapters.simulator.batching import Arrange
from perdure.adapters.simulator.media.sales import ArrangeMedia, Sales
from perdure.adapters.simulator.media.shelf import Shelf
from perdure.adapters.simulator.openai import Live, OpenAIApp
from perdure.adapters.simulator.openai.errors import rate_headers, usual_error
from perdure.adapters.simulator.provider import SimulatedProvider
from perdure.adapters.simulator.world import World
from perdure.adapters.simulator.xai.batches import Batches
from perdure.adapters.simulator.xai.cost import priced
from perdure.adapters.simulator.xai.errors import error_response
from perdure.adapters.simulator.xai.files import Files
from perdure.adapters.simulator.xai.images import Images
from perdure.adapters.simulator.xai.making import RESULTS, Studio
from perdure.adapters.simulator.xai.speech import Speech
from perdure.adapters.simulator.xai.videos import Videos

XAI_PREFIX = "/xai/v1"
"""Where xAI's routes are, below the base URL."""

PLAYED_ENDPOINTS = ("/v1/responses", "/v1/chat/completions")
LISTED_MODELS = ("grok-5", "grok-5-mini")


def simulated_xai(
    world: World,
    *,
    pace_s: float,
    arrange: Arrange,
    shelf: Shelf,
    video_s: float,
    arrange_media: ArrangeMedia,
) -> SimulatedProvider:
    """xAI's part of a simulator. Errors that come from in front of it have OpenAI's form: it knows both.

    `pace_s` is how long a batch takes and `video_s` a video, in seconds; `arrange` and `arrange_media` say what shall
    go wrong with the next one, `shelf` makes media. Every answer is dated by the simulator's clock: whether a batch has
    expired can only be told by comparing times.
    """
    files = Files(world, lambda: videos.settle())
    studio = Studio(world, files.store, shelf, Sales(world, "xai", arrange_media), video_s)
    videos = Videos(studio)
    live = Live(world, files.store, provider="xai", endpoints=PLAYED_ENDPOINTS, models=LISTED_MODELS, priced=priced)
    batches = Batches(world, files.store, pace_s=pace_s, arrange=arrange)
    routes = [
        *files.routes(),
        *batches.routes(),
        *live.routes(),
        *Images(studio).routes(),
        *Speech(studio).routes(),
        *videos.routes(),
    ]
    return SimulatedProvider(
        prefix=XAI_PREFIX,
        app=OpenAIApp(
            routes,
            say=error_response,
            keyless=RESULTS,
            headers=lambda took_ms: {"date": formatdate(world.clock.now(), usegmt=True)},
        ),
        routes=routes,
        files=files.store,
        request_id_header="x-trace-id",
        usual_error=usual_error,
        rate_headers=rate_headers,
        batches=batches,
        operations=videos.desk,
    )
