"""The simulator as one thing: put together, embedded in a program, or served on a port."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import trio
from starlette.applications import Starlette
from starlette.routing import Mount

from perdure.adapters.server import Bound, serve
from perdure.adapters.simulator.account import Account
from perdure.adapters.simulator.anthropic import simulated_anthropic
from perdure.adapters.simulator.batching import Arrangement, Plan
from perdure.adapters.simulator.clock import Clock
from perdure.adapters.simulator.control import CLOCK_NUMBER, Control
from perdure.adapters.simulator.faults import Faults
from perdure.adapters.simulator.filestore import FileStore
from perdure.adapters.simulator.gate import Gate
from perdure.adapters.simulator.generated import Generated
from perdure.adapters.simulator.google import simulated_google
from perdure.adapters.simulator.holds import Holds
from perdure.adapters.simulator.media.sales import Sales
from perdure.adapters.simulator.media.shelf import Shelf
from perdure.adapters.simulator.openai import Batches, Files, Images, Live, OpenAIApp, Speech, Uploads, Videos
from perdure.adapters.simulator.openai.errors import rate_headers, usual_error
from perdure.adapters.simulator.provider import SimulatedProvider
from perdure.adapters.simulator.storage import Storage
from perdure.adapters.simulator.traffic import Traffic
from perdure.adapters.simulator.world import World
from perdure.adapters.simulator.xai import simulated_xai
from perdure.store.disk import Disk

OPENAI_PREFIX: Final = "/openai/v1"
"""Where OpenAI's routes are, below the base URL."""

DEFAULT_BATCH_S: Final = 2.0
"""How long a batch takes, in seconds of the simulator's clock."""

DEFAULT_VIDEO_S: Final = 2.0
"""How long the making of a video takes, in seconds of the simulator's clock."""

DEFAULT_PROCESSING_S: Final = 2.0
"""How long video and audio are processed where that is done, in seconds of the simulator's clock."""

_HINT_SHARE: Final = 0.1
_HINT_MS: Final = (50, 10_000)


