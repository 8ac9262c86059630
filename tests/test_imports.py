"""What an import may pull in. The direction of our own imports is checked by import-linter in `make lint`."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent

OUTSIDE: Final = ("trio", "httpx", "h11", "sqlite3", "eventsourcing", "starlette", "trio_websocket", "click", "rich")
"""What a value never needs."""

HEAVY: Final = ("httpx", "eventsourcing", "starlette", "sqlite3", "click", "rich")
"""What `import perdure` does not load: each comes with the first use of the part that needs it."""

PURE_ACTOR_MODULES: Final = ("state", "commands", "decide", "evolve")
"""Names of the modules in an actor's package that are values and pure functions, wherever they stand under actors/."""


def _modules(folder: Path, prefix: str) -> list[str]:
    return sorted(module.name for module in pkgutil.walk_packages([str(folder)], f"{prefix}."))


def _pure_modules() -> list[str]:
    actors = [
        "perdure." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "actors").rglob("*.py"))
        if path.stem in PURE_ACTOR_MODULES
    ]
    return ["perdure.events", *_modules(ROOT / "events", "perdure.events"), *actors]


def _python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", _pure_modules())
def test_value_module_imports_with_io_blocked(module: str) -> None:
    script = "import sys\nfor name in sys.argv[2].split(): sys.modules[name] = None\n__import__(sys.argv[1])"
    ended = _python(script, module, " ".join(OUTSIDE))
    assert ended.returncode == 0, ended.stderr


def test_import_of_perdure_is_light() -> None:
    ended = _python(
        "import sys, perdure\nprint(*(n for n in sys.argv[1].split() if n in sys.modules))", " ".join(HEAVY)
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == []
