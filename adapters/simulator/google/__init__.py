"""Google's wire, simulated: files, resumable uploads, `:generateContent` and its batches, of the Gemini developer API.

`app` puts the routes together; `files`, `uploads`, `live` and `batches` are the routes; `filestore` and `lifecycle` say
what a file and a batch are at a moment; `answers` is what models say, `lines` a batch's requests and responses;
`bodies` and `errors` are what is read and refused. Sources: `docs/simulator.md`.
"""

from __future__ import annotations

from collections.abc import Callable

from perdure.adapters.simulator.batching import Arrange
from perdure.adapters.simulator.faults import FailProcessing
from perdure.adapters.simulator.google.app import GoogleApp
from perdure.adapters.simulator.google.batches import Batches
from perdure.adapters.simulator.google.errors import rate_headers, usual_error
from perdure.adapters.simulator.google.files import GOOGLE_PREFIX as GOOGLE_PREFIX
from perdure.adapters.simulator.google.files import FileRoutes
from perdure.adapters.simulator.google.filestore import GoogleFiles
from perdure.adapters.simulator.google.live import Live
from perdure.adapters.simulator.google.uploads import Uploads
from perdure.adapters.simulator.provider import SimulatedProvider
from perdure.adapters.simulator.world import World


def simulated_google(
    world: World,
    *,
    processing_s: float,
    pace_s: float,
    arrange_file: Callable[[], FailProcessing | None],
    arrange_batch: Arrange,
) -> SimulatedProvider:
    """Google as the simulator plays it. Video and audio are processed for `processing_s` seconds of the simulator's
    clock, and a batch takes `pace_s`; the last two say what shall go wrong with a file, and with a batch."""
    files = GoogleFiles(world, processing_s=processing_s, arrange=arrange_file)
    batches = Batches(world, files, pace_s=pace_s, arrange=arrange_batch)
    routes = [
        *FileRoutes(world, files).routes(),
        *Uploads(world, files).routes(),
        *Live(world, files).routes(),
        *batches.routes(),
    ]
    return SimulatedProvider(
        prefix=GOOGLE_PREFIX,
        app=GoogleApp(routes),
        routes=routes,
        files=files,
        request_id_header="",
        usual_error=usual_error,
        rate_headers=rate_headers,
        batches=batches,
    )
