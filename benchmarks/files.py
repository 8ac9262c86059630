"""Files: a large one to the store, to a provider and back, and many small ones, beside what the system does plainly.

- *large*: a file of `--mib` MiB goes from a path to the store (`files.upload`), from there to the simulator's OpenAI
  (`files.push`, in parts), and is read back (`files.read`). What the upload is measured against is `sha256sum` of the
  same file, then `cp`, then fsync of the copy. Beside it `hashlib` of the file, in a process of its own too: where it
  has instructions of the processor that `sha256sum` does not use, the ratio with it in that place says more.
- *small*: `--files` contents of 1 to 4 KiB, in memory in both ways. Plainly: each written under a temporary name,
  synced and renamed, one after the other. Ours: 200 tasks share them and call `files.upload`; when that returns, the
  content with its folder's entry and the event that names it are durable.

The ways take turns, each from the same cold state: the file is out of the page cache, what it writes is new and removed
afterwards. Ours is a fresh process each time, whose peak memory is the kernel's VmHWM, and is timed from the first
upload to the last. The simulator runs in another process. `python -m benchmarks.files [large] [small]`; the large one
needs four times its size on disk.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks._fsync import fsync_ms

LARGE_MIB: Final = 2_048
SMALL_FILES: Final = 10_000
SMALL_BYTES: Final = (1_024, 4_096)
TASKS: Final = 200
ROUNDS: Final = 3
LARGE_GOAL: Final = 0.6
SMALL_GOAL: Final = 1.0
PEAK_GOAL_MIB: Final = 150
HASHLIB: Final = "import hashlib, sys; hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256')"


class Cost(msgspec.Struct, frozen=True):
    """What some work took, user and system time together."""

    wall_s: float
    cpu_s: float


class Run(msgspec.Struct, frozen=True):
    """What one of our processes says of itself."""

    costs: dict[str, Cost]
    idle_mib: float
    peak_mib: float


def cpu_s(who: int = resource.RUSAGE_SELF) -> float:
    """User and system time of this process, or of its children that have ended."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def peak_mib() -> float:
    """The most memory that this process has held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1_024


# ---------------------------------------------------------------- our process


def worker(mode: str, base_url: str, directory: Path, source: Path, count: int) -> None:
    """One run of ours in this process; prints it as JSON."""
    import trio

    import perdure

    provider = perdure.ProviderConfig(base_url=base_url, credentials={"default": perdure.Secret("benchmark")})
    config = perdure.Config(providers={"openai": provider})
    costs: dict[str, Cost] = {}

    async def timed(name: str, work: Awaitable[object]) -> None:
        wall, cpu = time.perf_counter(), cpu_s()
        await work
        costs[name] = Cost(time.perf_counter() - wall, cpu_s() - cpu)

    async def large(service: perdure.Service) -> None:
        files: list[perdure.FileReference] = []

        async def upload() -> None:
            files.append(await service.files.upload(source))

        async def push() -> None:
            await (await service.files.push(files[0], provider="openai")).result()

        async def read() -> None:
            size = 0
            async for chunk in service.files.read(files[0]):
                size += len(chunk)
            if size != count * (1 << 20):
                raise SystemExit(f"{size} bytes were read back: nothing was measured")

        await timed("upload", upload())
        forget(directory)
        await timed("push", push())
        forget(directory)
        await timed("read back", read())

    async def small(service: perdure.Service) -> None:
        waiting = iter(contents(count))

        async def one() -> None:
            for content in waiting:
                await service.files.upload(content)

        async def all_of_them() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(TASKS):
                    nursery.start_soon(one)

        await timed("upload", all_of_them())

    modes = {"large": large, "small": small}

    async def main() -> float:
        async with perdure.open(directory / "perdure.db", config=config) as service:
            idle = peak_mib()
            await modes[mode](service)
            return idle

    idle_mib = trio.run(main)
    sys.stdout.buffer.write(msgspec.json.encode(Run(costs, idle_mib, peak_mib())))


def ours(mode: str, base_url: str, home: Path, source: Path, count: int) -> Run:
    """One run of ours in a fresh process and an empty folder."""
    with tempfile.TemporaryDirectory(dir=home) as directory:
        command = [sys.executable, "-m", "benchmarks.files", "--worker", mode, base_url, directory]
        out = subprocess.run([*command, str(source), str(count)], check=True, stdout=subprocess.PIPE).stdout
    return msgspec.json.decode(out, type=Run)


# ---------------------------------------------------------------- what the system does plainly


def forget(path: Path) -> None:
    """Puts a file, or the files of all blobs below a folder, out of the page cache, as far as they are synced."""
    # Nothing else: closing a database's file gives up the locks that this process holds on it.
    for each in [path] if path.is_file() else path.rglob("[0-9a-f][0-9a-f]/*"):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def synced(path: Path) -> None:
    """Syncs a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copied(source: Path, home: Path) -> dict[str, Cost]:
    """What `sha256sum`, `cp` and fsync of the copy take, and all three; what `hashlib` takes, and with it."""
    copy = home / "copy"
    costs: dict[str, Cost] = {}

    def timed(name: str, work: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), cpu_s(resource.RUSAGE_CHILDREN) + cpu_s()
        work()
        costs[name] = Cost(time.perf_counter() - wall, cpu_s(resource.RUSAGE_CHILDREN) + cpu_s() - cpu)

    def run(*command: str | Path) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    timed("sha256sum", lambda: run("sha256sum", source))
    timed("cp", lambda: run("cp", source, copy))
    timed("fsync", lambda: synced(copy))
    copy.unlink()
    costs["together"] = added(*costs.values())
    forget(source)
    timed("hashlib", lambda: run(sys.executable, "-c", HASHLIB, source))
    costs["with hashlib"] = added(costs["hashlib"], costs["cp"], costs["fsync"])
    return costs


