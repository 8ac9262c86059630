"""Single requests: sent live, batched with others, or whichever is worth it; found again by key."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock as Clock

import perdure
from perdure.actors.batch.strategy import BatchStrategy, MarkedRequestors, Submission, Window
from perdure.adapters.network.config import DEFAULT_QUEUES, default_queue
from perdure.testing import Simulation, faults, simulation
from tests.secrets import unique_key

pytestmark = pytest.mark.trio

CREDENTIALS = {"default": perdure.Secret(unique_key()), "other": perdure.Secret(unique_key())}


@asynccontextmanager
async def serving(strategy: BatchStrategy | None = None) -> AsyncGenerator[tuple[Simulation, perdure.Service]]:
    """A service whose log verifies when it is left, and its simulated provider."""
    async with simulation() as simulated, simulated.open(config=config(strategy)) as service:
        yield simulated, service
        (await service.log.verify()).raise_if_bad()


def config(strategy: BatchStrategy | None = None) -> perdure.Config:
    """A configuration with two credentials."""
    providers = {"openai": perdure.ProviderConfig(credentials=CREDENTIALS)}
    return perdure.Config(providers=providers, batching=strategy or BatchStrategy())


def bought(simulated: Simulation) -> dict[str, int]:
    """How much of each kind was bought."""
    assert simulated.account.bought_twice() == []
    return dict(Counter(str(purchase.kind) for purchase in simulated.account.purchases()))


def ask(text: str, *, model: str = "m") -> perdure.Prompt:
    """A question."""
    return perdure.Prompt(text, model=model)


async def submit_all(
    service: perdure.Service, count: int, *, key: Callable[[int], str] | None = None, **how: Any
) -> list[perdure.Handle[perdure.Answer]]:
    """`count` requests, each from a task of its own; the handles in order."""
    handles: dict[int, perdure.Handle[perdure.Answer]] = {}
    options: dict[str, Any] = {"provider": "openai", "via": "batch", **how}

    async def one(number: int) -> None:
        handles[number] = await service.submit(
            ask(f"question {number}"), key=None if key is None else key(number), **options
        )

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    return [handles[number] for number in range(count)]


async def answers(handles: list[perdure.Handle[perdure.Answer]]) -> list[str]:
    """What each says, awaited by a task of its own."""
    texts: dict[int, str] = {}

    async def one(number: int) -> None:
        texts[number] = (await handles[number].result()).text

    async with trio.open_nursery() as nursery:
        for number in range(len(handles)):
            nursery.start_soon(one, number)
    return [texts[number] for number in range(len(handles))]


def batch_of(handle: perdure.View[Any]) -> str:
    """The batch that a line's id names."""
    return handle.id.rpartition("-")[0]


def calls(simulated: Simulation, route: str) -> int:
    """How many requests the provider saw."""
    return len(simulated.requests(route))


# ---------------------------------------------------------------- live


async def test_b10_a_live_request_is_recorded_intended_and_answered_in_this_order(
    autojump_clock: Clock,
) -> None:
    async with serving() as (simulated, service):
        handle = await service.submit(ask("why?"), provider="openai", key="k", tags={"team": "a"})
        answer = await handle.result()
        assert answer.text
        assert answer.usage is not None
        assert answer.finish_reason == "completed"
        assert msgspec.json.decode(answer.raw)["object"] == "response"
        assert [record.type async for record in handle.events()] == [
            "RequestOpened",
            "PurchaseIntended",
            "CostRecorded",
            "RequestAnswered",
        ]
        assert (handle.kind, handle.key, handle.tags) == ("request", "k", {"team": "a"})
        assert bought(simulated) == {"text": 1}


@pytest.mark.parametrize("endpoint", ["/v1/responses", "/v1/chat/completions", "/v1/embeddings"])
@pytest.mark.parametrize("via", ["live", "batch", "auto"])
async def test_every_endpoint_takes_prompts_and_raw_bodies(autojump_clock: Clock, endpoint: str, via: Any) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "/v1/responses": {"model": "m", "input": "raw"},
        "/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "raw"}]},
        "/v1/embeddings": {"model": "m", "input": "raw"},
    }
    async with serving() as (_, service):
        prompt = await service.submit(ask("neutral"), provider="openai", via=via, endpoint=endpoint)
        raw = await service.submit(perdure.RawRequest(endpoint, bodies[endpoint]), provider="openai", via=via)
        for answer in (await prompt.result(), await raw.result()):
            assert answer.usage is not None
            assert bool(answer.text) == (endpoint != "/v1/embeddings")


