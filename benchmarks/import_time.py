"""What `import perdure` costs beside `import trio, msgspec`: CPU of fresh processes in turns, less an empty one's."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

ROUNDS = 15
CASES = {"nothing": "pass", "trio, msgspec": "import trio, msgspec", "perdure": "import perdure"}
LATER = ("httpx", "eventsourcing", "starlette", "sqlite3", "click", "rich")


def cpu_s(code: str) -> float:
    """CPU seconds of a fresh interpreter that runs `code`."""
    process = subprocess.Popen([sys.executable, "-c", code])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"{code!r} failed: nothing was measured")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Prints the medians and their ratio."""
    for code in CASES.values():
        cpu_s(code)
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, code in CASES.items():
            times[name].append(cpu_s(code))
    medians = {name: statistics.median(values) for name, values in times.items()}
    empty = medians["nothing"]
    for name, value in medians.items():
        print(f"{name:>14}: {value * 1e3:7.1f} ms of CPU, {(value - empty) * 1e3:7.1f} ms above an empty process")
    ratio = (medians["perdure"] - empty) / (medians["trio, msgspec"] - empty)
    print(f"import perdure over import trio, msgspec: {ratio:.2f} (goal: 1.3)")
    check = f"import sys, perdure; print([name for name in {LATER!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout.strip()
    print(f"of {', '.join(LATER)} it loads: {loaded}")


if __name__ == "__main__":
    main()
