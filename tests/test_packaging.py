"""The project as something that is built, installed and published.

The build tests work on a copy of the checkout without the links in `perdure/`, as a system that has none would see it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = ("events", "store", "actors", "adapters")


class _Setuptools(msgspec.Struct):
    packages: list[str]
    package_dir: dict[str, str] = msgspec.field(name="package-dir")


class _Tools(msgspec.Struct):
    setuptools: _Setuptools


class _Pyproject(msgspec.Struct):
    tool: _Tools


def _map() -> _Setuptools:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return msgspec.convert(table, _Pyproject).tool.setuptools


def _run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """The standard output of `command`; the test fails with all that it printed if it does not end with 0."""
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**_clean_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if ended.returncode:
        pytest.fail(f"{command} ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "PERDURE"))}


def _files() -> list[Path]:
    return [Path(line) for line in _run(sys.executable, "tools/tree.py", "list").splitlines()]


# ---------------------------------------------------------------- the map and the tree


def _packages_in_tree() -> dict[str, str]:
    """Dotted package name to folder, for each folder of the rooms that holds Python files of its own."""
    found = {"perdure": "perdure"}
    for path in _files():
        if path.parts[0] in ROOMS and path.suffix == ".py":
            folder = path.parent
            found["perdure." + ".".join(folder.parts)] = folder.as_posix()
    return found


def test_package_map_equals_the_tree() -> None:
    setuptools = _map()
    tree = _packages_in_tree()
    assert sorted(setuptools.packages) == sorted(tree), "pyproject.toml: packages"
    mapped = {name: setuptools.package_dir[_nearest(name, setuptools.package_dir)] for name in setuptools.packages}
    below = {name: name.removeprefix(_nearest(name, setuptools.package_dir)) for name in setuptools.packages}
    assert {name: mapped[name] + below[name].replace(".", "/") for name in mapped} == tree, (
        "pyproject.toml: package-dir"
    )


def _nearest(package: str, package_dir: dict[str, str]) -> str:
    """The longest prefix of `package` that the map names: setuptools looks a package up by it."""
    while package not in package_dir:
        package = package.rpartition(".")[0]
    return package


def test_every_folder_with_modules_is_a_package() -> None:
    folders = set(_packages_in_tree().values())
    assert sorted(folder for folder in folders if not (ROOT / folder / "__init__.py").is_file()) == []


def test_links_stand_for_the_rooms() -> None:
    links = {path.name: os.readlink(path) for path in (ROOT / "perdure").iterdir() if path.is_symlink()}
    assert links == {room: f"../{room}" for room in ROOMS}


# ---------------------------------------------------------------- wheel, sdist, installation


class Built(NamedTuple):
    """`copy` is the checkout without links; `from_sdist` is a wheel made from the unpacked sdist."""

    copy: Path
    wheel: Path
    sdist: Path
    from_sdist: Path


def _build(hook: str, source: Path, destination: Path) -> Path:
    """Calls the build backend as an installer would, with what is installed here and without the network."""
    destination.mkdir(exist_ok=True)
    script = f"import sys; from setuptools import build_meta; print(build_meta.{hook}(sys.argv[1]))"
    name = _run(sys.executable, "-W", "ignore", "-c", script, destination, cwd=source).splitlines()[-1]
    return destination / name


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Wheel and sdist of the working tree."""
    place = tmp_path_factory.mktemp("built")
    copy = place / "copy"
    _run(sys.executable, ROOT / "tools/tree.py", "unlinked", copy)
    wheel = _build("build_wheel", copy, place / "wheel")
    sdist = _build("build_sdist", copy, place / "sdist")
    _run(sys.executable, "-m", "tarfile", "--extract", sdist, place / "unpacked")
    (unpacked,) = (place / "unpacked").iterdir()
    return Built(copy, wheel, sdist, _build("build_wheel", unpacked, place / "second"))


@pytest.fixture(params=["wheel", "from_sdist"])
def wheel(request: pytest.FixtureRequest, built: Built) -> Path:
    """The wheel made from the checkout, and the one made from the sdist."""
    return built.wheel if request.param == "wheel" else built.from_sdist


def test_copy_has_no_links(built: Built) -> None:
    assert [path for path in built.copy.rglob("*") if path.is_symlink()] == []


def test_wheel_holds_every_file_of_the_package_once(wheel: Path) -> None:
    wanted = sorted(
        "/".join(("perdure", *path.parts) if path.parts[0] in ROOMS else path.parts)
        for path in _files()
        if path.parts[0] in {"perdure", *ROOMS}
    )
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(name for name in names if ".dist-info/" not in name) == wanted
    assert "perdure/py.typed" in names


def _metadata(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return BytesParser().parsebytes(archive.read(name))


def test_metadata(wheel: Path) -> None:
    metadata = _metadata(wheel)
    assert metadata["Name"] == "perdure"
    assert metadata["Version"] == "0.1.0"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# perdure")


def test_installed_wheel_imports_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin/python"
    options = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    _run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel)
    # The requirements come from the environment of this run: a .pth line adds its folder, and does not follow the
    # editable installation in it.
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    script = (
        "import importlib, pathlib, pkgutil, perdure\n"
        "def fail(name): raise\n"
        "names = [m.name for m in pkgutil.walk_packages(perdure.__path__, 'perdure.', onerror=fail)]\n"
        "for name in names:\n"
        "    if not name.endswith('__main__'): importlib.import_module(name)\n"
        "print(pathlib.Path(perdure.__file__).parent)\n"
        "print(*names)\n"
    )
    where, names = _run(python, "-c", script, cwd=Path("/")).splitlines()
    assert Path(where).resolve() == (packages / "perdure").resolve()
    assert {f"perdure.{room}" for room in ROOMS} <= set(names.split())


# ---------------------------------------------------------------- what the repository may not hold


def _texts() -> list[tuple[Path, str]]:
    texts: list[tuple[Path, str]] = []
    for path in _files():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content[:4096]:
            texts.append((path, content.decode("utf-8", "replace")))
    return texts


# Written in pieces, so that this file does not hold what it looks for.
_MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:" + "|".join(("root", "home/" + r"\w+", "Users/" + r"\w+", "work", "farm")) + r")/\w"
)
_DOWNLOAD_HOST = re.compile(
    "|".join(
        (
            r"py" + r"pi\.org",
            r"python" + r"hosted\.org",
            r"npm" + r"js\.(?:org|com)",
            r"deb\.deb" + r"ian\.org",
            r"https?://[^\s\"'<>]*(?:/simple/|\.wh" + r"l\b|\.tg" + r"z\b|\.de" + r"b\b)",
            r"--(?:extra-)?index-" + r"url",
        )
    )
)


@pytest.mark.parametrize(
    ("what", "pattern"), [("machine path", _MACHINE_PATH), ("download host", _DOWNLOAD_HOST)], ids=["paths", "hosts"]
)
def test_no_file_names_a(what: str, pattern: re.Pattern[str]) -> None:
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for path, text in _texts()
        for match in pattern.finditer(text)
    ]
    assert found == [], f"a {what} in a file that others get"


def test_pins_have_hashes() -> None:
    for name in ("requirements.txt", "requirements-lint.txt"):
        logical = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        pins = [line for line in logical if line.strip() and not line.startswith("#")]
        assert pins
        assert [pin for pin in pins if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", pin)] == []


def _pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))


def test_pins_agree_where_both_files_name_a_package() -> None:
    run, lint = _pins("requirements.txt"), _pins("requirements-lint.txt")
    assert {name: (version, lint[name]) for name, version in run.items() if lint.get(name, version) != version} == {}