class Simulator:
    """A simulated provider, its account and its faults.

    Use it as a context manager, or `close` it: it holds an open database, and without `data` a directory to delete.

    Args:
        data: where to keep files, objects and the account, so that they are there again after a restart. None: in a
            temporary directory that ends with the simulator.
        seed: decides ids, texts and what is chosen at random; the same requests in the same order get the same answers.
        batch_s: how long a batch takes without trouble, in seconds of its clock; 0: it is done when first asked for.
        video_s: how long a video takes without trouble, in seconds of its clock; 0: it is done when first asked for.
        processing_s: how long Google processes video and audio before they may be used, in seconds of its clock.
        poll_after_ms: the hint that is sent with a batch, in milliseconds; None: a tenth of `batch_s`, 50 to 10,000.
        video_poll_after_ms: the same for a video; None: a tenth of `video_s`, within the same bounds.
        clock: the simulator's clock; None: real time, advanced as far as what is kept in `data` says.
        disk: runs what blocks; None: threads of its own. An inline one goes with a virtual clock.

    Attributes:
        app: the ASGI application; give it to `perdure.adapters.server.serve`, or use `serve` below.
        account: what was bought. faults: what is armed. holds: what is held. traffic: what was seen. clock: the time.
        directory: where things are kept.

    Raises `Conflict` when another simulator works in `data`.
    """

    def __init__(
        self,
        *,
        data: Path | None = None,
        seed: int = 0,
        batch_s: float = DEFAULT_BATCH_S,
        video_s: float = DEFAULT_VIDEO_S,
        processing_s: float = DEFAULT_PROCESSING_S,
        poll_after_ms: int | None = None,
        video_poll_after_ms: int | None = None,
        clock: Clock | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._storage = Storage(data, disk)
        self.directory = self._storage.directory
        with self._storage.transaction() as tables:
            self.clock = Clock(offset_s=tables.number(CLOCK_NUMBER)) if clock is None else clock
        self.account = Account(self._storage)
        self.traffic = Traffic()
        self.holds = Holds()
        world = World(seed, self.clock, self._storage)
        files = Files(world)
        batches = Batches(
            world,
            files,
            pace_s=batch_s,
            poll_after_ms=_hint_ms(batch_s) if poll_after_ms is None else poll_after_ms,
            arrange=self._arrange,
        )
        live = Live(world, files.store)
        shelf = Shelf(world)
        sales = Sales(world, "openai", lambda kind: self.faults.arrange_media(kind))
        videos = Videos(
            world,
            files.store,
            shelf=shelf,
            sales=sales,
            pace_s=video_s,
            poll_after_ms=_hint_ms(video_s) if video_poll_after_ms is None else video_poll_after_ms,
        )
        openai = OpenAIApp(
            [
                *files.routes(),
                *Uploads(world, files).routes(),
                *batches.routes(),
                *live.routes(),
                *Images(world, files.store, shelf=shelf, sales=sales).routes(),
                *Speech(world, shelf=shelf, sales=sales).routes(),
                *videos.routes(),
            ]
        )
        providers = [
            SimulatedProvider(
                prefix=OPENAI_PREFIX,
                app=openai,
                routes=openai.routes,
                files=files.store,
                request_id_header="x-request-id",
                usual_error=usual_error,
                rate_headers=rate_headers,
                batches=batches,
                operations=videos.desk,
            ),
            simulated_anthropic(world, pace_s=batch_s, arrange=self._arrange),
            simulated_google(
                world,
                processing_s=processing_s,
                pace_s=batch_s,
                arrange_file=lambda: self.faults.arrange_file(),
                arrange_batch=self._arrange,
                shelf=shelf,
                video_s=video_s,
                arrange_media=lambda kind: self.faults.arrange_media(kind),
            ),
            simulated_xai(
                world,
                pace_s=batch_s,
                arrange=self._arrange,
                shelf=shelf,
                video_s=video_s,
                arrange_media=lambda kind: self.faults.arrange_media(kind),
            ),
        ]
        self._sweep(providers, files.containers)
        provided = [template for provider in providers for template in provider.templates()]
        self.faults = Faults(self.clock, provided)
        control = Control(
            world,
            faults=self.faults,
            holds=self.holds,
            traffic=self.traffic,
            batches=[provider.batches for provider in providers if provider.batches is not None],
            files=[provider.files for provider in providers],
            operations=[provider.operations for provider in providers if provider.operations is not None],
        )
        self._generated = Generated(world, [provider.files for provider in providers], files.containers)
        controls = [*control.routes(), *self._generated.routes()]
        self._routes = [*provided, *((method, route.path) for route in controls for method in route.methods or ())]
        mounts = [Mount(provider.prefix, app=provider.app) for provider in providers]
        self.app = Gate(
            Starlette(routes=[*mounts, *controls]),
            clock=self.clock,
            faults=self.faults,
            holds=self.holds,
            traffic=self.traffic,
            providers=providers,
        )

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def routes(self) -> list[tuple[str, str]]:
        """All routes: the method, and the path with `{name}` for what varies."""
        return self._routes

    def close(self) -> None:
        """Lets go of the directory, and deletes it if it is a temporary one. Nothing may be served any more."""
        self._storage.close()

    async def make_file(
        self, provider: str, content: bytes, *, filename: str, mime_type: str, container: str = ""
    ) -> str:
        """Makes a file as the provider's hosted tools do, for clients to fetch; its id there.

        `container`: at OpenAI, the id of the container in which it lies. Raises `ValueError` for an unknown provider.
        """
        return await self._generated.make(
            provider, content, filename=filename, mime_type=mime_type, container=container
        )

    async def serve(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves `app` until cancelled. `task_status` is given where (`.url`), once it can be reached."""
        await serve(self.app, host=host, port=port, task_status=task_status)

    def _sweep(self, providers: Sequence[SimulatedProvider], containers: FileStore) -> None:
        """Removes the bytes that a process which was killed left without a row."""
        with self._storage.transaction() as tables:
            keep = tables.ids("part", self.clock.now()) | containers.kept(tables)
            for provider in providers:
                keep |= provider.files.kept(tables)
                if provider.batches is not None:
                    keep |= provider.batches.kept(tables)
        self._storage.sweep(keep)

    def _arrange(self, plan: Plan) -> Arrangement:
        return self.faults.arrange(plan)


async def simulate(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    data: Path | None = None,
    seed: int = 0,
    batch_s: float = DEFAULT_BATCH_S,
    video_s: float = DEFAULT_VIDEO_S,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs a simulator on a port until cancelled. Arguments as for `Simulator`; `task_status` is given where it is.

    Raises `Conflict` when another simulator works in `data`, `AddressInUse` and `AddressRefused` for the port.
    """
    with Simulator(data=data, seed=seed, batch_s=batch_s, video_s=video_s) as simulator:
        await simulator.serve(host=host, port=port, task_status=task_status)


def _hint_ms(pace_s: float) -> int:
    lowest, highest = _HINT_MS
    return int(min(max(pace_s * _HINT_SHARE * 1000, lowest), highest))
