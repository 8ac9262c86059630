"""What every prefix of every stream of a kept log comes to: `python -m tests.logs.pins` rewrites the pins.

One line for each prefix: actor, version, a digest of the state, and the effects that the state asks for with their
lanes. A line that changes means that today's code would do something else in the middle of somebody's operation.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import trio

from perdure.adapters.composition import folds
from perdure.store.records import Stream
from perdure.store.replay import by_kind
from perdure.store.sqlite import open_reader

HERE = Path(__file__).parent


def kept_logs() -> list[Path]:
    """The folders of all kept logs."""
    return sorted(path.parent for path in HERE.glob("*/perdure.db"))


async def pins_of(folder: Path) -> list[str]:
    """The pins of one kept log, as today's code gives them. Works on a copy: reading may touch what is beside it."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "perdure.db"
        shutil.copy(folder / "perdure.db", path)
        async with open_reader(path) as log:
            rows = sorted(await log.rows(), key=lambda row: row.actor)
            streams = await log.load([row.actor for row in rows])
    return [line for stream in streams for line in _prefixes(stream.row.kind, stream.row.actor, stream)]


def _prefixes(kind: str, actor: str, stream: Stream) -> Iterator[str]:
    fold = by_kind(folds())[kind]
    aggregate = fold.initial(actor, stream.row.tenant)
    for version, at, payload in stream.events:
        aggregate = fold.evolve(aggregate, fold.codec.decode(payload), at)
        asked = " ".join(f"{effect.id}@{effect.lane}" for _, effect in aggregate.settle())
        digest = hashlib.sha256(msgspec.json.encode(aggregate.state)).hexdigest()[:16]
        yield f"{actor} {version} {digest} {asked}".rstrip()


def main() -> None:
    """Rewrites the pins of all kept logs; look at the difference before it is committed."""
    for folder in kept_logs():
        (folder / "pins.txt").write_text("\n".join(trio.run(pins_of, folder)) + "\n")


if __name__ == "__main__":
    main()
