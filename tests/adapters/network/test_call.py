"""One call after another: queues by name, events, kinds of refusal, retries. In memory, on a jumping clock."""

from __future__ import annotations

import logging
from datetime import timedelta
from email.utils import format_datetime
from random import Random

import pytest
import trio
from trio.testing import MockClock

from perdure.actors.fetch import CredentialMissing, HttpRequest, NotSent, Refused, Unknown
from perdure.actors.lane import Lane
from perdure.adapters.network import (
    AttemptFailed,
    BackoffOverride,
    Completed,
    Endpoint,
    Engine,
    EngineSettings,
    Enqueued,
    PooledTransport,
    QueueSettings,
    RateLimitHit,
    Retried,
    RetryOverride,
    Started,
    json_body,
)
from perdure.adapters.network.observation import Observation
from perdure.events.errors import Conflict, InvalidRequest, ProviderError
from tests.adapters.network.peer import LANE, SECRET, Peer, Raw, Reply, fault, memory_rig

pytestmark = pytest.mark.trio

GET = HttpRequest(method="GET", path="/batches/b1", safety="read")
POST = HttpRequest(method="POST", path="/batches", safety="create", body=b'{"a":1}', model="m1")


async def test_n1_json_answer_is_decoded(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An answer's JSON body decodes, and its header names are lower-case."""
    rig = await memory_rig(nursery, [Reply(body=b'{"id": "b1"}', headers={"X-Thing": "Yes"})])
    answer = await rig.engine.bind(LANE)(GET)
    assert (answer.status, json_body(answer), answer.headers["x-thing"]) == (200, {"id": "b1"}, "Yes")
    assert rig.peer.seen[0].target == "/v1/batches/b1"


async def test_n2_enqueue_start_and_completion_are_told(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A call tells its observer, in order: Enqueued, Started, Completed."""
    rig = await memory_rig(nursery, [Reply(body=b"[1]")])
    await rig.engine.bind(LANE)(POST)
    assert [type(event) for event in rig.events] == [Enqueued, Started, Completed]
    [completed] = rig.told(Completed)
    assert (completed.status, completed.attempt, completed.request_bytes, completed.answer_bytes) == (200, 1, 7, 3)


async def test_n3_events_carry_queue_provider_and_model(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Every event names the queue, the provider and the model."""
    rig = await memory_rig(nursery, [Reply()])
    await rig.engine.bind(LANE)(POST)
    assert {(event.queue, event.provider, event.model) for event in rig.events} == {
        ("acme/openai/main/batch/m1", "openai", "m1")
    }


async def test_n4_queues_differ_by_lane_and_model(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Another provider or model is another queue; the same pair uses the same one again."""
    rig = await memory_rig(nursery, [Reply()])
    other = Lane("acme", "anthropic", "main", "batch")
    for lane, model in ((LANE, "a"), (LANE, "b"), (other, "a"), (LANE, "a")):
        await rig.engine.bind(lane)(HttpRequest(method="GET", path="/", safety="read", model=model))
    assert {queue.queue: queue.processed for queue in rig.engine.snapshot()} == {
        "acme/openai/main/batch/a": 2,
        "acme/openai/main/batch/b": 1,
        "acme/anthropic/main/batch/a": 1,
    }


async def test_n5_trace_is_on_every_event(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The trace given to `bind` stands on every event, of retries too."""
    rig = await memory_rig(nursery, [fault(500, "oh"), Reply()])
    await rig.engine.bind(LANE, trace="op-7")(GET)
    assert len(rig.events) > 4
    assert {event.trace for event in rig.events} == {"op-7"}


async def test_n6_snapshot_of_an_idle_queue(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An idle queue shows nobody waiting, nothing in flight, all slots, and a wait of 0 seconds."""
    rig = await memory_rig(nursery, [Reply()], queue=QueueSettings(concurrency=3))
    await rig.engine.bind(LANE)(GET)
    [queue] = rig.engine.snapshot()
    assert (queue.waiting, queue.in_flight, queue.available, queue.wait_s, queue.processed) == (0, 0, 3, 0.0, 1)


async def test_n6_snapshot_shows_what_is_under_way(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """While one is answered and two wait, the snapshot says so."""
    rig = await memory_rig(nursery, [Raw(then="hang")], queue=QueueSettings(concurrency=1))
    for _ in range(3):
        nursery.start_soon(rig.engine.bind(LANE), GET)
    await trio.testing.wait_all_tasks_blocked()
    [queue] = rig.engine.snapshot()
    assert (queue.in_flight, queue.waiting, queue.peak_waiting, queue.available) == (1, 2, 2, 0)
    nursery.cancel_scope.cancel()


async def test_n7_named_queue_beats_endpoints_beats_formula(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A queue named at `bind` goes before the endpoint's, which goes before the lane and model."""
    plain = await memory_rig(nursery, [Reply()])
    shared = await memory_rig(nursery, [Reply()], queue_name="account-7")
    await plain.engine.bind(LANE)(POST)
    await shared.engine.bind(LANE)(POST)
    await shared.engine.bind(LANE, queue="mine")(POST)
    assert [queue.queue for queue in plain.engine.snapshot()] == ["acme/openai/main/batch/m1"]
    assert [queue.queue for queue in shared.engine.snapshot()] == ["account-7", "mine"]


async def test_n8_queue_settings_freeze_with_first_use(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A queue can be configured before its first use and after it was dropped, not in between."""
    rig = await memory_rig(nursery, [Reply()])
    rig.engine.configure_queue("q", QueueSettings(concurrency=2))
    await rig.engine.bind(LANE, queue="q")(GET)
    assert rig.engine.snapshot()[0].available == 2
    with pytest.raises(Conflict, match="'q' is in use"):
        rig.engine.configure_queue("q", QueueSettings(concurrency=3))
    rig.engine.drop_queue("q")
    assert rig.engine.snapshot() == ()
    rig.engine.configure_queue("q", QueueSettings(concurrency=3))
    await rig.engine.bind(LANE, queue="q")(GET)
    assert rig.engine.snapshot()[0].available == 3


async def test_n9_401_is_refused_as_auth(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """401 raises `Refused` of kind auth with the provider's message, after one attempt and one failure event."""
    rig = await memory_rig(nursery, [fault(401, "Incorrect API key", "invalid_api_key", x_request_id="req_9")])
    with pytest.raises(Refused, match="Incorrect API key") as caught:
        await rig.engine.bind(LANE)(GET)
    error = caught.value
    assert (error.kind, error.status, error.provider_code) == ("auth", 401, "invalid_api_key")
    assert (error.provider_request_id, error.retryable) == ("req_9", False)
    [failed] = rig.told(AttemptFailed)
    assert (failed.kind, failed.will_retry) == ("auth", False)


async def test_n10_429_is_told_as_rate_limit(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """429 tells RateLimitHit with the seconds that the queue pauses."""
    rig = await memory_rig(nursery, [fault(429, "slow down", retry_after="3"), Reply()])
    await rig.engine.bind(LANE)(GET)
    assert [event.paused_s for event in rig.told(RateLimitHit)] == [3.0]


async def test_n11_get_without_body(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A GET without a body sends none and tells a size of 0."""
    rig = await memory_rig(nursery, [Reply()])
    await rig.engine.bind(LANE)(GET)
    [seen], [completed] = rig.peer.seen, rig.told(Completed)
    assert (seen.body, "content-length" in seen.headers, completed.request_bytes) == (b"", False, 0)


async def test_n12_raising_observer_changes_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """An observer that raises is reported to the log; the call is answered, once, and its slot is free again."""
    peer = Peer([Reply(body=b"[1]")])
    peer.start(nursery)

    def broken(event: Observation) -> None:
        raise RuntimeError(f"broken on {type(event).__name__}")

    engine = Engine(
        lambda lane: Endpoint(base_url="http://peer.test"),
        transport=PooledTransport(connect=peer.connect),
        observer=broken,
    )
    with caplog.at_level(logging.ERROR):
        answer = await engine.bind(LANE)(POST)
    assert (answer.body, len(peer.seen), engine.snapshot()[0].in_flight) == (b"[1]", 1, 0)
    assert [record.getMessage().split(" on ")[1].split(";")[0] for record in caplog.records] == [
        "Enqueued",
        "Started",
        "Completed",
    ]


async def test_n13_unknown_model_is_named(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """400 whose message says that the model does not exist is model_not_found."""
    rig = await memory_rig(nursery, [fault(400, "The model `gpt-9` does not exist or you do not have access to it.")])
    with pytest.raises(Refused) as caught:
        await rig.engine.bind(LANE)(GET)
    assert caught.value.kind == "model_not_found"


async def test_n15_day_long_retry_after_is_a_refusal(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A `Retry-After` above the cap of 120 s ends the call at once, without a retry; the error carries it."""
    rig = await memory_rig(nursery, [fault(429, "tomorrow", retry_after="86400"), Reply()])
    started = trio.current_time()
    with pytest.raises(Refused) as caught:
        await rig.engine.bind(LANE)(HttpRequest(method="GET", path="/", safety="read", deadline_s=1e6))
    assert (trio.current_time() - started, caught.value.retry_after_s, len(rig.peer.seen)) == (0, 86400, 1)


async def test_n15_retry_after_below_the_cap_is_obeyed(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Below the cap the call waits as long as it was told, and is sent again."""
    rig = await memory_rig(nursery, [fault(429, "soon", retry_after="119"), Reply(body=b"[2]")])
    answer = await rig.engine.bind(LANE)(HttpRequest(method="GET", path="/", safety="read", deadline_s=600))
    first, second = rig.peer.seen
    assert answer.body == b"[2]"
    assert second.at - first.at == pytest.approx(119)


async def test_n16_override_of_one_binding_stays_there(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A retry override given to `bind` beats the queue's and leaks into no other binding."""
    queue = QueueSettings(retry=RetryOverride(max_retries=1))
    rig = await memory_rig(nursery, [fault(500, "no")], queue=queue)
    for override, attempts in ((RetryOverride(max_retries=3), 4), (None, 2), (RetryOverride(max_retries=0), 1)):
        before = len(rig.peer.seen)
        with pytest.raises(Refused):
            await rig.engine.bind(LANE, retry=override)(GET)
        assert len(rig.peer.seen) - before == attempts


@pytest.mark.parametrize(("cap", "retry_after", "attempts"), [(5.0, "6", 1), (5.0, "4", 2), (200.0, "150", 2)])
async def test_n16_override_moves_the_retry_after_cap(
    autojump_clock: MockClock, nursery: trio.Nursery, cap: float, retry_after: str, attempts: int
) -> None:
    """An override can tighten or widen the cap on `Retry-After`."""
    rig = await memory_rig(nursery, [fault(503, "no", retry_after=retry_after)])
    override = RetryOverride(max_retries=1, max_retry_after_s=cap)
    with pytest.raises(Refused):
        await rig.engine.bind(LANE, retry=override)(HttpRequest(method="GET", path="/", safety="read", deadline_s=1000))
    assert len(rig.peer.seen) == attempts


async def test_n17_layers_of_retry_policy(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The engine's policy reaches queues without one; a queue's beats it; a binding's beats both."""
    settings = EngineSettings(
        queues={"strict": QueueSettings(retry=RetryOverride(max_retries=0))},
        retry=RetryOverride(max_retries=1, backoff=BackoffOverride(jitter=0.0)),
    )
    rig = await memory_rig(nursery, [fault(500, "no")], settings=settings)
    attempts: list[int] = []
    for queue, override in (("", None), ("strict", None), ("strict", RetryOverride(max_retries=2))):
        before = len(rig.peer.seen)
        with pytest.raises(Refused):
            await rig.engine.bind(LANE, queue=queue, retry=override)(GET)
        attempts.append(len(rig.peer.seen) - before)
    assert attempts == [2, 1, 3]
    assert [event.wait_s for event in rig.told(Retried)] == [0.5, 0.5, 1.0]  # the engine's jitter, the built-in rest


async def test_w59_one_deadline_for_the_whole_call(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The deadline covers all attempts and the waits between them: it does not start again with each."""

    async def slow(seen: object) -> Reply:
        await trio.sleep(4)
        return fault(500, "no")

    rig = await memory_rig(nursery, slow)
    started = trio.current_time()
    with pytest.raises(Unknown, match="deadline of 10 s"):
        await rig.engine.bind(LANE, retry=RetryOverride(max_retries=9))(
            HttpRequest(method="GET", path="/", safety="read", deadline_s=10)
        )
    assert trio.current_time() - started == pytest.approx(10)
    assert len(rig.peer.seen) == 3


async def test_w59_no_wait_that_would_pass_the_deadline(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A retry that could only start after the deadline is not waited for: the refusal comes at once."""
    rig = await memory_rig(nursery, [fault(429, "no", retry_after="60")])
    started = trio.current_time()
    with pytest.raises(Refused):
        await rig.engine.bind(LANE)(HttpRequest(method="GET", path="/", safety="read", deadline_s=30))
    assert trio.current_time() == started


@pytest.mark.parametrize(
    ("status", "kind", "attempts"),
    [
        (404, "not_found", 1),
        (409, "conflict", 1),
        (422, "invalid_request", 1),
        (418, "invalid_request", 1),
        (402, "quota_exceeded", 1),
        (413, "invalid_request", 1),
        (501, "unsupported", 1),
        (507, "server_error", 1),
        (500, "server_error", 3),
        (503, "server_error", 3),
        (529, "server_error", 3),
        (429, "rate_limit", 6),
    ],
)
async def test_w60_explicit_status_table(
    autojump_clock: MockClock, nursery: trio.Nursery, status: int, kind: str, attempts: int
) -> None:
    """Every status has its kind and its number of attempts; what the table does not name is not tried again."""
    rig = await memory_rig(nursery, [fault(status, "no")])
    with pytest.raises(Refused) as caught:
        await rig.engine.bind(LANE)(GET)
    assert (caught.value.kind, len(rig.peer.seen)) == (kind, attempts)


async def test_w61_undecodable_body_is_final(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A 200 whose body is not JSON is sent once; decoding it raises a final error with the content type."""
    rig = await memory_rig(nursery, [Reply(body=b"<html>", headers={"content-type": "text/html"})])
    answer = await rig.engine.bind(LANE)(POST)
    with pytest.raises(ProviderError, match="text/html") as caught:
        json_body(answer)
    assert (len(rig.peer.seen), caught.value.retryable) == (1, False)


async def test_w61_observer_cannot_cause_a_retry(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An observer that raises on completion neither fails nor repeats the request."""
    peer = Peer([Reply()])
    peer.start(nursery)

    def broken(event: Observation) -> None:
        if type(event) is Completed:
            raise RuntimeError("no")

    engine = Engine(
        lambda lane: Endpoint(base_url="http://peer.test"),
        transport=PooledTransport(connect=peer.connect),
        observer=broken,
    )
    assert (await engine.bind(LANE)(GET)).status == 200
    assert len(peer.seen) == 1


async def test_w62_one_idempotency_key_for_all_attempts(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Where the endpoint honours keys, all attempts of a call send the same one, and another call another."""
    rig = await memory_rig(nursery, [fault(500, "a"), fault(500, "b"), Reply(), Reply()], idempotency_keys=True)
    fetch = rig.engine.bind(LANE)
    put = HttpRequest(method="PUT", path="/x", safety="idempotent", body=b"1")
    await fetch(put)
    await fetch(put)
    keys = [seen.headers["idempotency-key"] for seen in rig.peer.seen]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert {event.idempotency_key for event in rig.told(Retried)} == {keys[0]}


async def test_w62_no_key_where_it_is_not_supported(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Without the endpoint's word no key is sent, and never for a read."""
    without = await memory_rig(nursery, [Reply()])
    await without.engine.bind(LANE)(POST)
    reading = await memory_rig(nursery, [Reply()], idempotency_keys=True)
    await reading.engine.bind(LANE)(GET)
    assert "idempotency-key" not in without.peer.seen[0].headers
    assert "idempotency-key" not in reading.peer.seen[0].headers


async def test_w69_provider_codes_come_first(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A code decides before any wording: 429 `insufficient_quota` is quota_exceeded, is not retried, pauses nothing."""
    rig = await memory_rig(nursery, [fault(429, "You exceeded your rate of tokens", "insufficient_quota")])
    with pytest.raises(Refused) as caught:
        await rig.engine.bind(LANE)(GET)
    assert (caught.value.kind, len(rig.peer.seen), rig.told(RateLimitHit)) == ("quota_exceeded", 1, [])


async def test_w70_expected_statuses_are_answers(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A status that the request expects comes back as an answer with its body."""
    rig = await memory_rig(nursery, [fault(404, "gone")])
    request = HttpRequest(method="GET", path="/files/f", safety="read", expected=frozenset({404}))
    answer = await rig.engine.bind(LANE)(request)
    assert (answer.status, json_body(answer)["error"]["message"]) == (404, "gone")


async def test_w71_credential_travels_in_a_header_only(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The credential is a header; it stands in no URL, event or error, even when the provider repeats it."""
    rig = await memory_rig(nursery, [fault(401, f"Incorrect API key provided: {SECRET}")])
    with pytest.raises(Refused) as caught:
        await rig.engine.bind(LANE)(HttpRequest(method="GET", path="/x?key=k1&a=1", safety="read"))
    [seen] = rig.peer.seen
    assert seen.headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in seen.target
    shown = f"{caught.value} {caught.value.__cause__} {rig.events} {rig.engine.resolve(LANE)!r}"
    assert SECRET not in shown
    assert "k1" not in shown


async def test_w71_credential_goes_to_the_providers_origin_only(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """An absolute URL gets the endpoint's headers on the provider's own scheme, host and port, and nowhere else."""
    rig = await memory_rig(nursery, [Reply()])
    for url in ("http://peer.test/up", "http://other.test/up", "http://peer.test:8080/up"):
        await rig.engine.bind(LANE)(HttpRequest(method="GET", path=url, safety="read"))
    assert ["authorization" in seen.headers for seen in rig.peer.seen] == [True, False, False]


async def test_missing_credential_sends_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """`CredentialMissing` from the resolver comes out of the call, before a queue is made."""

    def missing(lane: Lane) -> Endpoint:
        raise CredentialMissing(f"set OPENAI_API_KEY for credential {lane.credential!r}")

    engine = Engine(missing)
    with pytest.raises(CredentialMissing, match="'main'"):
        await engine.bind(LANE)(GET)
    assert engine.snapshot() == ()


async def test_closed_engine_sends_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """After `aclose` every call is `NotSent`."""
    rig = await memory_rig(nursery, [Reply()])
    await rig.engine.aclose()
    with pytest.raises(NotSent, match="closed"):
        await rig.engine.bind(LANE)(GET)
    assert rig.peer.seen == []


async def test_url_that_cannot_be_is_named(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A malformed absolute URL is the caller's mistake, said without its secrets."""
    rig = await memory_rig(nursery, [Reply()])
    with pytest.raises(InvalidRequest, match="redacted"):
        await rig.engine.bind(LANE)(HttpRequest(method="GET", path="https://h:99999999/?key=s3cret", safety="read"))


async def test_header_that_cannot_be_is_named(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A header value outside Latin-1 is the caller's mistake, said without the value."""
    rig = await memory_rig(nursery, [Reply()], headers={"authorization": f"Bearer {SECRET}\u2026"})
    with pytest.raises(InvalidRequest, match="'authorization'") as caught:
        await rig.engine.bind(LANE)(GET)
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"
    assert rig.peer.seen == []


async def test_repeated_run_has_the_same_waits(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Jitter comes from the random source that was given, so a seed repeats it; it is within 25 %."""
    waits: list[list[float]] = []
    for _ in range(2):
        rig = await memory_rig(nursery, [fault(500, "no"), fault(500, "no"), Reply()])
        await rig.engine.bind(LANE)(GET)
        waits.append([event.wait_s for event in rig.told(Retried)])
    assert waits[0] == waits[1]
    assert 0.375 <= waits[0][0] <= 0.625
    assert 0.75 <= waits[0][1] <= 1.25
    assert waits[0][0] == pytest.approx(0.5 * (0.75 + 0.5 * Random(7).random()))


async def test_retry_after_as_a_date_is_obeyed(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An HTTP date in `Retry-After` is read against the engine's wall clock."""
    rig = await memory_rig(nursery, [Reply()])
    now = rig.engine.wall_clock().replace(microsecond=0)
    rig.engine.wall_clock = lambda: now
    date = format_datetime(now + timedelta(seconds=40), usegmt=True)
    second = await memory_rig(nursery, [fault(503, "no", retry_after=date), Reply()])
    second.engine.wall_clock = rig.engine.wall_clock
    await second.engine.bind(LANE)(GET)
    assert [event.wait_s for event in second.told(Retried)] == [40.0]