async def test_a_known_key_gives_the_same_operation_and_refuses_another_request(
    autojump_clock: Clock,
) -> None:
    async with simulation() as simulated:
        ids: dict[str, set[str]] = {"live": set(), "batch": set()}
        for _ in range(2):
            async with simulated.open() as service:
                for via in ("live", "batch", "live"):
                    # whichever way it is asked for again, it is the operation that has the key
                    for first in ("live", "batch"):
                        how: Any = {"provider": "openai", "via": via if ids[first] else first}
                        handle = await service.submit(ask(first), key=first, **how)
                        ids[first].add(handle.id)
                        assert (await handle.result()).text
                for first in ("live", "batch"):
                    with pytest.raises(perdure.KeyConflict) as conflict:
                        await service.submit(ask("another"), provider="openai", key=first)
                    assert {conflict.value.existing_id} == ids[first]
                    with pytest.raises(perdure.KeyConflict):
                        await service.batches.submit([ask(first)], provider="openai", key=first)
        assert {name: len(found) for name, found in ids.items()} == {"live": 1, "batch": 1}
        assert bought(simulated) == {"text": 1, "file": 1, "batch": 1}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"via": "soon"}, perdure.InvalidRequest),
        ({"provider": "nobody"}, perdure.UnknownProvider),
        ({"deadline_s": 0}, perdure.InvalidRequest),
        ({"on_uncertain": "guess"}, perdure.InvalidRequest),
        ({"key": unique_key("sk-")}, perdure.InvalidRequest),
        ({"key": "req_1"}, perdure.InvalidRequest),
        ({"endpoint": "/v1/nowhere"}, perdure.Unsupported),
    ],
    ids=["via", "provider", "deadline", "policy", "a credential as key", "an id as key", "endpoint"],
)
@pytest.mark.parametrize("via", ["live", "batch"])
async def test_bad_input_is_refused_and_leaves_nothing(
    autojump_clock: Clock, wrong: dict[str, Any], error: type[Exception], via: str
) -> None:
    async with serving() as (_, service):
        how: dict[str, Any] = {"provider": "openai", "via": via, **wrong}
        with pytest.raises(error):
            await service.submit(ask("x"), **how)
        assert [summary async for summary in service.list()] == []
        assert await service.log.head() == 0


@pytest.mark.parametrize("via", ["live", "batch"])
@pytest.mark.parametrize(
    "body",
    [{"input": "no model"}, {"model": "m", "input": "x", "stream": True}, msgspec.Raw(b"[1]"), msgspec.Raw(b"{")],
)
async def test_bad_bodies_are_refused(autojump_clock: Clock, body: Any, via: Any) -> None:
    async with serving() as (_, service):
        with pytest.raises(perdure.Rejected):
            await service.submit(perdure.RawRequest("/v1/responses", body), provider="openai", via=via)
        assert await service.log.head() == 0


async def test_a_request_that_the_provider_refuses_fails_with_its_words(autojump_clock: Clock) -> None:
    async with serving() as (_, service):
        for via in ("live", "batch", "auto"):
            handle = await service.submit(ask("x", model="nope"), provider="openai", via=via)
            with pytest.raises(perdure.OperationFailed, match="nope") as failed:
                await handle.result()
            assert failed.value.id == handle.id
            assert handle.status == "failed"


# ---------------------------------------------------------------- batched


async def test_b9_requests_that_wait_together_are_one_batch_and_no_live_call(
    autojump_clock: Clock,
) -> None:
    async with serving() as (simulated, service):
        handles = await submit_all(service, 40, key=lambda number: f"k{number}")
        assert len({batch_of(handle) for handle in handles}) == 1
        texts = await answers(handles)
        assert all(texts)
        assert calls(simulated, "POST /openai/v1/responses") == 0
        (bought,) = [purchase for purchase in simulated.account.purchases() if purchase.kind == "batch"]
        assert bought.units == 40
        for number in (0, 17, 39):
            for found in (await service.find(f"k{number}"), await service.get(handles[number].id)):
                assert found is not None
                assert (found.id, found.key, found.kind) == (handles[number].id, f"k{number}", "request")
                assert (await found.result()).text == texts[number]
        for missing in (f"{batch_of(handles[0])}-40", "batch_none-1", f"{batch_of(handles[0])}-x"):
            with pytest.raises(perdure.NotFound):
                await service.get(missing)


