"""Lists the files of this checkout, or copies them into the shape that another tool needs.

    python tools/tree.py list              one path for each line, links left out
    python tools/tree.py plain DEST        the import package as plain folders: perdure/events, perdure/store, …
    python tools/tree.py unlinked DEST     the checkout as a system without symbolic links would have it

The files are those that git tracks and those it would track if they were added, so what is being worked on counts and
what is ignored does not. Where git or its folder is missing (an unpacked archive), every file outside hidden and
generated folders counts.

`plain` exists for tools that read imports from paths and follow neither the package map in pyproject.toml nor links.
DEST is emptied first, must not contain this checkout, and must be either empty, missing or an earlier copy.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = "perdure"
_MARK = ".made-by-tools-tree"
_GENERATED = frozenset({"build", "dist", "__pycache__"})


def links() -> dict[str, str]:
    """The links of the import package: name inside `perdure/` to the folder at the root that it stands for."""
    return {path.name: path.readlink().name for path in sorted((ROOT / _PACKAGE).iterdir()) if path.is_symlink()}


def files() -> list[Path]:
    """The regular files of the checkout, relative to its root, sorted."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        found = [Path(name) for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        found = list(_walk(ROOT))
    return sorted({path for path in found if (ROOT / path).is_file() and not (ROOT / path).is_symlink()})


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        hidden = path.name.startswith(".") and path.name not in {".ci", ".gitignore"}
        if hidden or path.is_symlink() or path.name in _GENERATED or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path.relative_to(ROOT)


def copy(destination: Path, *, plain: bool) -> None:
    """Copies the files to `destination`; with `plain`, those behind a link go to where the link stands."""
    destination = destination.resolve()
    if destination == ROOT or destination in ROOT.parents:
        raise SystemExit(f"tree: {destination} holds this checkout: name a folder that may be emptied")
    if destination.exists():
        if any(destination.iterdir()) and not (destination / _MARK).exists():
            raise SystemExit(f"tree: {destination} is not empty and was not made by this tool: remove it yourself")
        shutil.rmtree(destination)
    moved = {target: f"{_PACKAGE}/{name}" for name, target in links().items()} if plain else {}
    for path in files():
        top, *rest = path.parts
        target = destination.joinpath(moved.get(top, top), *rest)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    (destination / _MARK).touch()


def main(arguments: list[str]) -> None:
    """Runs one of the three commands that the module's docstring lists."""
    match arguments:
        case ["list"]:
            sys.stdout.writelines(f"{path}\n" for path in files())
        case ["plain" | "unlinked" as shape, destination]:
            copy(Path(destination), plain=shape == "plain")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