def added(*costs: Cost) -> Cost:
    """One after the other."""
    return Cost(sum(cost.wall_s for cost in costs), sum(cost.cpu_s for cost in costs))


def contents(count: int) -> list[bytes]:
    """The small files: the same each time, no two alike."""
    source = random.Random(4)
    return [number.to_bytes(8, "big") + source.randbytes(source.randint(*SMALL_BYTES) - 8) for number in range(count)]


def plainly(home: Path, count: int) -> Cost:
    """What writing the small files one by one takes: write, fsync, rename."""
    given = contents(count)
    with tempfile.TemporaryDirectory(dir=home) as place:
        wall, cpu = time.perf_counter(), cpu_s()
        for number, content in enumerate(given):
            temporary = f"{place}/{number}.tmp"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, content)
            os.fsync(descriptor)
            os.close(descriptor)
            os.rename(temporary, f"{place}/{number}")
        return Cost(time.perf_counter() - wall, cpu_s() - cpu)


# ---------------------------------------------------------------- turns and figures


@contextmanager
def simulator() -> Generator[str]:
    """A simulator in a process of its own: the base URL of its OpenAI."""
    command = [sys.executable, "-m", "perdure.adapters.simulator"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        with closing(process.stdout):
            try:
                yield process.stdout.readline().strip() + "/openai/v1"
            finally:
                process.terminate()


def spread(values: list[float], unit: str = "", digits: int = 2) -> str:
    """The median, the lowest and the highest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f}{unit} ({low:,.{digits}f} to {high:,.{digits}f})"


def large_file(home: Path, mib: int, rounds: int) -> None:
    """Turns with the large file, and what they took."""
    source = home / "source"
    with source.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    synced(source)
    theirs: list[dict[str, Cost]] = []
    runs: list[Run] = []
    for _ in range(rounds):
        forget(source)
        theirs.append(copied(source, home))
        forget(source)
        with simulator() as base_url:  # each with what it has received: nothing is left of it afterwards
            runs.append(ours("large", base_url, home, source, mib))
    source.unlink()
    print(f"one file of {mib:,} MiB, {rounds} rounds; MiB/s, and seconds of CPU")
    for name in theirs[0]:
        row(name, [turn[name] for turn in theirs], mib)
    for name in runs[0].costs:
        row(name, [run.costs[name] for run in runs], mib)
    for name, what in (("together", "sha256sum"), ("with hashlib", "hashlib")):
        pairs = [(turn[name], run.costs["upload"]) for turn, run in zip(theirs, runs, strict=True)]
        ratios = spread([other.wall_s / mine.wall_s for other, mine in pairs])
        by_cpu = spread([other.cpu_s / mine.cpu_s for other, mine in pairs])
        print(f"  upload to the store / ({what} + cp + fsync): {ratios}, goal {LARGE_GOAL}; by CPU {by_cpu}")
    peaks, idle = [run.peak_mib for run in runs], [run.idle_mib for run in runs]
    print(f"  peak memory of our process, MiB: {spread(peaks)}, goal {PEAK_GOAL_MIB}; when it is open {spread(idle)}")


def row(name: str, costs: list[Cost], mib: int) -> None:
    """One line: the rates and the CPU of one way."""
    rates = spread([mib / cost.wall_s for cost in costs], digits=0)
    print(f"  {name:12} {rates:28} {spread([cost.cpu_s for cost in costs])} s of CPU")


def small_files(home: Path, count: int, rounds: int) -> None:
    """Turns with the small files, and what they took."""
    theirs: list[Cost] = []
    runs: list[Run] = []
    for _ in range(rounds):
        theirs.append(plainly(home, count))
        runs.append(ours("small", "http://127.0.0.1:9", home, home, count))
    mine = [run.costs["upload"] for run in runs]
    print(f"{count:,} files of 1 to 4 KiB, {rounds} rounds")
    for name, costs in (("one by one", theirs), (f"{TASKS} tasks", mine)):
        rates = spread([count / cost.wall_s for cost in costs], digits=0)
        each = spread([cost.cpu_s / count * 1e6 for cost in costs], digits=0)
        print(f"  {name:10} {rates} files/s, {each} µs of CPU each")
    ratios = [cost.wall_s / other.wall_s for cost, other in zip(theirs, mine, strict=True)]
    print(f"  files/s, ours / one by one: {spread(ratios)}, goal above {SMALL_GOAL}")
    print(f"  peak memory of our process, MiB: {spread([run.peak_mib for run in runs], digits=1)}")


def main(parts: list[str], mib: int, files: int, rounds: int) -> None:
    """Runs the parts and prints their figures."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-files-") as directory:
        home = Path(directory)
        print(f"fsync of 4 KiB: {fsync_ms(home):.2f} ms")
        if "large" in parts:
            large_file(home, mib, rounds)
        if "small" in parts:
            small_files(home, files, rounds)
        print(f"fsync of 4 KiB: {fsync_ms(home):.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=LARGE_MIB, help="size of the large file")
    parser.add_argument("--files", type=int, default=SMALL_FILES, help="how many small files")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--worker", nargs=5, metavar=("MODE", "BASE_URL", "DIRECTORY", "SOURCE", "COUNT"))
    parser.add_argument("parts", nargs="*", default=["large", "small"], metavar="large, small")
    arguments = parser.parse_args()
    if arguments.worker:
        given = arguments.worker
        worker(given[0], given[1], Path(given[2]), Path(given[3]), int(given[4]))
    else:
        main(arguments.parts, arguments.mib, arguments.files, arguments.rounds)
