"""Single requests to Google through the service, on trio's clock that jumps."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock as Clock

import perdure
from perdure.actors.lane import Lane
from perdure.adapters.composition import Resolver
from perdure.adapters.network import Endpoint
from perdure.adapters.simulator import GOOGLE_PREFIX
from perdure.adapters.testing.aim import environment
from perdure.testing import faults, simulation
from tests.secrets import unique_key

ROUTE = f"POST {GOOGLE_PREFIX}/v1/models/*:generateContent"
LANE = Lane("", "google", "default", "live")


def config() -> perdure.Config:
    """A configuration with a key for Google."""
    credentials = {"default": perdure.Secret(unique_key())}
    return perdure.Config(providers={"google": perdure.ProviderConfig(credentials=credentials)})


@pytest.mark.trio
async def test_b10_a_live_request_is_intended_asked_once_and_answered(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open(config=config()) as service:
        prompt = perdure.Prompt("why?", model="gemini-x", max_output_tokens=50)
        handle = await service.submit(prompt, provider="google", key="k")
        answer = await handle.result()
        assert answer.text.endswith("why?")
        assert (answer.model, answer.finish_reason) == ("gemini-x", "STOP")
        assert answer.usage is not None
        assert answer.usage.total_tokens
        assert [record.type async for record in handle.events()] == [
            "RequestOpened",
            "PurchaseIntended",
            "CostRecorded",
            "RequestAnswered",
        ]
        (seen,) = simulated.requests(ROUTE)
        assert seen.path == f"{GOOGLE_PREFIX}/v1/models/gemini-x:generateContent"
        assert [(one.provider, one.kind) for one in simulated.account.purchases()] == [("google", "text")]
        (await service.log.verify()).raise_if_bad()


@pytest.mark.trio
@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
async def test_raw_requests_go_to_the_version_that_they_name(autojump_clock: Clock, version: str) -> None:
    async with simulation() as simulated, simulated.open(config=config()) as service:
        raw = perdure.RawRequest(
            f"/{version}/models/gemini-x:generateContent", {"contents": [{"parts": [{"text": "raw"}]}]}
        )
        assert (await (await service.submit(raw, provider="google")).result()).text.endswith("raw")
        assert [seen.path.split("/")[2] for seen in simulated.requests()] == [version]


@pytest.mark.trio
async def test_another_model_under_one_key_is_another_request(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open(config=config()) as service:
        first = await service.submit(perdure.Prompt("x", model="a"), provider="google", key="k")
        assert (await service.submit(perdure.Prompt("x", model="a"), provider="google", key="k")).id == first.id
        with pytest.raises(perdure.KeyConflict):
            await service.submit(perdure.Prompt("x", model="b"), provider="google", key="k")


@pytest.mark.trio
async def test_a_blocked_prompt_fails_with_googles_reason(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open(config=config()) as service:
        handle = await service.submit(perdure.Prompt("!block it", model="m"), provider="google")
        with pytest.raises(perdure.OperationFailed, match="PROHIBITED_CONTENT"):
            await handle.result()


@pytest.mark.trio
@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        (faults.AnswerStatus(route=ROUTE, status=429), 2),
        (faults.AnswerStatus(route=ROUTE, status=503), 2),
        (faults.Drop(route=ROUTE), 2),
    ],
    ids=["429", "503", "dropped"],
)
async def test_what_may_be_asked_again_is(autojump_clock: Clock, fault: Any, asked: int) -> None:
    async with simulation() as simulated, simulated.open(config=config()) as service:
        simulated.faults.arm(fault)
        handle = await service.submit(perdure.Prompt("why?", model="m"), provider="google", on_uncertain="resubmit")
        assert (await handle.result()).text
        assert len(simulated.requests(ROUTE)) == asked


@pytest.mark.trio
async def test_a_missing_model_and_a_wrong_path_are_told_apart(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open(config=config()) as service:
        handle = await service.submit(perdure.Prompt("x", model="nope"), provider="google")
        with pytest.raises(perdure.OperationFailed, match="nope"):
            await handle.result()
        raw = perdure.RawRequest("/v1/models/m:streamGenerateContent", {"contents": []})
        with pytest.raises(perdure.InvalidRequest, match="generateContent"):
            await service.submit(raw, provider="google")


FIRST, SECOND = unique_key(), unique_key()


@pytest.mark.parametrize(
    ("environ", "used"),
    [
        ({"GOOGLE_API_KEY": FIRST, "GEMINI_API_KEY": SECOND}, FIRST),
        ({"GEMINI_API_KEY": SECOND}, SECOND),
        ({"GOOGLE_API_KEY": "", "GEMINI_API_KEY": SECOND}, SECOND),
    ],
    ids=["both", "one", "an empty one"],
)
def test_the_first_variable_that_is_set_holds_the_key(environ: dict[str, str], used: str) -> None:
    endpoint = Resolver(perdure.Config(), environ)(LANE)
    expected = Endpoint(
        base_url="https://generativelanguage.googleapis.com",
        headers={"x-goog-api-key": used},
    )
    assert (endpoint.base_url, endpoint.headers) == (expected.base_url, expected.headers)


def test_without_a_key_the_first_variable_is_named() -> None:
    with pytest.raises(perdure.ProviderError, match="GOOGLE_API_KEY"):
        Resolver(perdure.Config(), {})(LANE)


def test_another_process_finds_google_at_the_simulator() -> None:
    told = environment("http://127.0.0.1:1")
    assert told["PERDURE_GOOGLE_BASE_URL"] == "http://127.0.0.1:1" + GOOGLE_PREFIX
    assert told["GOOGLE_API_KEY"]
