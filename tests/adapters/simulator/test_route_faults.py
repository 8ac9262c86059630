"""Faults on routes: each of them, seen from the client and on the account."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
import trio

from tests.adapters.simulator.bench import OPENAI_PREFIX, RESPONSES, Bench, bench, prompts
from tests.secrets import assert_no_key, unique_key

pytestmark = pytest.mark.trio

FILES = f"POST {OPENAI_PREFIX}/files"
BATCHES = f"POST {OPENAI_PREFIX}/batches"
CONTENT = f"GET {OPENAI_PREFIX}/files/*/content"
CALL = f"POST {OPENAI_PREFIX}/responses"
ASKED = {"model": "m", "input": "x"}


async def ends(b: Bench) -> list[tuple[int | None, str, str | None]]:
    """How each request ended: status, end, fault."""
    seen = (await b.control("GET", "/requests"))["requests"]
    return [(one["status"], one["end"], one["fault"]) for one in seen]


async def test_a_status_comes_with_its_headers_and_body_and_nothing_is_done() -> None:
    async with bench() as b:
        await b.arm("status", route=CALL, status=429, headers={"Retry-After": "7"}, body={"error": {"code": "slow"}})
        answer = await b.call("POST", "/responses", json=ASKED)
        assert (answer.status_code, answer.json()) == (429, {"error": {"code": "slow"}})
        assert answer.headers["retry-after"] == "7"
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]
        assert b.simulator.account.purchases() == []
        await b.ok("POST", "/responses", json=ASKED)
        assert await ends(b) == [(429, "answered", "status"), (200, "answered", None)]


@pytest.mark.parametrize(
    ("status", "type_"), [(429, "rate_limit_exceeded"), (503, "server_error"), (400, "invalid_request_error")]
)
async def test_a_status_without_a_body_has_the_providers_own(status: int, type_: str) -> None:
    async with bench() as b:
        await b.arm("status", route=CALL, status=status)
        assert (await b.error(status, "POST", "/responses", json=ASKED))["type"] == type_


async def test_a_status_may_come_after_acting_and_be_text() -> None:
    async with bench() as b:
        await b.arm("status", route=CALL, status=502, body="<h1>bad gateway</h1>", act=True)
        answer = await b.call("POST", "/responses", json=ASKED)
        assert (answer.status_code, answer.text) == (502, "<h1>bad gateway</h1>")
        assert answer.headers["content-type"].startswith("text/plain")
        assert b.units("text") == [1]


async def test_a_burst_strikes_as_often_as_it_says_after_letting_some_pass() -> None:
    async with bench() as b:
        await b.arm("status", route=CALL, status=500, count=3, skip=1)
        codes = [(await b.call("POST", "/responses", json=ASKED)).status_code for _ in range(6)]
        assert codes == [200, 500, 500, 500, 200, 200]


async def test_a_fault_without_a_count_strikes_until_it_is_cleared() -> None:
    async with bench() as b:
        await b.arm("status", route=f"* {OPENAI_PREFIX}/**", status=500, count=None)
        for _ in range(3):
            assert (await b.call("GET", "/models")).status_code == 500
        (armed,) = (await b.control("GET", "/faults"))["armed"]
        assert (armed["left"], armed["struck"]) == (None, 3)
        assert await b.control("DELETE", "/faults") == {"armed": []}
        assert (await b.call("GET", "/models")).status_code == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpx leaves its body unclosed
async def test_a_request_is_cut_in_the_middle_of_its_body_and_what_came_is_told() -> None:
    async with bench() as b:
        await b.arm("cut_request", route=CALL, after_bytes=100_000)
        with pytest.raises(httpx.TransportError):
            await b.call("POST", "/responses", content=b"x" * 200_000)
        assert b.simulator.account.purchases() == []
        (seen,) = b.simulator.traffic.requests()
        assert (seen.status, seen.end, seen.fault) == (None, "dropped", "cut_request")
        assert 100_000 <= seen.body_bytes <= 200_000
        await b.ok("POST", "/responses", json=ASKED)


async def test_a_dropped_request_is_not_done_and_gets_no_byte() -> None:
    async with bench() as b:
        file = await b.upload(prompts(1))
        await b.arm("drop", route=BATCHES)
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await b.create_batch(file["id"])
        assert b.units("batch") == []
        assert (await ends(b))[-1] == (None, "dropped", "drop")


async def test_act_then_drop_buys_and_gives_no_byte() -> None:
    async with bench() as b:
        file = await b.upload(prompts(4))
        await b.arm("act_then_drop", route=BATCHES)
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await b.create_batch(file["id"], metadata={"perdure_identity": "log-1"})
        assert b.units("batch") == [4]
        found = await b.ok("GET", "/batches")
        assert [batch["metadata"] for batch in found["data"]] == [{"perdure_identity": "log-1"}]


async def test_a_large_upload_can_be_dropped_whole() -> None:
    async with bench() as b:
        await b.arm("drop", route=FILES)
        with pytest.raises(httpx.RemoteProtocolError):
            await b.upload(b"x" * 3_000_000)
        await b.arm("act_then_drop", route=FILES)
        with pytest.raises(httpx.RemoteProtocolError):
            await b.upload(b"x" * 3_000_000)
        assert b.units("file") == [1]


async def test_a_held_answer_is_kept_back_until_it_is_released() -> None:
    async with bench() as b:
        file = await b.upload(prompts(2))
        await b.arm("hold", route=BATCHES)
        made: list[Any] = []

        async def create() -> None:
            made.append(await b.create_batch(file["id"]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(create)
            (held,) = (await b.control("GET", "/held", params={"wait": "1"}))["held"]
            assert (held["method"], held["path"], held["acted"]) == ("POST", f"{OPENAI_PREFIX}/batches", True)
            assert b.units("batch") == [2]
            assert made == []
            released = await b.control("POST", "/release", json={"id": held["id"]})
            assert released == {"released": [held]}
        assert made[0]["status"] == "validating"
        assert (await b.control("GET", "/held")) == {"held": []}
        assert (await ends(b))[-1] == (200, "answered", "hold")


async def test_a_request_can_be_held_before_it_acts() -> None:
    async with bench() as b:
        await b.arm("hold", route=CALL, act=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.call_ok, "POST", "/responses", ASKED)
            await b.control("GET", "/held", params={"wait": "1"})
            assert b.units("text") == []
            await b.control("POST", "/release")
        assert b.units("text") == [1]


async def test_a_client_that_leaves_while_it_is_held_is_held_no_longer() -> None:
    async with bench() as b:
        await b.arm("hold", route=CALL)
        with trio.CancelScope() as leaving:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(b.call_ok, "POST", "/responses", ASKED)
                await b.simulator.holds.wait_held()
                leaving.cancel()
        while (await ends(b))[-1] != (None, "left", "hold"):
            await trio.lowlevel.checkpoint()
        assert b.simulator.holds.held() == []
        assert b.units("text") == [1]


async def test_waiting_for_a_hold_ends_when_it_is_told_to() -> None:
    async with bench() as b:
        assert await b.control("GET", "/held", params={"wait": "2", "timeout_s": "0.01"}) == {"held": []}


async def test_a_truncated_answer_breaks_its_content_length() -> None:
    async with bench() as b:
        batch, _, _ = await b.finished(prompts(50))
        await b.arm("truncate", route=CONTENT, after_bytes=1000)
        with pytest.raises(httpx.RemoteProtocolError, match="received 1000 bytes"):
            await b.call("GET", f"/files/{batch['output_file_id']}/content")
        assert (await ends(b))[-1] == (200, "dropped", "truncate")


async def test_a_clean_truncation_is_one_that_http_cannot_tell() -> None:
    async with bench() as b:
        batch, _, _ = await b.finished(prompts(50))
        path = f"/files/{batch['output_file_id']}/content"
        whole = (await b.call("GET", path)).content
        await b.arm("truncate", route=CONTENT, after_bytes=1000, clean=True)
        assert (await b.call("GET", path)).content == whole[:1000]
        await b.arm("truncate", route=CONTENT, after_bytes=10_000_000, clean=True)
        assert (await b.call("GET", path)).content == whole


async def test_a_silent_truncation_lies_open_until_it_is_released() -> None:
    async with bench() as b:
        await b.arm("truncate", route=CALL, after_bytes=10, silent=True)
        outcome: list[str] = []

        async def call() -> None:
            try:
                await b.call("POST", "/responses", json=ASKED)
            except httpx.RemoteProtocolError as error:
                outcome.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await b.control("GET", "/held", params={"wait": "1"})
            assert outcome == []
            await b.control("POST", "/release")
        assert "received 10 bytes" in outcome[0]


async def test_a_wrong_content_type_may_come_with_a_wrong_body() -> None:
    async with bench() as b:
        await b.arm("wrong_content_type", route=CALL)
        answer = await b.call("POST", "/responses", json=ASKED)
        assert answer.headers["content-type"] == "text/html"
        assert answer.json()["object"] == "response"
        await b.arm("wrong_content_type", route=CALL, content_type="text/plain", body="try later")
        answer = await b.call("POST", "/responses", json=ASKED)
        assert (answer.headers["content-type"], answer.text) == ("text/plain", "try later")
        assert b.units("text") == [1, 1]


async def test_a_delay_waits_before_it_acts() -> None:
    async with bench() as b:
        await b.arm("delay", route=CALL, delay_s=0.05)
        began_at = trio.current_time()
        await b.ok("POST", "/responses", json=ASKED)
        assert trio.current_time() - began_at >= 0.05


async def test_a_rate_refuses_what_is_over_it_and_says_when_to_come_back() -> None:
    async with bench() as b:
        await b.arm("rate", route=CALL, per_s=2)
        answers = [await b.call("POST", "/responses", json=ASKED) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0", "0"]
        assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
        assert answers[0].headers["x-ratelimit-reset-requests"] == "1000ms"
        assert "retry-after" not in answers[0].headers
        assert (answers[2].headers["retry-after"], answers[2].headers["retry-after-ms"]) == ("1", "1000")
        assert answers[2].json()["error"]["type"] == "rate_limit_exceeded"
        b.simulator.clock.advance(0.5)
        late = await b.call("POST", "/responses", json=ASKED)
        assert (late.status_code, late.headers["retry-after-ms"]) == (429, "500")
        b.simulator.clock.advance(0.5)
        assert (await b.call("POST", "/responses", json=ASKED)).status_code == 200
        assert (await b.call("GET", "/models")).status_code == 200
        assert b.units("text") == [1, 1, 1]


async def test_what_was_seen_in_any_second_can_be_asked_for() -> None:
    async with bench() as b:
        for pause_s in (0.0, 0.4, 0.4, 0.4, 3.0):
            b.simulator.clock.advance(pause_s)
            await b.call("POST", "/responses", json=ASKED)
        await b.call("GET", "/models")
        seen = await b.control("GET", "/requests", params={"route": CALL})
        assert (len(seen["requests"]), seen["peak_per_s"], seen["total"]) == (5, 3, 6)


async def test_two_faults_strike_in_the_order_in_which_they_were_armed() -> None:
    async with bench() as b:
        await b.control(
            "POST",
            "/faults",
            json=[
                {"fault": "status", "route": CALL, "status": 500},
                {"fault": "status", "route": CALL, "status": 503},
            ],
        )
        codes = [(await b.call("POST", "/responses", json=ASKED)).status_code for _ in range(3)]
        assert codes == [500, 503, 200]


async def test_a_fault_can_be_for_one_object() -> None:
    async with bench() as b:
        one, two = [(await b.batch(prompts(1)))["id"] for _ in range(2)]
        await b.arm("status", route=f"GET {OPENAI_PREFIX}/batches/{one}", status=404)
        assert (await b.call("GET", f"/batches/{two}")).status_code == 200
        assert (await b.call("GET", f"/batches/{one}")).status_code == 404


async def test_secrets_are_in_nothing_that_was_seen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "httpx")  # this test's own client logs the address that it was given
    async with bench() as b:
        await b.call("GET", "/files", params={"api_key": unique_key()}, headers={"x-api-key": unique_key()})
        answer = await b.http.get("/_sim/requests")
        assert_no_key("the requests", answer.content)
        assert answer.json()["requests"][0]["headers"]["authorization"] == "[redacted]"
        assert RESPONSES not in answer.text
