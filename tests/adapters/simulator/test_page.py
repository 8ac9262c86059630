"""`docs/simulator.md` names every route and every fault, with its fields, and its examples are taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from perdure.adapters.simulator import Simulator
from perdure.adapters.simulator.faults import Fault, RouteFault, tag_of

PAGE = (Path(__file__).resolve().parents[3] / "docs/simulator.md").read_text(encoding="utf-8")
FAULTS = get_args(Fault)
SHARED = {"route", "count", "skip", "batch", "operation"}


def test_every_route_is_on_the_page_and_none_that_is_not_there() -> None:
    written: set[str] = set()
    for prefix, section in re.findall(r"^## [^\n]* routes, under `(\S+)`\n(.*?)(?=^## )", PAGE, re.M | re.S):
        for method, path in re.findall(r"^\| `(GET|POST|DELETE) (/\S+)` \|", section, re.M):
            written.add(f"{method} {path if path.startswith(prefix) else prefix + path}")
    with Simulator() as simulator:
        there = {f"{method} {path}" for method, path in simulator.routes()}
    assert written == {route for route in there if not route.startswith("HEAD ")}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_every_fault_is_on_the_page_with_its_fields(kind: type[RouteFault]) -> None:
    (row,) = re.findall(rf"^\| `{kind.__struct_config__.tag}` \|.*$", PAGE, re.M)
    for field in set(kind.__struct_fields__) - SHARED:
        assert f"`{field}`" in row


def test_no_other_fault_is_on_the_page() -> None:
    section = PAGE.split("## Faults")[1]
    written = set(re.findall(r"^\| `([a-z_]+)` \|", section, re.M)) - {"fault"}
    assert written == {str(kind.__struct_config__.tag) for kind in FAULTS}


def test_every_example_is_taken() -> None:
    examples = re.findall(r"curl -d '(.*)' http://\S+/_sim/faults", PAGE)
    assert len(examples) >= 4
    with Simulator() as simulator:
        for example in examples:
            many = example if example.startswith("[") else f"[{example}]"
            faults = msgspec.json.decode(many, type=list[Fault])
            assert [armed.fault for armed in simulator.faults.arm(*faults)] == faults
            assert all(f'"{tag_of(fault)}"' in example for fault in faults)
