"""Turns: priority, bounds, limits over time, cancellation. On a jumping clock."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from perdure.actors.fetch import HttpRequest, NotSent, Refused
from perdure.actors.lane import Lane
from perdure.adapters.network import (
    DEFAULT_QUEUES,
    Endpoint,
    Engine,
    EngineSettings,
    Priority,
    QueueSettings,
    QueueTimedOut,
    RateLimitLearnt,
    RetryOverride,
)
from perdure.adapters.network.config import default_queue
from perdure.adapters.network.queue import CallQueue, ConnectionBudget
from tests.adapters.network.peer import LANE, Answer, Raw, Reply, Seen, fault, memory_rig

pytestmark = pytest.mark.trio

LOW, BACKGROUND, INTERACTIVE, RETRY = Priority.LOW, Priority.BACKGROUND, Priority.INTERACTIVE, Priority.RETRY


def make(*, concurrency: int = 16, max_waiting: int = 100, tokens_per_minute: int | None = None) -> CallQueue:
    settings = QueueSettings(concurrency=concurrency, max_waiting=max_waiting, tokens_per_minute=tokens_per_minute)
    return CallQueue("q", settings, ConnectionBudget(1000))


class Line:
    """Calls by name that wait for a queue, the names in the order in which they got their turn, and when."""

    def __init__(self, nursery: trio.Nursery, queue: CallQueue) -> None:
        self._nursery = nursery
        self.queue = queue
        self.admitted: list[str] = []
        self.at: dict[str, float] = {}
        self.scopes: dict[str, trio.CancelScope] = {}

    async def join(self, name: str, priority: Priority = BACKGROUND, tokens: int = 0) -> None:
        """Lines up a call, and returns when it has its turn or waits."""
        self._nursery.start_soon(self.take_turn, name, priority, tokens)
        await wait_all_tasks_blocked()

    async def take_turn(self, name: str, priority: Priority, tokens: int) -> None:
        """Waits for the turn of one call and notes it."""
        with trio.CancelScope() as self.scopes[name]:
            await self.queue.acquire(priority, self.queue.ticket(), tokens)
            self.admitted.append(name)
            self.at[name] = trio.current_time()


async def test_n20_first_come_first_served_within_a_priority(nursery: trio.Nursery) -> None:
    """Of equal priority the first to come goes first."""
    line = Line(nursery, make(concurrency=1))
    for name in "abcd":
        await line.join(name)
    for _ in range(3):
        line.queue.release()
        await wait_all_tasks_blocked()
    assert line.admitted == ["a", "b", "c", "d"]


async def test_n20_lower_number_goes_first(nursery: trio.Nursery) -> None:
    """A retry goes before interactive calls, these before background ones, these before low ones."""
    line = Line(nursery, make(concurrency=1))
    await line.join("running")
    for priority in (LOW, BACKGROUND, INTERACTIVE, RETRY):
        await line.join(priority.name, priority)
    for _ in range(4):
        line.queue.release()
        await wait_all_tasks_blocked()
    assert line.admitted == ["running", "RETRY", "INTERACTIVE", "BACKGROUND", "LOW"]


async def test_n20_full_queue_refuses(nursery: trio.Nursery) -> None:
    """A full queue raises `NotSent` "Queue full" with the number that wait, and its length tracks."""
    line = Line(nursery, make(concurrency=1, max_waiting=2))
    for name in "abc":
        await line.join(name)
    assert line.queue.snapshot().waiting == 2
    with pytest.raises(NotSent, match="Queue full: 2 calls wait"):
        await line.queue.acquire(INTERACTIVE, line.queue.ticket())
    nursery.cancel_scope.cancel()


async def test_n20_expired_call_times_out_in_the_queue(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A call whose deadline passes in the queue is `NotSent` "timed out in queue", and others keep their places."""
    rig = await memory_rig(nursery, [Raw(then="hang")], queue=QueueSettings(concurrency=1))
    nursery.start_soon(rig.engine.bind(LANE), HttpRequest(method="GET", path="/", safety="read"))
    await wait_all_tasks_blocked()
    with pytest.raises(NotSent, match="timed out in queue"):
        await rig.engine.bind(LANE)(HttpRequest(method="GET", path="/", safety="read", deadline_s=3))
    assert rig.engine.snapshot()[0].waiting == 0
    nursery.cancel_scope.cancel()


