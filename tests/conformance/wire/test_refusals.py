"""Every route refuses strangers, keeps to rates and fails in its provider's own words.

These sweeps go over all routes that have a case, so a new route is swept as soon as it has one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import httpx
import pytest

from perdure.adapters.simulator.faults import AnswerStatus, Rate
from perdure.adapters.testing.loopback import LoopbackSimulator
from tests.conformance.wire.contract import HOLES, Contract, Wire
from tests.conformance.wire.rig import CONTRACTS
from tests.conformance.wire.shapes import mismatches
from tests.conformance.wire.test_routes import check_head
from tests.secrets import unique_key, wrong_key

EVERY = pytest.mark.parametrize("contract", CONTRACTS, ids=[contract.name for contract in CONTRACTS])


def routes(method: str = "") -> pytest.MarkDecorator:
    """A test of every route, or of those with one method."""
    swept = [
        pytest.param(contract, route, id=f"{contract.name}-{route}")
        for contract in CONTRACTS
        for route in contract.routes()
        if route.startswith(method)
    ]
    return pytest.mark.parametrize(("contract", "route"), swept)


def ask(wire: Wire, route: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """A request to a route, with any id and without a body: what stands before the routes must not need them."""
    method, _, template = route.partition(" ")
    path = HOLES.sub(lambda hole: hole[0] if hole[1] == "version" else "anything", template)
    return wire.send(method, path, headers=headers)


def check_error(contract: Contract, answer: httpx.Response, status: int) -> None:
    """Raises AssertionError unless this is an error answer as the provider words it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    check_head(answer, contract.head)
    assert [name for name in contract.unsaid if name in answer.headers] == []
    said = answer.json()
    assert mismatches(contract.error(status), said) == []
    if isinstance(said, dict) and "request_id" in said:
        assert said["request_id"] == answer.headers["request-id"]


@routes()
def test_a_route_refuses_a_bad_key_and_none(
    contract: Contract, route: str, simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    for variant in contract.variants:
        wire = Wire(simulator, http, contract.prefix, variant)
        if route in contract.keyless:
            check_error(contract, ask(wire, route, {}), 404)  # there is none under this address
            continue
        bad = ask(wire, route, variant.headers(wrong_key()))
        check_error(contract, bad, contract.bad_key)
        keyed = {"authorization", "x-api-key", "x-goog-api-key"}
        none = ask(wire, route, {name: said for name, said in wire.headers.items() if name not in keyed})
        check_error(contract, none, contract.no_key)
        if contract.key_code:
            assert contract.key_code in bad.text


@routes()
def test_a_route_keeps_to_a_rate_and_says_so(
    contract: Contract, route: str, simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    wire = Wire(simulator, http, contract.prefix, contract.variants[0])
    method, _, template = route.partition(" ")
    simulator.faults.arm(Rate(route=f"{method} {contract.prefix}{template}", per_s=1))
    within = ask(wire, route)
    assert within.status_code != 429
    check_head(within, contract.rated)
    assert "retry-after" not in within.headers
    over = ask(wire, route)
    check_error(contract, over, 429)
    check_head(over, {**contract.rated, **contract.limited})
    simulator.advance(1.0)
    assert ask(wire, route).status_code != 429


@routes()
def test_a_route_fails_in_its_providers_words(
    contract: Contract, route: str, simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    wire = Wire(simulator, http, contract.prefix, contract.variants[0])
    method, _, template = route.partition(" ")
    for status in (500, 503, *((529,) if contract.name == "anthropic" else ())):
        simulator.faults.arm(AnswerStatus(route=f"{method} {contract.prefix}{template}", status=status))
        check_error(contract, ask(wire, route), status)


@routes("GET ")
def test_a_route_answers_to_no_other_method(
    contract: Contract, route: str, simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    # That it is 405 is ours; that nothing is there is what the contracts say by not naming it.
    wire = Wire(simulator, http, contract.prefix, contract.variants[0])
    template = route.partition(" ")[2]
    for method in ("HEAD", "PUT", "PATCH"):
        answer = ask(wire, f"{method} {template}")
        assert answer.status_code == 405
        if method != "HEAD":
            assert mismatches(contract.error(405), answer.json()) == []


@EVERY
def test_what_is_no_route_is_refused_in_the_providers_words(
    contract: Contract, simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    for variant in contract.variants:
        wire = Wire(simulator, http, contract.prefix, variant)
        check_error(contract, wire.get("/no/such/route"), 404)
        check_error(contract, wire.post("/v9/nothing"), 404)


def test_anthropic_needs_a_version_that_it_knows(simulator: LoopbackSimulator, http: httpx.Client) -> None:
    (contract,) = (one for one in CONTRACTS if one.name == "anthropic")
    wire = Wire(simulator, http, contract.prefix, contract.variants[0])
    for route in contract.routes():
        for version in ({}, {"anthropic-version": "2020-01-01"}):
            answer = ask(wire, route, {"x-api-key": unique_key(), **version})
            check_error(contract, answer, 400)
            assert "anthropic-version" in answer.json()["error"]["message"]


def test_google_takes_its_key_in_the_query_and_has_three_versions(
    simulator: LoopbackSimulator, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "httpx")  # it tells whole addresses, and here keys stand in them
    caplog.set_level(logging.WARNING, "httpcore")
    (contract,) = (one for one in CONTRACTS if one.name == "google")
    wires = [Wire(simulator, http, contract.prefix, variant) for variant in contract.variants]
    for wire in wires:
        assert wire.send("GET", "/{version}/files", headers={}, params={"key": unique_key()}).status_code == 200
        refused = wire.send("GET", "/{version}/files", headers={}, params={"key": wrong_key()})
        check_error(contract, refused, 400)
        assert refused.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    for version in ("v2", "v1beta1", "V1"):
        check_error(contract, wires[0].get(f"/{version}/files"), 404)
