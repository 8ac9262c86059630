"""The control routes: strict bodies, the account, the clock; and a simulator used without a port."""

from __future__ import annotations

import httpx
import pytest

from perdure.adapters.simulator import Clock, Dropped, Simulator
from perdure.adapters.simulator.faults import Drop, Rate
from tests.adapters.simulator.bench import OPENAI_PREFIX, T0, bench, key, prompts, still
from tests.secrets import unique_key

pytestmark = pytest.mark.trio

ROUTE = f"POST {OPENAI_PREFIX}/batches"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "fault"),
        ({"fault": "explode"}, "explode"),
        ({"fault": "drop"}, "route"),
        ({"fault": "drop", "route": ROUTE, "often": 2}, "often"),
        ({"fault": "drop", "route": ROUTE, "count": 0}, "count"),
        ({"fault": "drop", "route": ROUTE, "count": "2"}, "count"),
        ({"fault": "drop", "route": "POST batches"}, "route"),
        ({"fault": "drop", "route": "POST /openai/v1/batchs"}, "batchs"),
        ({"fault": "status", "route": ROUTE, "status": 42}, "status"),
        ({"fault": "delay", "route": ROUTE, "delay_s": -1}, "delay_s"),
        ({"fault": "rate", "route": ROUTE, "per_s": 0}, "per_s"),
        ({"fault": "stuck", "status": "completed"}, "status"),
        ({"fault": "missing", "lines": 0}, "lines"),
        ({"fault": "expire_now", "done": 1.5}, "done"),
        ({"fault": "unlisted", "for_s": 1, "batch": "batch_1"}, "batch"),
        ([{"fault": "stuck"}, {"fault": "drop", "route": "GET /nothing"}], "nothing"),
    ],
)
async def test_a_wrong_fault_is_refused_by_the_name_of_what_is_wrong(body: object, names: str) -> None:
    async with bench() as b:
        answer = await b.http.post("/_sim/faults", json=body)
        assert answer.status_code == 400
        assert names in answer.json()["error"]["message"]
        assert (await b.control("GET", "/faults"))["armed"] == []


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "/faults", b"{"),
        ("POST", "/clock", b'{"advance_s": -1}'),
        ("POST", "/clock", b'{"advance": 1}'),
        ("POST", "/release", b'{"id": "hold-99"}'),
        ("POST", "/release", b"\xff"),
        ("GET", "/purchases?kind=bread", b""),
        ("GET", "/requests?route=everything", b""),
        ("GET", "/held?wait=yes", b""),
        ("GET", "/held?wait=1&timeout_s=soon", b""),
    ],
)
async def test_a_wrong_control_request_is_refused(method: str, path: str, content: bytes) -> None:
    async with bench() as b:
        answer = await b.http.request(method, "/_sim" + path, content=content)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


async def test_the_account_can_be_asked_for_one_kind() -> None:
    async with bench() as b:
        made = await b.batch(prompts(3), metadata={"perdure_identity": "log-1"})
        everything = (await b.control("GET", "/purchases"))["purchases"]
        assert [purchase["kind"] for purchase in everything] == ["file", "batch"]
        (batch,) = (await b.control("GET", "/purchases", params={"kind": "batch"}))["purchases"]
        assert set(batch) == {"provider", "kind", "id", "identity", "units", "at", "payload"}
        assert (batch["id"], batch["identity"], batch["units"], batch["at"]) == (made["id"], "log-1", 3, T0)
        assert (await b.control("GET", "/purchases", params={"provider": "xai"}))["purchases"] == []


async def test_the_clock_is_shown_and_moved() -> None:
    async with bench() as b:
        assert await b.control("GET", "/clock") == {"now": T0, "advanced_s": 0.0}
        assert await b.control("POST", "/clock", json={"advance_s": 90.5}) == {"now": T0 + 90.5, "advanced_s": 90.5}
        assert (await b.upload(b"{}\n"))["created_at"] == int(T0 + 90.5)


async def test_the_clock_never_goes_back() -> None:
    times = iter([10.0, 5.0, 11.0])
    clock = Clock(lambda: next(times))
    assert [clock.now(), clock.now(), clock.now()] == [10.0, 10.0, 11.0]
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1.0)


async def test_control_needs_no_key_and_is_struck_by_no_fault() -> None:
    async with bench() as b:
        del b.http.headers["authorization"]
        await b.arm("drop", route="* /openai/**", count=None)
        assert len((await b.control("GET", "/faults"))["armed"]) == 1
        assert (await b.control("GET", "/requests"))["requests"] == []


async def test_a_simulator_can_be_used_without_a_port() -> None:
    with Simulator(clock=still()) as simulator:
        transport = httpx.ASGITransport(simulator.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://simulator", headers=key(unique_key())
        ) as http:
            simulator.faults.arm(Drop(route="GET /openai/v1/models"), Rate(route="POST /openai/**", per_s=1))
            with pytest.raises(Dropped):
                await http.get("/openai/v1/models")
            codes = [
                (await http.post("/openai/v1/responses", json={"model": "m", "input": "x"})).status_code
                for _ in range(2)
            ]
            assert codes == [200, 429]
        assert [purchase.kind for purchase in simulator.account.purchases()] == ["text"]
        assert [seen.end for seen in simulator.traffic.requests()] == ["dropped", "answered", "answered"]
