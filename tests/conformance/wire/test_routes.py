"""Every route answers as its provider's contract says, in every way of speaking that the provider knows."""

from __future__ import annotations

import re
from collections.abc import Mapping

import httpx
import msgspec
import pytest

from perdure.adapters.testing.loopback import LoopbackSimulator
from tests.conformance.wire.contract import Case, Contract, Variant, Wire, claimed_by, route_of
from tests.conformance.wire.rig import CONTRACTS
from tests.conformance.wire.shapes import mismatches

CASES = [
    pytest.param(contract, variant, case, id=f"{contract.name}-{variant.name}-{case.route}-{case.does}")
    for contract in CONTRACTS
    for variant in contract.variants
    for case in contract.cases
]


def check_head(answer: httpx.Response, wanted: Mapping[str, str]) -> None:
    """Raises AssertionError where a header is missing or another one."""
    for name, pattern in wanted.items():
        assert name in answer.headers, f"{name} is missing from {sorted(answer.headers)}"
        assert re.fullmatch(pattern, answer.headers[name]), f"{name} does not match {pattern}: {answer.headers[name]}"


@pytest.mark.parametrize(("contract", "variant", "case"), CASES)
def test_a_route_keeps_its_contract(
    contract: Contract, variant: Variant, case: Case, simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    wire = Wire(simulator, http, contract.prefix, variant)
    answer = case.call(wire)
    assert answer.status_code == case.status, answer.text
    method, _, path = case.route.partition(" ")
    asked = answer.request
    assert route_of(asked.method, asked.url.path, claimed_by(contract)) == f"{method} {contract.prefix}{path}"
    check_head(answer, {**contract.head, **contract.answered, **case.head})
    assert [name for name in contract.unsaid if name in answer.headers] == []
    if answer.status_code >= 400 and case.content is None:
        assert answer.headers["content-type"] == "application/json"
        assert mismatches(case.body or contract.error(answer.status_code), answer.json()) == []
        return
    assert answer.headers.get("content-type", "") == case.media
    if case.content is not None:
        assert mismatches(case.content, answer.content) == []
        assert answer.headers["content-length"] == str(len(answer.content))
    elif case.begins is not None:
        assert answer.content.startswith(case.begins)
        assert len(answer.content) > len(case.begins)
    elif case.lines is not None:
        assert answer.content.endswith(b"\n")
        for line in answer.content.splitlines():
            assert mismatches(case.lines, msgspec.json.decode(line)) == []
    else:
        assert case.body is not None, "a case says what must come"
        assert mismatches(case.body, answer.json()) == []
