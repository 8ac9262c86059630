"""The control routes, under `/_sim`: the account, what was seen, faults, holds, the clock.

They need no key and are never struck by a fault. Bodies are decoded strictly; what is wrong with one is answered with
400 and `{"error": {"message": …}}` that names the field.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, TypeAlias, TypeVar, cast

import trio
from msgspec import DecodeError, Meta, Struct, ValidationError, json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import PURCHASE_KINDS, Purchase, read_purchases
from perdure.adapters.simulator.batching import CannotAfflict, SimulatedBatches
from perdure.adapters.simulator.faults import (
    Armed,
    BatchFault,
    ExpireFile,
    Fault,
    Faults,
    Unlisted,
    Unseen,
    arranger,
    tag_of,
)
from perdure.adapters.simulator.filestore import FileStore
from perdure.adapters.simulator.holds import Held, Holds
from perdure.adapters.simulator.media.faults import AnyMediaFault, MediaFault, mishap_arranger
from perdure.adapters.simulator.media.operations import CannotAfflict as CannotAfflictOperation
from perdure.adapters.simulator.media.operations import SimulatedOperations
from perdure.adapters.simulator.routes import RoutePattern
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.traffic import Seen, Traffic, peak_per_s
from perdure.adapters.simulator.world import World

T = TypeVar("T")

MAX_WAIT_S: Final = 600.0
"""How long `GET /_sim/held?wait=1` waits at most, in seconds."""

CLOCK_NUMBER: Final = "clock_offset_s"
"""The name under which the storage keeps how far the clock was advanced."""


class Purchases(Struct, frozen=True):
    """The account."""

    purchases: list[Purchase]


class Requests(Struct, frozen=True):
    """What was seen. `total` counts what is forgotten too; `peak_per_s` is of those listed."""

    requests: list[Seen]
    total: int
    peak_per_s: int


class ArmedList(Struct, frozen=True):
    """What is armed."""

    armed: list[Armed]


class HeldList(Struct, frozen=True):
    """What is held."""

    held: list[Held]


class ReleasedList(Struct, frozen=True):
    """What was released."""

    released: list[Held]


class Now(Struct, frozen=True):
    """The simulator's clock: seconds since 1970, and how far it was advanced."""

    now: float
    advanced_s: float


class _Advance(Struct, frozen=True, forbid_unknown_fields=True):
    advance_s: Annotated[float, Meta(ge=0, le=10 * 365 * 86_400)]


class _Release(Struct, frozen=True, forbid_unknown_fields=True):
    id: str | None = None


class _ControlError(Struct, frozen=True):
    message: str


class _ControlAnswer(Struct, frozen=True):
    error: _ControlError


_Told: TypeAlias = Fault | ExpireFile


class Wrong(Exception):
    """A control request is wrong; the message says how."""


