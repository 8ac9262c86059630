"""Lists show everything once, in their order, over as many pages as it takes, and refuse what is no page of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from perdure.adapters.testing.loopback import LoopbackSimulator
from tests.conformance.wire.contract import Contract, Pages, Variant, Wire, ok
from tests.conformance.wire.rig import CONTRACTS
from tests.conformance.wire.shapes import mismatches

MANY = 40
"""A usual size up to this is tried out; beyond it only the refusals show it."""


def lists(wanted: Callable[[Pages], object] = lambda pages: True) -> pytest.MarkDecorator:
    """A test of every list, or of those that are wanted."""
    walked = [
        pytest.param(contract, pages, id=f"{contract.name}-{pages.route}-{n}")
        for contract in CONTRACTS
        for n, pages in enumerate(contract.pages)
        if wanted(pages)
    ]
    return pytest.mark.parametrize(("contract", "pages"), walked)


class Walk:
    """A list on the wire: `path` is where it is, `ids` what is in it, in its order."""

    def __init__(self, wire: Wire, pages: Pages, path: str, ids: list[str]) -> None:
        self.wire = wire
        self.pages = pages
        self.path = path
        self.ids = ids

    def ask(self, **params: str) -> httpx.Response:
        """Asks for a page."""
        asked = {**self.pages.params, **params}
        return self.wire.with_headers("GET", self.path, self.pages.headers, params=asked)

    def page(self, **params: str) -> Any:
        """A page, whose shape is right."""
        shown = ok(self.ask(**params))
        assert mismatches(self.pages.page, shown) == []
        return shown

    def follow(self, page: Any, size: int) -> list[list[str]]:
        """The ids on a page and on all behind it."""
        walked = [self.pages.ids(page)]
        while (following := self.pages.following(page)) is not None:
            assert len(walked) < 2 * len(self.ids) + 2, "the list has no end"
            page = self.page(**{self.pages.limit: str(size), **following})
            walked.append(self.pages.ids(page))
        return walked

    def walk(self, size: int) -> list[list[str]]:
        """The ids on all pages of a size."""
        return self.follow(self.page(**{self.pages.limit: str(size)}), size)


def walk_over(contract: Contract, pages: Pages, count: int, simulator: LoopbackSimulator, http: httpx.Client) -> Walk:
    """A list of so many objects."""
    variant: Variant = contract.variants[0]
    wire = Wire(simulator, http, contract.prefix, variant)
    if pages.whole is not None:
        return Walk(wire, pages, pages.whole(wire, count), [str(n) for n in range(count)])
    assert pages.make is not None, "a list has `make` or `whole`"
    made = [pages.make(wire) for _ in range(count)]
    path = pages.route.partition(" ")[2]
    return Walk(wire, pages, path, made[::-1] if pages.newest_first else made)


@lists()
def test_a_list_is_walked_page_by_page(
    contract: Contract, pages: Pages, fresh_simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    over = walk_over(contract, pages, 5, fresh_simulator, http)
    ids = over.ids
    assert over.walk(2) == [ids[:2], ids[2:4], ids[4:]]
    assert over.walk(1) == [[one] for one in ids]
    assert over.walk(5) == [ids], "a full last page is the last one"
    assert over.walk(4) == [ids[:4], ids[4:]]
    most = pages.most
    assert over.walk(most) == [ids]
    assert over.follow(over.page(), most) == [ids], "without a size the usual one is meant"


@lists()
def test_a_list_refuses_sizes_and_places_that_it_does_not_have(
    contract: Contract, pages: Pages, fresh_simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    # That a size out of bounds is refused and not bent is ours: the contracts give the bounds alone.
    over = walk_over(contract, pages, 1, fresh_simulator, http)
    below = [] if pages.none_is_usual else ["0"]
    wrong = [{pages.limit: size} for size in (*below, "-1", str(pages.most + 1), "many")]
    for params in (*wrong, *pages.nowhere):
        answer = over.ask(**params)
        assert answer.status_code == 400, (params, answer.text)
        assert mismatches(contract.error(400), answer.json()) == []
    if pages.none_is_usual:
        assert pages.ids(over.page(**{pages.limit: "0"})) == over.ids


@lists(lambda pages: pages.usual <= MANY)
def test_a_page_has_the_usual_size_unless_another_is_asked_for(
    contract: Contract, pages: Pages, fresh_simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    over = walk_over(contract, pages, pages.usual + 1, fresh_simulator, http)
    first = over.page()
    assert pages.ids(first) == over.ids[: pages.usual]
    following = pages.following(first)
    assert following is not None
    assert pages.ids(over.page(**following)) == over.ids[pages.usual :]


@lists(lambda pages: pages.make)
def test_a_list_with_nothing_in_it_is_one_empty_page(
    contract: Contract, pages: Pages, fresh_simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    assert walk_over(contract, pages, 0, fresh_simulator, http).walk(2) == [[]]


@lists()
def test_what_comes_or_goes_between_pages_moves_nothing_else(
    contract: Contract, pages: Pages, fresh_simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    # Ours: no contract says what becomes of a place whose object is deleted. Whoever pages and deletes needs it.
    over = walk_over(contract, pages, 5, fresh_simulator, http)
    first = over.page(**{pages.limit: "2"})
    assert pages.ids(first) == over.ids[:2]
    rest = over.ids[2:]
    if pages.make is not None:
        late = pages.make(over.wire)
        rest += [] if pages.newest_first else [late]
    if pages.remove is not None:
        assert pages.remove(over.wire, over.ids[1]).status_code == 200
    assert [one for page in over.follow(first, 2)[1:] for one in page] == rest


@lists(lambda pages: pages.backwards)
def test_a_list_is_walked_backwards(
    contract: Contract, pages: Pages, fresh_simulator: LoopbackSimulator, http: httpx.Client
) -> None:
    over = walk_over(contract, pages, 5, fresh_simulator, http)
    size = {pages.limit: "2"}
    page = over.page(**{pages.backwards: over.ids[4], **size})
    assert (pages.ids(page), page["has_more"]) == (over.ids[2:4], True)
    page = over.page(**{pages.backwards: over.ids[2], **size})
    assert (pages.ids(page), page["has_more"]) == (over.ids[:2], False)
    page = over.page(**{pages.backwards: over.ids[0], **size})
    assert (pages.ids(page), page["has_more"]) == ([], False)
    refused = over.ask(**{pages.backwards: over.ids[0], "after_id": over.ids[1]})
    assert refused.status_code == 400
