"""What a provider's contract is made of: cases for its routes, lists with pages, and how it refuses.

The tables (`openai_cases.py` and its like beside this) are written from the wire descriptions, never
from what the simulator does. Whoever adds a route to the simulator adds cases for it to its provider's table: one that
succeeds, one with a body that is refused (for a POST), one with an id that is not there (where its path has one), and a
`Pages` where it is a list. `test_completeness.py` says what is missing; the sweeps in `test_refusals.py` (keys, rates,
outages) then cover the route by themselves.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any, Final

import httpx
import trio
from anyio.from_thread import start_blocking_portal
from msgspec import Struct

from perdure.adapters.server import Bound
from perdure.adapters.simulator import Clock, Simulator
from perdure.adapters.simulator.routes import RoutePattern
from perdure.adapters.testing.loopback import LoopbackSimulator
from tests.conformance.wire.shapes import Shape
from tests.secrets import unique_key

T0: Final = 1_795_000_000.0
"""Where the simulator's clock stands, in seconds since 1970, until a case moves it."""

BATCH_S: Final = 100.0
"""How long a batch takes, in seconds of that clock."""

PATIENCE_S: Final = 20.0
"""How long an answer may take before it counts as none, in real seconds. Nothing waits for that long."""

HOLES: Final = re.compile(r"\{(\w+)\}")


class Variant(Struct, frozen=True):
    """One of the ways in which clients speak to a provider: the headers that carry a key, and a version's name."""

    name: str
    headers: Callable[[str], Mapping[str, str]]
    version: str = ""


class Wire:
    """A plain client of one provider's part of a simulator. `{version}` in a path is the variant's."""

    def __init__(self, simulator: LoopbackSimulator, http: httpx.Client, prefix: str, variant: Variant) -> None:
        self.simulator = simulator
        self.http = http
        self.prefix = prefix
        self.variant = variant
        self.headers = dict(variant.headers(unique_key()))

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """One request with the variant's key, or with `headers` instead of those."""
        address = self.simulator.url + self.prefix + path.replace("{version}", self.variant.version)
        return self.http.request(method, address, headers=self.headers if headers is None else headers, **options)

    def with_headers(self, method: str, path: str, headers: Mapping[str, str], **options: Any) -> httpx.Response:
        """One request with a key and with more headers."""
        return self.send(method, path, headers={**self.headers, **headers}, **options)

    def get(self, path: str, **params: str | int | list[str]) -> httpx.Response:
        """Asks for something."""
        return self.send("GET", path, params=params or None)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Posts something."""
        return self.send("POST", path, **options)

    def delete(self, path: str) -> httpx.Response:
        """Deletes something."""
        return self.send("DELETE", path)

    def make_file(self, provider: str, content: bytes, **said: str) -> str:
        """Makes a file as the provider's hosted tools do; its id."""
        params = {"provider": provider, **said}
        answer = self.http.post(self.simulator.url + "/_sim/files", params=params, content=content)
        return str(ok(answer)["id"])


class Case(Struct, frozen=True):
    """A request and what must come back.

    `route` is the method and the path below the prefix, as the simulator claims it; the request that `call` sends last
    must be one to it. `body`: the JSON that must come, None where none is claimed; an answer from 400 up is an error of
    the provider's form without saying so, and `body` says more about it. `lines`: each of the lines of JSON that must
    come. `content`: what the bytes must be; `begins`: what they must begin with, and there must be more. `head`:
    headers, with patterns.
    """

    route: str
    does: str
    call: Callable[[Wire], httpx.Response]
    status: int = 200
    body: Shape = None
    lines: Shape = None
    content: Shape = None
    begins: bytes | None = None
    media: str = "application/json"
    head: Mapping[str, str] = {}


