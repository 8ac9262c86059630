"""Every route that the simulator serves has its contract, and every contract its route.

Who adds a route and no cases for it is told here what is missing; see `contract.py`.
"""

from __future__ import annotations

import pytest

from tests.conformance.wire.contract import HOLES, Contract, claimed, claimed_by
from tests.conformance.wire.rig import CONTRACTS

EVERY = pytest.mark.parametrize("contract", CONTRACTS, ids=[contract.name for contract in CONTRACTS])


def served_by(contract: Contract) -> set[str]:
    """The routes that the simulator serves, as cases name them."""
    return {f"{method} {path.removeprefix(contract.prefix)}" for method, path in claimed_by(contract)}


def with_status(contract: Contract, *statuses: int) -> set[str]:
    """The routes that have a case with one of these statuses."""
    return {case.route for case in contract.cases if case.status in statuses}


def test_every_provider_has_a_contract() -> None:
    prefixes = tuple(contract.prefix + "/" for contract in CONTRACTS)
    assert [path for _, path in claimed() if not path.startswith(prefixes)] == []


def test_no_route_is_claimed_twice_and_none_for_heads() -> None:
    assert len(set(claimed())) == len(claimed())
    assert {method for method, _ in claimed()} <= {"GET", "POST", "DELETE", "PATCH", "PUT"}


@EVERY
def test_every_route_is_shown_to_succeed_and_every_case_has_a_route(contract: Contract) -> None:
    assert with_status(contract, 200, 202, 206) == served_by(contract)
    assert {case.route for case in contract.cases} == served_by(contract)


@EVERY
def test_every_route_that_takes_a_body_is_shown_to_refuse_a_bad_one(contract: Contract) -> None:
    posts = {route for route in served_by(contract) if route.startswith(("POST ", "PUT ", "PATCH "))}
    assert set(contract.bodyless) <= posts
    assert posts - set(contract.bodyless) - with_status(contract, 400) == set()


@EVERY
def test_every_route_of_one_object_is_shown_not_to_know_another(contract: Contract) -> None:
    named = {route for route in served_by(contract) if set(HOLES.findall(route)) - {"version"}}
    assert named - with_status(contract, *contract.unknown) == set()


@EVERY
def test_every_list_is_shown_to_have_pages(contract: Contract) -> None:
    lists = {route for route in served_by(contract) if route.startswith("GET ") and not route.endswith("}")}
    paged = {pages.route for pages in contract.pages}
    assert paged | set(contract.unpaged) == lists
    assert paged & set(contract.unpaged) == set()


@EVERY
def test_no_two_cases_have_one_name(contract: Contract) -> None:
    names = [(case.route, case.does) for case in contract.cases]
    assert len(set(names)) == len(names)
