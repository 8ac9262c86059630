"""Google's wire, simulated: files, resumable uploads, `:generateContent` and its batches, of the Gemini developer API.

`app` puts the routes together; `files`, `uploads`, `live`, `images`, `videos`, `interactions` and `batches` are the
routes; `filestore` and `lifecycle` say what a file and a batch are at a moment; `answers` is what models say, `speech`
how they speak, `lines` a batch's requests and responses; `making` is what media routes share; `bodies` and `errors` are
what is read and refused. Sources: `docs/simulator.md`.
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
from perdure.adapters.simulator.google.images import Imagen
from perdure.adapters.simulator.google.interactions import Interactions
from perdure.adapters.simulator.google.live import Live
from perdure.adapters.simulator.google.making import Studio
from perdure.adapters.simulator.google.uploads import Uploads
from perdure.adapters.simulator.google.videos import Veo, VideoDesk
from perdure.adapters.simulator.media.sales import ArrangeMedia, Sales
from perdure.adapters.simulator.media.shelf import Shelf
from perdure.adapters.simulator.provider import SimulatedProvider
from perdure.adapters.simulator.world import World


def simulated_google(
    world: World,
    *,
    processing_s: float,
    pace_s: float,
    arrange_file: Callable[[], FailProcessing | None],
    arrange_batch: Arrange,
    shelf: Shelf,
    video_s: float,
    arrange_media: ArrangeMedia,
) -> SimulatedProvider:
    """Google as the simulator plays it. Video and audio are processed for `processing_s` seconds of the simulator's
    clock, a batch takes `pace_s`, and a video `video_s`; the `arrange_…` say what shall go wrong with what comes next.
    `shelf` makes media."""
    files = GoogleFiles(world, processing_s=processing_s, arrange=arrange_file)
    batches = Batches(world, files, pace_s=pace_s, arrange=arrange_batch)
    studio = Studio(world, shelf, Sales(world, "google", arrange_media), video_s)
    videos = VideoDesk(studio)
    routes = [
        *FileRoutes(world, files, videos.download).routes(),
        *Uploads(world, files).routes(),
        *Live(world, files, studio).routes(),
        *Imagen(studio).routes(),
        *Veo(videos).routes(),
        *Interactions(videos).routes(),
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
        operations=videos,
    )