class Pages(Struct, frozen=True):
    """A list with pages.

    `make` makes one object and gives its id, or `whole` makes a list that has so many objects and gives its path; one
    of the two is there. `newest_first` is the list's order. `page` is the shape of a page and `ids` reads the ids on
    it; `following` gives the parameters that ask for the page behind it, None on the last. `limit` names the parameter
    of a page's size, `usual` is the size without it, `most` the greatest; `none_is_usual`: a size of 0 asks for the
    usual one. `nowhere` are parameters that name no place in the list. `remove` deletes an object; None where the
    provider has no route for that. `params` and `headers` go with every request. `backwards`: the parameter that asks
    for what stands before an object, "" where there is none.
    """

    route: str
    page: Shape
    ids: Callable[[Any], list[str]]
    following: Callable[[Any], Mapping[str, str] | None]
    limit: str
    usual: int
    most: int
    nowhere: Sequence[Mapping[str, str]]
    remove: Callable[[Wire, str], httpx.Response] | None = None
    params: Mapping[str, str] = {}
    newest_first: bool = True
    headers: Mapping[str, str] = {}
    backwards: str = ""
    none_is_usual: bool = False
    make: Callable[[Wire], str] | None = None
    whole: Callable[[Wire, int], str] | None = None


class Contract(Struct, frozen=True):
    """One provider's contract.

    `variants`: all ways of speaking, each of which every case is tried in. `head`: the headers of every answer, with
    patterns; `answered`: those that what stands in front of the routes does not send. `error` is the body of an error
    with a status. `no_key` and `bad_key`: the statuses of those refusals, `key_code` what stands in the second for
    programs. `rated` and `limited`: headers of an answer under a rate, and of one that is over it; `unsaid`: headers
    that must never come. `unknown`: the statuses that say that there is no such object. `bodyless`: routes of POST that
    take no body, `unpaged`: routes whose answers have no pages, `keyless`: routes that need no key, each with the
    reason.
    """

    name: str
    prefix: str
    variants: Sequence[Variant]
    head: Mapping[str, str]
    answered: Mapping[str, str]
    error: Callable[[int], Shape]
    no_key: int
    bad_key: int
    rated: Mapping[str, str]
    limited: Mapping[str, str]
    unsaid: Sequence[str]
    unknown: frozenset[int]
    cases: Sequence[Case]
    pages: Sequence[Pages]
    bodyless: Mapping[str, str]
    unpaged: Mapping[str, str]
    key_code: str = ""
    keyless: Mapping[str, str] = {}

    def routes(self) -> list[str]:
        """All routes that have a case."""
        return sorted({case.route for case in self.cases})


def ok(answer: httpx.Response) -> Any:
    """The JSON of an answer that must be 200."""
    assert answer.status_code == 200, answer.text
    return answer.json()


def given(call: Callable[..., httpx.Response], /, *args: object, **options: object) -> Callable[[Wire], httpx.Response]:
    """`call` with its arguments, for a case that is one of many."""
    return lambda wire: call(wire, *args, **options)


def route_of(method: str, path: str, routes: Sequence[tuple[str, str]]) -> str:
    """The route that a request is for, as `METHOD /template`: of those that fit the one with the least holes in it."""
    fitting = [
        f"{verb} {template}" for verb, template in routes if RoutePattern(f"{verb} {template}").matches(method, path)
    ]
    return max(fitting, key=lambda route: len(HOLES.sub("", route)), default="")


@cache
def claimed() -> list[tuple[str, str]]:
    """What the simulator says that it serves for providers: method, and path with `{name}` for what varies."""
    with Simulator() as simulator:
        return [(method, path) for method, path in simulator.routes() if not path.startswith("/_sim/")]


def claimed_by(contract: Contract) -> list[tuple[str, str]]:
    """Those of them that are the provider's."""
    return [(method, path) for method, path in claimed() if path.startswith(contract.prefix + "/")]


@contextmanager
def served() -> Generator[LoopbackSimulator]:
    """A simulator on a port, whose clock stands still until it is advanced."""
    clock = Clock(lambda: T0)
    with (
        start_blocking_portal("trio") as portal,
        Simulator(batch_s=BATCH_S, clock=clock) as simulator,
        portal.wrap_async_context_manager(_serving(simulator)) as bound,
    ):
        yield LoopbackSimulator(portal, simulator, bound.url)


@asynccontextmanager
async def _serving(simulator: Simulator) -> AsyncGenerator[Bound]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(simulator.serve)
        nursery.cancel_scope.cancel()