async def test_b11_batched_requests_give_way_to_live_ones() -> None:
    batch, live = (default_queue(DEFAULT_QUEUES, "openai", traffic) for traffic in ("batch", "live"))
    assert batch.priority > live.priority, "a lower number goes first"
    assert batch.concurrency < live.concurrency


@pytest.mark.parametrize(
    "case", ["live is asked for", "the provider has no batches", "the endpoint is not batched", "the strategy says no"]
)
async def test_b20_what_is_not_batched(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    class Never(BatchStrategy, frozen=True):
        def window(self, submission: Submission) -> Window | None:
            return None

    never = case == "the strategy says no"
    async with serving(Never() if never else BatchStrategy()) as (simulated, service):
        batchers = service._acting.providers  # pyright: ignore[reportPrivateUsage] - what composition wired
        if case == "the provider has no batches":
            monkeypatch.setattr(service._common.submitting, "_batchers", {})  # pyright: ignore[reportPrivateUsage]
        if case == "the endpoint is not batched":
            monkeypatch.setattr(batchers["openai"], "endpoints", ("/v1/embeddings",))
        handles = await submit_all(service, 5, via="live" if case == "live is asked for" else "auto")
        assert all(await answers(handles))
        assert {handle.id.partition("_")[0] for handle in handles} == {"req"}
        assert bought(simulated) == {"text": 5}


async def test_b21_the_request_is_durable_and_has_a_handle_before_anything_is_sent(
    autojump_clock: Clock,
) -> None:
    async with serving(BatchStrategy(window_s=3_600)) as (simulated, service):
        (handle,) = await submit_all(service, 1, key=lambda _: "k")
        assert simulated.requests() == []
        assert await handle.refresh() == "pending"
        await simulated.crash()


async def test_w13_the_number_that_waits_when_the_window_closes_decides(autojump_clock: Clock) -> None:
    async with serving() as (simulated, service):
        few = await submit_all(service, 2, via="auto")
        assert all(await answers(few))
        assert bought(simulated) == {"text": 2}, "two wait: each goes live"
        enough = await submit_all(service, 3, via="auto")
        assert all(await answers(enough))
        assert bought(simulated) == {"text": 2, "file": 1, "batch": 1}, "three wait: they are a batch"
        one = await submit_all(service, 1, via="batch")
        assert all(await answers(one))
        assert bought(simulated) == {"text": 2, "file": 2, "batch": 2}, "one is enough where a batch is asked for"


async def test_w13_b22_the_seeds_rule_counts_requestors_instead(autojump_clock: Clock) -> None:
    strategy = MarkedRequestors(minimum=2)
    async with serving(strategy) as (simulated, service):
        with service.requestors.requestor():
            assert all(await answers(await submit_all(service, 5, via="auto")))
            assert bought(simulated) == {"text": 5}, "one requestor, however many requests"
            with service.requestors.requestor():
                assert all(await answers(await submit_all(service, 1, via="auto")))
            assert bought(simulated) == {"text": 5, "file": 1, "batch": 1}, "two requestors: they wait for each other"


async def test_b22_w14_requestors_are_counted_by_who_lives() -> None:
    requestors = perdure.Requestors()
    with requestors.requestor() as client:
        with requestors.requestor():
            assert requestors.count == 2
        agent = requestors.requestor(instead_of=client)
        with agent:
            assert requestors.count == 1, "an agent stands for its client"
        assert requestors.count == 1, "and gives its place back"
        with pytest.raises(OSError, match="died"), requestors.requestor():
            raise OSError("died")
        assert requestors.count == 1
    assert requestors.count == 0


async def test_w15_each_model_endpoint_credential_and_tenant_has_a_window_of_its_own(
    autojump_clock: Clock,
) -> None:
    async with serving() as (_, service):
        how: Any = {"provider": "openai", "via": "batch"}
        handles = [
            await service.submit(ask("x"), **how),
            await service.submit(ask("x", model="n"), **how),
            await service.submit(ask("x"), endpoint="/v1/chat/completions", **how),
            await service.submit(ask("x"), credential="other", **how),
            await service.acting_as(tenant="acme").submit(ask("x"), **how),
            await service.submit(ask("x"), on_uncertain="resubmit", **how),
        ]
        again = await service.submit(ask("y"), **how)
        assert len({batch_of(handle) for handle in handles}) == 6
        assert batch_of(again) == batch_of(handles[0])
        assert all(await answers([*handles, again]))


async def test_w24_one_decision_for_each_request_which_is_a_value_on_record(
    autojump_clock: Clock,
) -> None:
    asked: list[Submission] = []

    class Watching(BatchStrategy, frozen=True):
        def window(self, submission: Submission) -> Window | None:
            asked.append(submission)
            return Window(open_s=10.0, max_lines=50_000, minimum=2)

    async with serving(Watching()) as (_, service):
        first, second = [await service.submit(ask(text), provider="openai", via="auto") for text in "ab"]
        await answers([first, second])
        assert len(asked) == 2, "nobody is asked twice"
        state = await (await service.get(batch_of(first))).state()
        assert state.opened.minimum == 2


# ---------------------------------------------------------------- cancel and deadline


async def test_a_request_can_be_cancelled_before_its_window_closes_and_is_never_sent(
    autojump_clock: Clock,
) -> None:
    async with serving() as (simulated, service):
        handles = await submit_all(service, 3)
        assert await handles[1].cancel() == "cancelled"
        assert await handles[1].cancel() == "cancelled"
        with pytest.raises(perdure.OperationCancelled):
            await handles[1].result()
        assert all(await answers([handles[0], handles[2]]))
        (bought,) = [purchase for purchase in simulated.account.purchases() if purchase.kind == "batch"]
        assert bought.units == 2
        assert await handles[0].cancel() == "too_late"


async def test_w17_when_everybody_has_cancelled_the_provider_is_told(autojump_clock: Clock) -> None:
    async with serving() as (simulated, service):
        simulated.faults.arm(faults.Stuck())
        handles = await submit_all(service, 3)
        batch = await service.get(batch_of(handles[0]))
        async with aclosing(batch.progress_updates()) as updates:
            async for progress in updates:
                if progress.status == "running":
                    break
        for handle in handles[:2]:
            assert await handle.cancel() == "cancelled"
        assert calls(simulated, "POST /openai/v1/batches/*/cancel") == 0
        assert await handles[2].cancel() == "cancelled"
        for handle in handles:
            with pytest.raises(perdure.OperationCancelled):
                await handle.result()
        assert await batch.ended() == "cancelled"
        assert calls(simulated, "POST /openai/v1/batches/*/cancel") == 1


@pytest.mark.parametrize("via", ["live", "batch"])
async def test_a_request_expires_at_its_own_deadline(autojump_clock: Clock, via: Any) -> None:
    async with serving(BatchStrategy(window_s=3_600)) as (simulated, service):
        if via == "live":
            simulated.faults.arm(faults.Hold(route="POST /openai/v1/responses"))
        handle = await service.submit(ask("x"), provider="openai", via=via, deadline_s=30)
        with pytest.raises(perdure.OperationExpired):
            await handle.result()
        assert handle.status == "expired"
        simulated.holds.release()


# ---------------------------------------------------------------- observed


async def test_a_line_shows_its_own_history_and_progress(autojump_clock: Clock) -> None:
    async with serving() as (_, service):
        handles = await submit_all(service, 3)
        async with aclosing(handles[1].progress_updates()) as updates:
            shown = [(progress.status, progress.done, progress.total) async for progress in updates]
        assert shown[-1] == ("succeeded", 1, 1)
        types = [record.type async for record in handles[1].events()]
        assert types[0] == "BatchOpened"
        for once in ("LinesCollected", "BatchClosed", "BatchSubmitted", "ResultsTaken"):
            assert types.count(once) == 1, types


async def test_a_line_that_goes_live_shows_its_own_purchase(autojump_clock: Clock) -> None:
    async with serving() as (_, service):
        handles = await submit_all(service, 2, via="auto")
        await answers(handles)
        for handle in handles:
            types = [record.type async for record in handle.events()]
            assert types[:3] == ["BatchOpened", "LinesCollected", "BatchClosed"]
            assert types[3:6] == ["PurchaseIntended", "CostRecorded", "LineAnswered"], types


@pytest.mark.parametrize("via", ["batch", "auto"])
async def test_the_history_of_a_line_goes_on_behind_any_version(autojump_clock: Clock, via: Any) -> None:
    async with serving() as (_, service):
        handles = await submit_all(service, 2, via=via)
        await answers(handles)
        for handle in handles:
            whole = [record.version async for record in handle.events()]
            assert len(whole) > 4
            for place, version in enumerate(whole, 1):
                assert [record.version async for record in handle.events(after=version)] == whole[place:]
