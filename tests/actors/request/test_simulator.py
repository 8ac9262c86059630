"""Live requests against the simulator over real sockets: all that a provider does wrong, and an exact account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import pytest

import perdure
from perdure.actors.request import state as pure
from perdure.actors.request.state import RequestState
from perdure.actors.request.views import RequestHandle
from perdure.adapters.simulator import faults
from perdure.events.errors import OperationCancelled, OperationFailed, OutcomeUncertain
from perdure.events.purchase import OnUncertain
from tests.actors.provider_rig import VARIABLE, Rig, rigged
from tests.secrets import wrong_key

pytestmark = pytest.mark.trio

RESPONSES = "/v1/responses"
ASK = "POST /openai/v1/responses"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in doubt is asked again at once: time is real here."""
    monkeypatch.setattr(pure, "RESUBMIT_WAITS_US", (1_000, 1_000, 1_000))


async def submit(
    service: perdure.Service,
    *,
    endpoint: str = RESPONSES,
    on_uncertain: OnUncertain = "resubmit",
    fields: Mapping[str, object] | None = None,
) -> RequestHandle:
    """One request with a small body."""
    request = perdure.RawRequest(endpoint, {"model": "m", "input": "name a fjord", **(fields or {})})
    handle = await service.submit(request, provider="openai", on_uncertain=on_uncertain)
    assert isinstance(handle, RequestHandle)
    return handle


async def happened(handle: RequestHandle) -> Counter[str]:
    """How often each event happened."""
    return Counter([record.type async for record in handle.events(follow=False)])


async def blocked(handle: RequestHandle) -> perdure.Progress:
    """The progress with which it first waits for somebody."""
    async with aclosing(handle.progress_updates()) as updates:
        async for progress in updates:
            if progress.status == "blocked":
                return progress
    raise AssertionError(f"it ended as {handle.status}")


def bought(rig: Rig) -> int:
    """How many answers were paid for; nothing else was."""
    account = rig.bought()
    assert set(account) <= {"text"}
    return account.get("text", 0)


@pytest.mark.parametrize(
    ("endpoint", "fields", "shown"),
    [
        (RESPONSES, {}, "name a fjord"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "name a fjord"}]}, "name a fjord"),
        ("/v1/embeddings", {}, ""),
    ],
    ids=["responses", "chat", "embeddings"],
)
async def test_each_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, fields: Mapping[str, object], shown: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig:
        async with rig.open() as service:
            handle = await submit(service, endpoint=endpoint, fields=fields)
            answer = await handle.result()
            assert answer.text.endswith(shown)
            assert answer.usage is not None
            assert bought(rig) == 1
        async with perdure.read(rig.path) as reader:
            assert await (await reader.get(handle.id)).result() == answer


@pytest.mark.parametrize(
    "fault",
    [
        faults.ActThenDrop(route=ASK),
        faults.WrongContentType(route=ASK),
        faults.WrongContentType(route=ASK, body="<html>"),
        faults.Truncate(route=ASK, after_bytes=20),
        faults.Truncate(route=ASK, after_bytes=20, clean=True),
        faults.AnswerStatus(route=ASK, status=502, act=True),
        faults.AnswerStatus(route=ASK, status=504, act=True),
    ],
    ids=["dropped", "wrong type", "web page", "cut", "cut clean", "502", "504"],
)
async def test_w23_a_lost_answer_is_the_policys_to_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: faults.AnyRouteFault
) -> None:
    """W-23: the first answer was paid for and is lost. "fail" buys nothing more, "resubmit" once more, on record."""
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(fault)
        cautious = await submit(service, on_uncertain="fail")
        with pytest.raises(OutcomeUncertain):
            await cautious.result()
        assert bought(rig) == 1
        assert (await happened(cautious))["PurchaseLost"] == 1
        rig.simulator.faults.arm(fault)
        keen = await submit(service, on_uncertain="resubmit")
        assert (await keen.result()).text
        assert bought(rig) == 3
        assert (await happened(keen))["PurchaseResubmitted"] == 1
        await cautious.resubmit()
        assert (await cautious.result()).text
        assert bought(rig) == 4


async def test_dropped_before_anything_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.Drop(route=ASK))
        handle = await submit(service)
        assert (await handle.result()).text
        assert bought(rig) == 1
        assert (await happened(handle))["PurchaseResubmitted"] == 1, "nobody can tell, so the policy decided"


@pytest.mark.parametrize("on_uncertain", ["resubmit", "fail"])
async def test_w23_a_process_that_ends_while_the_answer_is_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_uncertain: OnUncertain
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig:
        rig.simulator.faults.arm(faults.Hold(route=ASK))
        async with rig.open() as service:
            handle = await submit(service, on_uncertain=on_uncertain)
            await rig.simulator.holds.wait_held()
            assert bought(rig) == 1
            assert await handle.refresh() == "running"
        async with rig.open() as service:
            again = await service.get(handle.id)
            if on_uncertain == "resubmit":
                assert (await again.result()).text
                assert bought(rig) == 2
            else:
                with pytest.raises(OutcomeUncertain):
                    await again.result()
                assert bought(rig) == 1
        rig.simulator.holds.release()


async def test_cancelled_while_the_answer_is_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.Hold(route=ASK))
        handle = await submit(service)
        await rig.simulator.holds.wait_held()
        assert await handle.cancel() == "cancelled"
        with pytest.raises(OperationCancelled):
            await handle.result()
        rig.simulator.holds.release()
        assert [record.type async for record in handle.events()][-3:] == [
            "RequestCancelled",
            "CostRecorded",
            "RequestAnswered",
        ]
        state: RequestState = await handle.state()
        assert state.answer is not None
        with pytest.raises(OperationCancelled):
            await handle.result()
        assert bought(rig) == 1


async def test_429_with_retry_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.AnswerStatus(route=ASK, status=429, headers={"retry-after": "0.2"}, count=2))
        handle = await submit(service, on_uncertain="fail")
        assert (await handle.result()).text
        assert bought(rig) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_bursts_of_5xx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.AnswerStatus(route=ASK, status=status, count=2))
        handle = await submit(service)
        assert (await handle.result()).text
        assert bought(rig) == 1


async def test_a_refusal_for_good_says_what_the_provider_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        handle = await submit(service, fields={"model": "nope"})
        with pytest.raises(OperationFailed, match="model_not_found"):
            await handle.result()
        state: RequestState = await handle.state()
        assert (state.code, state.http_status) == ("model_not_found", 404)
        assert bought(rig) == 0


async def test_w25_an_answer_of_another_shape_fails_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.AnswerStatus(route=ASK, status=200, body={"odd": True}, act=True))
        handle = await submit(service)
        with pytest.raises(OperationFailed, match="unreadable_answer"):
            await handle.result()
        state: RequestState = await handle.state()
        assert state.answer is not None
        assert bought(rig) == 1


async def test_a_wrong_key_blocks_until_it_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        monkeypatch.setenv(VARIABLE, wrong_key())
        handle = await submit(service)
        assert "auth" in (await blocked(handle)).note
        assert bought(rig) == 0
        monkeypatch.setenv(VARIABLE, rig.key)
        await handle.resume()
        assert (await handle.result()).text
        assert bought(rig) == 1
