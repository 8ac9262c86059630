"""A simulator without the libraries that make media says so, and sells none."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.adapters.simulator.bench import bench

pytestmark = pytest.mark.trio


@pytest.mark.parametrize(("module", "name"), [("PIL", "pillow"), ("av", "av")])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/images/generations", {"prompt": "a fox"}),
        ("/images/edits", {"prompt": "a fox"}),
        ("/audio/speech", {"model": "m", "voice": "v", "input": "a"}),
        ("/videos", {"prompt": "a fox"}),
    ],
)
async def test_without_a_library_nothing_is_sold_and_it_is_named(
    module: str, name: str, path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    async with bench() as b:
        error = await b.error(501, "POST", path, json=body)
        assert error["code"] == "not_installed"
        assert f"without {name};" in error["message"]
        assert "perdure[simulator-media]" in error["message"]
        assert b.simulator.account.purchases() == []
        assert await b.ok("GET", "/videos") is not None