class Control:
    """The control routes of one simulator."""

    def __init__(
        self,
        world: World,
        *,
        faults: Faults,
        holds: Holds,
        traffic: Traffic,
        batches: Sequence[SimulatedBatches],
        files: Sequence[FileStore],
        operations: Sequence[SimulatedOperations],
    ) -> None:
        self._world = world
        self._faults = faults
        self._holds = holds
        self._traffic = traffic
        self._batches = batches
        self._files = files
        self._operations = operations

    def routes(self) -> list[Route]:
        """The routes."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[object]]]] = [
            ("GET", "/_sim/purchases", self._purchases),
            ("GET", "/_sim/requests", self._requests),
            ("GET", "/_sim/faults", self._list_faults),
            ("POST", "/_sim/faults", self._arm),
            ("DELETE", "/_sim/faults", self._clear),
            ("GET", "/_sim/held", self._held),
            ("POST", "/_sim/release", self._release),
            ("GET", "/_sim/clock", self._clock),
            ("POST", "/_sim/clock", self._advance),
        ]
        return [Route(path, _answering(handler), methods=[method]) for method, path, handler in table]

    async def _purchases(self, request: Request) -> Purchases:
        kind = request.query_params.get("kind")
        if kind is not None and kind not in PURCHASE_KINDS:
            raise Wrong(f"'kind' is one of {', '.join(PURCHASE_KINDS)}, not {kind!r}")
        provider = request.query_params.get("provider")
        return Purchases(
            await self._world.storage.run(lambda tables: read_purchases(tables, kind=kind, provider=provider))
        )

    async def _requests(self, request: Request) -> Requests:
        text = request.query_params.get("route")
        try:
            route = None if text is None else RoutePattern(text)
        except ValueError as error:
            raise Wrong(f"'route': {error}") from error
        seen = self._traffic.requests(route)
        return Requests(seen, self._traffic.total, peak_per_s(seen))

    async def _list_faults(self, request: Request) -> ArmedList:
        return ArmedList(self._faults.armed())

    async def _arm(self, request: Request) -> ArmedList:
        given = await _decode(request, cast("type[_Told | list[_Told]]", _Told | list[_Told]))
        faults = given if isinstance(given, list) else [given]
        waiting: list[Fault] = []
        for fault in faults:
            if isinstance(fault, ExpireFile):
                continue
            if isinstance(fault, BatchFault) and fault.batch:
                if isinstance(fault, Unlisted | Unseen):
                    raise Wrong(f"'batch': this one exists, so it was seen; arm '{tag_of(fault)}' before it is made")
                continue
            if isinstance(fault, MediaFault) and fault.operation:
                continue
            waiting.append(fault)
        try:
            armed = self._faults.arm(*waiting)
        except ValueError as error:
            raise Wrong(f"'route': {error}") from error
        for fault in faults:
            if isinstance(fault, ExpireFile):
                await self._expire(fault.file)
            elif isinstance(fault, BatchFault) and fault.batch:
                await self._afflict(fault.batch, fault)
            elif isinstance(fault, MediaFault) and fault.operation:
                await self._afflict_operation(fault.operation, fault)
        return ArmedList(armed)

    async def _afflict(self, batch: str, fault: Any) -> None:
        for batches in self._batches:
            try:
                if await batches.afflict(batch, arranger(fault)):
                    return
            except CannotAfflict as error:
                raise Wrong(f"'batch': {error}") from error
        raise Wrong(f"'batch': there is no batch {batch!r}")

    async def _afflict_operation(self, id_: str, fault: AnyMediaFault) -> None:
        for operations in self._operations:
            try:
                if await operations.afflict(id_, mishap_arranger(fault)):
                    return
            except CannotAfflictOperation as error:
                raise Wrong(f"'operation': {error}") from error
        raise Wrong(f"'operation': there is no operation {id_!r}")

    async def _expire(self, file: str) -> None:
        def expire(tables: Tables) -> bool:
            return any(store.expire(tables, file) for store in self._files)

        if not await self._world.storage.run(expire):
            raise Wrong(f"'file': there is no file {file!r}")

    async def _clear(self, request: Request) -> ArmedList:
        self._faults.clear()
        return ArmedList([])

    async def _held(self, request: Request) -> HeldList:
        wait = request.query_params.get("wait", "0")
        if wait in ("0", "false"):
            return HeldList(self._holds.held())
        if not wait.isdecimal():
            raise Wrong(f"'wait' is how many held requests to wait for, not {wait!r}")
        try:
            timeout_s = min(float(request.query_params.get("timeout_s", MAX_WAIT_S)), MAX_WAIT_S)
        except ValueError as error:
            raise Wrong(f"'timeout_s' is a number of seconds: {error}") from error
        with trio.move_on_after(max(timeout_s, 0.0)):
            return HeldList(await self._holds.wait_held(int(wait)))
        return HeldList(self._holds.held())

    async def _release(self, request: Request) -> ReleasedList:
        asked = await _decode(request, _Release)
        released = self._holds.release(asked.id)
        if asked.id is not None and not released:
            raise Wrong(f"'id': no held request is called {asked.id!r}")
        return ReleasedList(released)

    async def _clock(self, request: Request) -> Now:
        return Now(self._world.clock.now(), self._world.clock.offset_s)

    async def _advance(self, request: Request) -> Now:
        asked = await _decode(request, _Advance)
        self._world.clock.advance(asked.advance_s)
        offset_s = self._world.clock.offset_s

        def keep(tables: Tables) -> None:
            tables.set_number(CLOCK_NUMBER, offset_s)

        await self._world.storage.run(keep)
        return Now(self._world.clock.now(), offset_s)


def _answering(handler: Callable[[Request], Awaitable[object]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            value, status = await handler(request), 200
        except Wrong as error:
            value, status = _ControlAnswer(_ControlError(str(error))), 400
        return Response(json.encode(value), status, media_type="application/json")

    return answer


async def _decode(request: Request, type_: type[T]) -> T:
    body = await request.body() or b"{}"
    try:
        return json.decode(body, type=type_)
    except (ValidationError, DecodeError, UnicodeDecodeError) as error:
        raise Wrong(f"the body is wrong: {error}") from error
