"""`perdure simulate`: a provider on this machine."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import click
import trio

from perdure.adapters.cli.command import command
from perdure.adapters.cli.options import Duration
from perdure.adapters.cli.terminal import Terminal


@command("simulate")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65_535), metavar="N", help="Port; 0: the system chooses.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory that keeps files, batches and the account over a restart.",
)
@click.option("--seed", default=0, metavar="S", help="Decides ids and texts.")
@click.option(
    "--batch-seconds", "batch_s", type=Duration(), default=2.0, metavar="X", help="How long a batch takes, in seconds."
)
@click.option(
    "--video-seconds", "video_s", type=Duration(), default=2.0, metavar="X", help="How long a video takes, in seconds."
)
def simulate(
    terminal: Terminal, host: str, port: int, data: Path | None, seed: int, batch_s: float, video_s: float
) -> int:
    """Be a provider that costs nothing and fails when told to.

    The first line on standard output is the base URL. OpenAI's routes are below /openai/v1 there, the account of what
    was bought and the switches for faults below /_sim. Any key is taken but one that ends in bad-key. It runs until
    Ctrl-C or SIGTERM and then ends with 0.

    \b
    Example:
      perdure simulate --port 8900 --data ./simulated --batch-seconds 5
    """
    trio.run(partial(_simulate, terminal, host=host, port=port, data=data, seed=seed, batch_s=batch_s, video_s=video_s))
    return 0


async def _simulate(
    terminal: Terminal, *, host: str, port: int, data: Path | None, seed: int, batch_s: float, video_s: float
) -> None:
    from perdure.adapters import simulator

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(
                partial(
                    simulator.simulate,
                    host=host,
                    port=port,
                    data=data,
                    seed=seed,
                    batch_s=batch_s,
                    video_s=video_s,
                )
            )
            terminal.print(bound.url)
            terminal.say(
                f"OpenAI: --base-url {bound.url}{simulator.OPENAI_PREFIX}   account: {bound.url}/_sim/purchases"
            )
            async for _ in signals:
                nursery.cancel_scope.cancel()
