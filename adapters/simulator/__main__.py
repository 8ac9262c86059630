"""`python -m perdure.adapters.simulator`: a simulator in a process of its own.

The first line on standard output is its base URL. It ends on SIGINT and SIGTERM with exit code 0.
"""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import click
import trio

from perdure.adapters.simulator.simulator import DEFAULT_BATCH_S, DEFAULT_VIDEO_S, simulate
from perdure.events.errors import PerdureError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0: the system chooses.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Directory that survives a restart.")
@click.option("--seed", default=0, show_default=True, help="Decides ids and texts.")
@click.option("--batch-seconds", "batch_s", default=DEFAULT_BATCH_S, show_default=True, help="How long a batch takes.")
@click.option("--video-seconds", "video_s", default=DEFAULT_VIDEO_S, show_default=True, help="How long a video takes.")
def main(host: str, port: int, data: Path | None, seed: int, batch_s: float, video_s: float) -> None:
    """Run the provider simulator until SIGINT or SIGTERM.

    Example: python -m perdure.adapters.simulator --port 8900 --data ./simulated --batch-seconds 5
    """
    try:
        trio.run(partial(_run, host=host, port=port, data=data, seed=seed, batch_s=batch_s, video_s=video_s))
    except* PerdureError as group:
        first = next(iter(group.exceptions))
        click.echo(f"Error: {first}", err=True)
        raise SystemExit(getattr(first, "exit_code", 1)) from None


async def _run(*, host: str, port: int, data: Path | None, seed: int, batch_s: float, video_s: float) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(
                partial(simulate, host=host, port=port, data=data, seed=seed, batch_s=batch_s, video_s=video_s)
            )
            click.echo(bound.url)
            async for _ in signals:
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    main()
