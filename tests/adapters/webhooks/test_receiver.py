"""Webhooks through a whole service, on a clock that jumps: a batch is looked at when its provider says so, or later."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

import perdure
from perdure import InvalidWebhook, WebhookOutcome, Webhooks
from perdure.adapters.webhooks import receiver
from perdure.testing import Simulation, simulation
from tests.secrets import assert_no_key_below, unique_key

pytestmark = pytest.mark.trio

KEY = unique_key().encode()
SECRET = "whsec_" + base64.b64encode(KEY).decode()
SPACES, NO_BASE64, OLD = " ", "whsec_", "whsec_b2xk"
BATCH_S = 3_600.0

RARELY = perdure.Config(polling=perdure.Polling(first_s=10 * BATCH_S, every_s=10 * BATCH_S))
"""Without a webhook a batch of an hour is seen to have ended after ten."""


class Bench:
    """A service with a batch at its provider, and a receiver of webhooks."""

    def __init__(self, simulated: Simulation, service: perdure.Service) -> None:
        self.simulated = simulated
        self.service = service
        self.webhooks = Webhooks(service, {"openai": perdure.Secret(SECRET)}, clock=self.now_us)

    def now_us(self) -> int:
        return round(self.simulated.now.timestamp() * 1_000_000)

    def batch(self) -> str:
        """The provider's id of the last batch that was bought."""
        return self.simulated.account.purchases(kind="batch")[-1].id

    def looks(self) -> int:
        """How often a batch was polled."""
        return len(self.simulated.requests("GET /openai/v1/batches/*"))

    async def announced(
        self, batch: str = "", *, id_: str = "wh_1", type_: str = "batch.completed", key: bytes = KEY
    ) -> WebhookOutcome:
        """Receives what a provider would send now."""
        event = {
            "object": "event",
            "id": "evt_1",
            "type": type_,
            "created_at": 1,
            "data": {"id": batch or self.batch()},
        }
        headers, body = signed(json.dumps(event).encode(), id_=id_, at=self.now_us() // 1_000_000, key=key)
        return await self.webhooks.receive("openai", headers, body)


def signed(body: bytes, *, id_: str, at: int, key: bytes = KEY) -> tuple[Mapping[str, str], bytes]:
    made = hmac.new(key, f"{id_}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(made).decode()
    return {"Webhook-Id": id_, "Webhook-Timestamp": str(at), "Webhook-Signature": signature}, body


@asynccontextmanager
async def bench() -> AsyncGenerator[Bench]:
    async with simulation(batch_s=BATCH_S) as simulated, simulated.open(config=RARELY) as service:
        yield Bench(simulated, service)


async def submitted(b: Bench) -> perdure.BatchHandle:
    """A batch that its provider has had for its whole time, and that nobody has looked at."""
    handle = await b.service.batches.submit([perdure.Prompt("hello", model="m")], provider="openai")
    await trio.sleep(BATCH_S + 60.0)
    assert await handle.refresh() == "running"
    return handle


async def test_a_batch_is_looked_at_as_soon_as_its_provider_says_so(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as b:
        handle = await submitted(b)
        before = b.looks()
        assert await b.announced() == WebhookOutcome(
            id="wh_1", type="batch.completed", result="polled", operation=handle.id
        )
        await trio.sleep(1.0)
        assert await handle.refresh() == "succeeded"
        assert b.looks() == before + 1
        assert_no_key_below(b.simulated.directory)


async def test_polling_is_the_truth_whatever_is_announced(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as b:
        handle = await b.service.batches.submit([perdure.Prompt("hello", model="m")], provider="openai")
        await trio.sleep(60.0)
        outcomes = [await b.announced(id_=f"wh_{word}", type_=f"batch.{word}") for word in ("completed", "failed")]
        assert [outcome.result for outcome in outcomes] == ["polled", "polled"]
        await trio.sleep(1.0)
        assert await handle.refresh() == "running", "the provider was asked, and it goes on"
        assert await handle.ended() == "succeeded", "and it is polled as if nothing had been announced"


async def test_a_repeat_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as b:
        handle = await b.service.batches.submit([perdure.Prompt("hello", model="m")], provider="openai")
        await trio.sleep(60.0)
        assert (await b.announced()).result == "polled"
        await trio.sleep(1.0)
        looks = b.looks()
        again = await b.announced()
        assert (again.result, again.operation) == ("duplicate", handle.id)
        await trio.sleep(1.0)
        assert b.looks() == looks


async def test_what_is_forged_or_replayed_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as b:
        handle = await submitted(b)
        looks = b.looks()
        with pytest.raises(InvalidWebhook) as forged:
            await b.announced(key=b"guess")
        assert forged.value.reason == "signature"
        headers, body = signed(b"{}", id_="wh_1", at=b.now_us() // 1_000_000)
        await trio.sleep(301.0)
        with pytest.raises(InvalidWebhook) as replayed:
            await b.webhooks.receive("openai", headers, body)
        assert replayed.value.reason == "timestamp"
        assert (b.looks(), await handle.refresh()) == (looks, "running")


@pytest.mark.parametrize(
    ("batch", "type_", "result"),
    [("batch_unknown", "batch.completed", "unknown"), ("", "response.completed", "ignored")],
)
async def test_what_is_not_about_a_batch_here_changes_nothing(
    autojump_clock: trio.testing.MockClock, batch: str, type_: str, result: str
) -> None:
    async with bench() as b:
        handle = await submitted(b)
        looks = b.looks()
        outcome = await b.announced(batch, type_=type_)
        assert (outcome.result, outcome.operation) == (result, None)
        await trio.sleep(1.0)
        assert (b.looks(), await handle.refresh()) == (looks, "running")


async def test_a_batch_that_has_ended_is_not_looked_at_again(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as b:
        handle = await submitted(b)
        assert await handle.ended() == "succeeded"
        looks = b.looks()
        assert (await b.announced()).result == "unknown"
        await trio.sleep(1.0)
        assert b.looks() == looks


async def test_another_providers_batch_of_the_same_name_is_let_be(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as b:
        await submitted(b)
        assert await b.service.poll_now("google", b.batch()) is None


async def test_the_batch_of_any_tenant_is_found_after_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation(batch_s=BATCH_S) as simulated:
        async with simulated.open(config=RARELY) as service:
            acme = service.acting_as(tenant="acme")
            handle = await acme.batches.submit([perdure.Prompt("hello", model="m")], provider="openai", key="k")
            await trio.sleep(BATCH_S + 60.0)
            await simulated.crash()
        async with simulated.open(config=RARELY) as service:
            b = Bench(simulated, service)
            assert (await b.announced()).operation == handle.id
            await trio.sleep(1.0)
            assert (await service.get(handle.id)).status == "succeeded"


async def test_only_so_many_ids_are_remembered(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "REMEMBERED", 2)
    async with bench() as b:
        await submitted(b)
        results = [(await b.announced("batch_x", id_=f"wh_{n}")).result for n in (1, 2, 3, 3, 2, 1)]
        assert results == ["unknown", "unknown", "unknown", "duplicate", "duplicate", "unknown"]


async def test_a_closed_service_is_asked_again_later(autojump_clock: trio.testing.MockClock) -> None:
    async with bench() as b:
        await submitted(b)
        await b.service.drain(grace_s=0.0, purchase_grace_s=0.0)
        for _ in range(2):
            with pytest.raises(perdure.Closed):
                await b.announced()


async def test_providers_without_such_webhooks_are_refused() -> None:
    webhooks = Webhooks(Nobody(), {"openai": perdure.Secret(SECRET)})
    for provider in ("xai", "anthropic", "nobody", ""):
        with pytest.raises(perdure.UnknownProvider):
            await webhooks.receive(provider, {}, b"")


class Nobody:
    """A service that is never asked."""

    async def poll_now(self, provider: str, provider_batch: str) -> str | None:
        raise AssertionError("nothing was believed")


@pytest.mark.parametrize(
    ("provider", "secrets", "environ"),
    [
        ("openai", {}, {}),
        ("openai", {"openai": perdure.Secret(SPACES)}, {}),
        ("openai", {"openai": perdure.Env("MINE")}, {"OPENAI_WEBHOOK_SECRET": SECRET}),
        ("google", {}, {"OPENAI_WEBHOOK_SECRET": SECRET}),
        ("openai", {"openai": perdure.Secret(NO_BASE64)}, {}),
    ],
    ids=["nothing", "spaces", "another variable", "another provider", "no base64"],
)
async def test_without_a_secret_nothing_is_believed(
    provider: str, secrets: Mapping[str, perdure.Secret | perdure.Env], environ: Mapping[str, str]
) -> None:
    webhooks = Webhooks(Nobody(), secrets, environ=environ)
    with pytest.raises(perdure.InvalidRequest) as caught:
        await webhooks.receive(provider, {}, b"")
    assert caught.value.field == "webhook_secrets"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["OPENAI_WEBHOOK_SECRET", "MINE"])
async def test_a_secret_is_read_from_a_variable_each_time(name: str) -> None:
    environ = {name: OLD}
    asked: list[tuple[str, str]] = []

    class Service:
        async def poll_now(self, provider: str, provider_batch: str) -> str | None:
            await trio.lowlevel.checkpoint()
            asked.append((provider, provider_batch))
            return "batch_0"

    secrets = {} if name.startswith("OPENAI") else {"openai": perdure.Env(name)}
    webhooks = Webhooks(Service(), secrets, clock=lambda: 10**15, environ=environ)
    body = b'{"type":"batch.completed","data":{"id":"batch_1"}}'
    with pytest.raises(InvalidWebhook):
        await webhooks.receive("openai", *signed(body, id_="wh_1", at=10**9))
    environ[name] = f"{OLD} {SECRET}"
    assert (await webhooks.receive("openai", *signed(body, id_="wh_1", at=10**9))).operation == "batch_0"
    assert asked == [("openai", "batch_1")]


async def test_googles_batch_is_looked_for_under_each_of_its_names() -> None:
    asked: list[str] = []

    class Service:
        async def poll_now(self, provider: str, provider_batch: str) -> str | None:
            await trio.lowlevel.checkpoint()
            asked.append(provider_batch)
            return "batch_0" if provider_batch.startswith("batches/") else None

    webhooks = Webhooks(Service(), {"google": perdure.Secret(SECRET)}, clock=lambda: 10**15)
    body = b'{"type":"batch.succeeded","data":{"id":"xyz"}}'
    outcome = await webhooks.receive("google", *signed(body, id_="wh_1", at=10**9))
    assert (outcome.result, outcome.operation, asked) == ("polled", "batch_0", ["xyz", "batches/xyz"])