async def test_n21_slots_are_a_semaphore(nursery: trio.Nursery) -> None:
    """Immediate while there are slots; then waits until one is given back; the snapshot counts them."""
    line = Line(nursery, make(concurrency=2))
    await line.join("a")
    await line.join("b")
    assert (line.admitted, line.queue.snapshot().available) == (["a", "b"], 0)
    await line.join("c")
    assert line.admitted == ["a", "b"]
    line.queue.release()
    await wait_all_tasks_blocked()
    assert (line.admitted, line.queue.snapshot().available) == (["a", "b", "c"], 0)
    line.queue.release()
    assert line.queue.snapshot().available == 1


async def test_w58_only_the_deadline_bounds_waiting(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A burst of 2,000 calls goes through the default queue; none is refused for having waited long."""
    done: list[int] = []

    async def slow(seen: Seen) -> Answer:
        await trio.sleep(1)
        return Reply()

    rig = await memory_rig(nursery, slow)
    request = HttpRequest(method="POST", path="/images", safety="create", deadline_s=1000)

    async def one(number: int) -> None:
        await rig.engine.bind(LANE)(request)
        done.append(number)

    async with trio.open_nursery() as burst:
        for number in range(2000):
            burst.start_soon(one, number)
    assert (len(done), rig.told(QueueTimedOut)) == (2000, [])
    assert trio.current_time() > 100


async def test_w58_defaults_by_provider_and_traffic() -> None:
    """Each traffic class has its own defaults, a provider may differ, and no rate is guessed."""
    live = default_queue(DEFAULT_QUEUES, "openai", "live")
    files = default_queue(DEFAULT_QUEUES, "openai", "files")
    assert live.concurrency > files.concurrency
    assert live.priority < files.priority
    assert default_queue(DEFAULT_QUEUES, "google", "live") != live
    assert default_queue(DEFAULT_QUEUES, "nobody", "nothing") == QueueSettings()
    assert {queue.requests_per_minute for queue in DEFAULT_QUEUES.values()} == {None}
    await trio.lowlevel.checkpoint()


async def test_w64_cancelled_entry_leaves_the_queue(nursery: trio.Nursery) -> None:
    """A cancelled call leaves at once, and whoever it held up goes on."""
    line = Line(nursery, make(concurrency=2, tokens_per_minute=100))
    await line.join("a", tokens=60)
    await line.join("too large for now", tokens=60)
    await line.join("small", tokens=10)
    assert line.queue.snapshot().waiting == 2
    line.scopes["too large for now"].cancel()
    await wait_all_tasks_blocked()
    assert (line.admitted, line.queue.snapshot().waiting) == (["a", "small"], 0)


async def test_w64_cancelled_attempt_frees_its_slot(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Cancellation in flight and in back-off ends the call without a retry, and frees slot and connection."""
    rig = await memory_rig(nursery, [Raw(then="hang"), fault(500, "no")])
    for after_s in (0.1, 0.1):
        with trio.move_on_after(after_s) as scope:
            await rig.engine.bind(LANE)(HttpRequest(method="GET", path="/", safety="read"))
        assert scope.cancelled_caught
        assert rig.engine.snapshot()[0].in_flight == 0
    await wait_all_tasks_blocked()
    assert len(rig.peer.seen) == 2
    assert rig.peer.open_connections == 1  # the one that hung was closed, the one that answered idles


async def test_w64_cancelled_at_the_moment_of_its_turn(nursery: trio.Nursery) -> None:
    """A call that is cancelled just when it is admitted gives its slot on."""
    line = Line(nursery, make(concurrency=1))
    for name in "abc":
        await line.join(name)
    line.scopes["b"].cancel()
    line.queue.release()
    await wait_all_tasks_blocked()
    assert line.admitted == ["a", "c"]
    assert (line.queue.waiting, line.queue.in_flight) == (0, 1)


async def test_w64_next_in_line_is_woken_in_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """When the first in line is cancelled, the next one goes as soon as the limits allow it, and not later."""
    line = Line(nursery, make(tokens_per_minute=60))
    start = trio.current_time()
    await line.join("all", tokens=60)
    await line.join("large", tokens=60)
    await line.join("small", tokens=10)
    line.scopes["large"].cancel()
    await trio.sleep(100)
    assert line.at["small"] - start == pytest.approx(10)


async def test_w65_each_entry_has_its_own_timer(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Each waiting call ends at its own deadline, with an event, though nobody is served in between."""
    rig = await memory_rig(nursery, [Raw(then="hang")], queue=QueueSettings(concurrency=1))
    nursery.start_soon(rig.engine.bind(LANE), HttpRequest(method="GET", path="/", safety="read", deadline_s=500))
    await wait_all_tasks_blocked()
    ended: list[tuple[float, float]] = []

    async def wait(deadline_s: float) -> None:
        with pytest.raises(NotSent):
            await rig.engine.bind(LANE)(HttpRequest(method="GET", path="/", safety="read", deadline_s=deadline_s))
        ended.append((deadline_s, trio.current_time() - start))

    start = trio.current_time()
    async with trio.open_nursery() as waiting:
        for deadline_s in (30.0, 10.0, 20.0):
            waiting.start_soon(wait, deadline_s)
    assert [deadline for deadline, _ in ended] == [10, 20, 30]
    assert [at for _, at in ended] == pytest.approx([10, 20, 30])
    assert [event.waited_s for event in rig.told(QueueTimedOut)] == pytest.approx([10, 20, 30])
    nursery.cancel_scope.cancel()


async def test_w66_arrival_of_higher_priority_is_judged_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """While the first in line waits for tokens, a call of higher priority that fits goes at once."""
    line = Line(nursery, make(concurrency=9, tokens_per_minute=60))
    queue = line.queue
    await queue.acquire(BACKGROUND, queue.ticket(), 50)
    start = trio.current_time()
    nursery.start_soon(line.take_turn, "large", BACKGROUND, 40)
    await trio.lowlevel.checkpoint()
    nursery.start_soon(line.take_turn, "urgent", INTERACTIVE, 5)
    await trio.sleep(100)
    assert line.admitted == ["urgent", "large"]
    assert line.at["urgent"] == start
    assert line.at["large"] - start == pytest.approx(35)


async def test_w66_oversize_is_refused(nursery: trio.Nursery) -> None:
    """A request larger than the token limit is refused at once and can never pass."""
    queue = make(tokens_per_minute=100)
    with pytest.raises(NotSent, match="101 tokens never fits") as caught:
        await queue.acquire(BACKGROUND, queue.ticket(), 101)
    assert not caught.value.retryable


async def test_w66_waiting_request_that_became_oversize_is_refused(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """When an answer says that the limit is lower than thought, a request that now never fits does not block others."""
    headers = {"x-ratelimit-limit-tokens": "50", "x-ratelimit-remaining-tokens": "50"}

    async def slow(seen: Seen) -> Answer:
        await trio.sleep(1)
        return Reply(headers=headers)

    rig = await memory_rig(nursery, slow, queue=QueueSettings(concurrency=1))
    nursery.start_soon(rig.engine.bind(LANE), HttpRequest(method="GET", path="/", safety="read"))
    await wait_all_tasks_blocked()
    with pytest.raises(NotSent, match="80 tokens never fits"):
        await rig.engine.bind(LANE)(HttpRequest(method="GET", path="/", safety="read", estimated_tokens=80))
    assert rig.told(RateLimitLearnt)[0].tokens_remaining == 50


async def test_w67_429_pauses_the_whole_queue(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """After a 429 no call of the queue starts before `Retry-After`, though no rate is configured; other queues do."""
    rig = await memory_rig(nursery, [fault(429, "slow", retry_after="40"), Reply()])
    fetch = rig.engine.bind(LANE, retry=RetryOverride(max_retries=0))
    read = HttpRequest(method="GET", path="/", safety="read")
    with pytest.raises(Refused):
        await fetch(read)
    start = trio.current_time()
    assert rig.engine.snapshot()[0].paused_s == pytest.approx(40)
    await rig.engine.bind(Lane("acme", "openai", "main", "files"))(read)
    assert trio.current_time() == start
    await fetch(read)
    assert trio.current_time() - start == pytest.approx(40)


async def test_w67_headers_slow_the_queue_down(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An answer that says nothing remains until a reset makes the next call wait."""
    headers = {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m40s",
    }
    rig = await memory_rig(nursery, [Reply(headers=headers), Reply()])
    start = trio.current_time()
    for _ in range(2):
        await rig.engine.bind(LANE)(HttpRequest(method="GET", path="/", safety="read"))
    assert trio.current_time() - start == pytest.approx(10)


async def test_w68_retry_keeps_its_place(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A retry enters a full queue, and before those that came earlier than it returned."""
    order: list[str] = []

    async def answer(seen: Seen) -> Answer:
        order.append(seen.target)
        await trio.sleep(1)
        return fault(500, "once") if order == ["/v1/first"] else Reply()

    rig = await memory_rig(nursery, answer, queue=QueueSettings(concurrency=1, max_waiting=2))
    async with trio.open_nursery() as calls:
        for name in ("first", "second", "third"):
            calls.start_soon(rig.engine.bind(LANE), HttpRequest(method="GET", path=f"/{name}", safety="read"))
            await wait_all_tasks_blocked()
        await trio.sleep(1.2)  # the first has failed and waits to return; its place in line is taken
        calls.start_soon(rig.engine.bind(LANE), HttpRequest(method="GET", path="/fourth", safety="read"))
    assert order == ["/v1/first", "/v1/second", "/v1/first", "/v1/third", "/v1/fourth"]


async def test_priority_of_a_binding(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The priority given to `bind` goes before the queue's."""

    async def slow(seen: Seen) -> Answer:
        await trio.sleep(1)
        return Reply()

    rig = await memory_rig(nursery, slow, queue=QueueSettings(concurrency=1))
    async with trio.open_nursery() as calls:
        for path, priority in (("/1", None), ("/2", LOW), ("/3", None), ("/4", INTERACTIVE)):
            fetch = rig.engine.bind(LANE, priority=priority)
            calls.start_soon(fetch, HttpRequest(method="GET", path=path, safety="read"))
            await wait_all_tasks_blocked()
    assert [seen.target for seen in rig.peer.seen] == ["/v1/1", "/v1/4", "/v1/3", "/v1/2"]


async def test_connections_are_bounded_over_all_queues(nursery: trio.Nursery) -> None:
    """One budget bounds what is under way; queues that want more are served in turn."""
    budget = ConnectionBudget(1)
    lines = [Line(nursery, CallQueue(name, QueueSettings(), budget)) for name in ("x", "y")]
    for line, calls in zip(lines, (3, 2), strict=True):
        for number in range(calls):
            await line.join(str(number))
    turns: list[tuple[int, int]] = []
    for line in (lines[0], lines[0], lines[1], lines[0], lines[1]):
        turns.append((len(lines[0].admitted), len(lines[1].admitted)))
        line.queue.release()
        await wait_all_tasks_blocked()
    assert turns == [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2)]
    assert budget.available == 1


async def test_random_cancellations_leave_nothing_behind(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """However calls come, are cancelled and end, no slot, connection or place is lost."""
    random = Random(11)
    budget = ConnectionBudget(5)
    queues = [
        CallQueue(name, QueueSettings(concurrency=3, requests_per_minute=600, tokens_per_minute=6000), budget)
        for name in "abc"
    ]
    highest = 0

    async def call(queue: CallQueue) -> None:
        nonlocal highest
        with trio.move_on_after(random.uniform(0, 4)):
            await queue.acquire(random.choice(list(Priority)), queue.ticket(), random.randrange(100))
            try:
                highest = max(highest, 5 - budget.available)
                await trio.sleep(random.uniform(0, 1))
            finally:
                queue.release()

    async with trio.open_nursery() as calls:
        for _ in range(600):
            calls.start_soon(call, random.choice(queues))
            await trio.sleep(random.uniform(0, 0.05))
    assert (budget.available, highest) == (5, 5)
    assert [(queue.waiting, queue.in_flight) for queue in queues] == [(0, 0)] * 3
    assert sum(queue.processed for queue in queues) > 100


async def test_queues_at_rest_are_forgotten(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Names contain models, which callers choose: used up and idle, they do not pile up."""
    rig = await memory_rig(nursery, [Reply()])
    for number in range(1100):
        request = HttpRequest(method="GET", path="/", safety="read", model=f"m{number}")
        await rig.engine.bind(LANE)(request)
    assert len(rig.engine.snapshot()) <= 1024


async def test_settings_by_name_win(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A queue with settings under its own name uses them; `defaults` are for the others."""
    settings = EngineSettings(queues={"special": QueueSettings(concurrency=2)})
    engine = Engine(lambda lane: Endpoint(base_url="http://peer.test", queue=lane.traffic), settings=settings)
    for traffic in ("special", "batch"):
        with trio.move_on_after(0), pytest.raises(NotSent):
            await engine.bind(Lane("", "openai", "", traffic))(
                HttpRequest(method="GET", path="/", safety="read", deadline_s=0)
            )
    assert {queue.queue: queue.available for queue in engine.snapshot()} == {"special": 2, "batch": 8}
