"""What one synced write costs on the disk that holds the log, during this run."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path


def fsync_ms(directory: Path, writes: int = 100) -> float:
    """The median time of a 4 KiB append with fdatasync in `directory`, in milliseconds."""
    path = directory / "fsync-probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        times: list[float] = []
        for _ in range(writes):
            start = time.perf_counter()
            os.write(descriptor, bytes(4096))
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - start)
        return statistics.median(times) * 1_000
    finally:
        os.close(descriptor)
        path.unlink()
