"""A queue of calls that wait for their turn: by priority, then in order of arrival.

Nothing runs in the background. Whoever changes something that matters (a call arrives, leaves or ends, a limit is
learnt, a pause begins) lets the queue admit all that may go; where only time is missing, the first call in line wakes
at the moment when it may go and looks again. So a call of higher priority is judged when it arrives, and a cancelled
one leaves at once.

The invariant: after every change, either nobody waits, or something that is under way will look again.
"""

from __future__ import annotations

import heapq
from collections import deque
from math import inf

import trio

from perdure.actors.fetch import NotSent
from perdure.adapters.network.config import Priority, QueueSettings
from perdure.adapters.network.limits import Limiter
from perdure.adapters.network.observation import QueueSnapshot
from perdure.adapters.network.rate_headers import RateReport


class ConnectionBudget:
    """How many requests may be under way over all queues. A queue that finds none left is served in turn."""

    def __init__(self, capacity: int) -> None:
        self.available = capacity
        self._waiting: deque[CallQueue] = deque()

    def try_take(self, queue: CallQueue) -> bool:
        """Takes one for `queue`, or notes that it wants one and says False."""
        if self.available > 0:
            self.available -= 1
            return True
        if queue not in self._waiting:
            self._waiting.append(queue)
        return False

    def release(self) -> None:
        """Gives one back; the queue that has waited longest for it looks again."""
        self.available += 1
        while self._waiting and self.available > 0:
            self._waiting.popleft().admit()


class _Waiter:
    """One call in line. Ordered by priority, then by ticket."""

    __slots__ = ("admitted", "changed", "failure", "gone", "order", "scope", "tokens")

    def __init__(self, order: tuple[int, int], tokens: int) -> None:
        self.order = order
        self.tokens = tokens
        self.changed = trio.Event()
        self.scope: trio.CancelScope | None = None
        self.admitted = False
        self.gone = False
        self.failure: NotSent | None = None

    def __lt__(self, other: _Waiter) -> bool:
        return self.order < other.order


class CallQueue:
    """One queue with its limits. `acquire` and `release` belong to each other as with a semaphore."""

    def __init__(self, name: str, settings: QueueSettings, budget: ConnectionBudget) -> None:
        self.name = name
        self.settings = settings
        self.in_flight = 0
        self.processed = 0
        self.peak_waiting = 0
        self.waiting = 0
        self._budget = budget
        self._line: list[_Waiter] = []
        self._tickets = 0
        self._limiter = Limiter(
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            requests_per_day=settings.requests_per_day,
            now=trio.current_time(),
        )

    def ticket(self) -> int:
        """A place in the order of arrival. A call keeps its own over all its attempts."""
        self._tickets += 1
        return self._tickets

    async def acquire(self, priority: Priority, ticket: int, tokens: int = 0) -> None:
        """Waits for a slot and for the limits, then counts one request of `tokens` tokens.

        A call with `Priority.RETRY` has been in before and is never turned away by a full queue. Returns without a
        checkpoint where there is room. Raises `NotSent`: the queue is full, or the request is larger than the token
        limit. Cancelled, the call has left the queue.
        """
        self._refuse_oversize(tokens)
        if not self.waiting and self._try_start(tokens, trio.current_time()):
            return
        if priority is not Priority.RETRY and self.waiting >= self.settings.max_waiting:
            raise NotSent(
                f"Queue full: {self.waiting} calls wait in queue {self.name!r}; try later or raise its max_waiting",
                retryable=True,
            )
        waiter = _Waiter((priority, ticket), tokens)
        heapq.heappush(self._line, waiter)
        self.waiting += 1
        self.peak_waiting = max(self.peak_waiting, self.waiting)
        settled = False
        try:
            self.admit()
            while not waiter.admitted and waiter.failure is None:
                with trio.CancelScope(deadline=self._alarm(waiter)) as waiter.scope:
                    await waiter.changed.wait()
                self.admit()
            settled = True
        finally:
            if not settled:
                self._abandon(waiter)
        if waiter.failure is not None:
            raise waiter.failure

    def release(self) -> None:
        """The request ended; its slot goes to the next in line."""
        self.in_flight -= 1
        self.processed += 1
        self._budget.release()
        self.admit()

    def pause(self, seconds: float) -> None:
        """Starts nothing for `seconds` from now."""
        self._limiter.pause_until(trio.current_time() + seconds)

    def learn(self, report: RateReport) -> None:
        """Takes over limits that an answer reported. They only tighten, so nobody could go because of them."""
        self._limiter.learn(report, trio.current_time())

    def admit(self) -> None:
        """Lets all go that may, in order. The first that must wait for time only is woken when the time comes."""
        while (waiter := self._first()) is not None:
            now = trio.current_time()
            if self._try_start(waiter.tokens, now):
                waiter.admitted = True
            elif self._limiter.wait_s(waiter.tokens, now) == inf:
                waiter.failure = self._oversize(waiter.tokens)
            else:
                if waiter.scope is not None:
                    waiter.scope.deadline = self._alarm(waiter)
                return
            self._leave(waiter)
            waiter.changed.set()

    def at_rest(self) -> bool:
        """Whether dropping this queue and making it anew would lose nothing but learnt limits that are not in force."""
        return not self.waiting and not self.in_flight and self._limiter.at_rest(trio.current_time())

    def snapshot(self) -> QueueSnapshot:
        """The queue at this moment."""
        now = trio.current_time()
        return QueueSnapshot(
            queue=self.name,
            waiting=self.waiting,
            in_flight=self.in_flight,
            available=max(0, self.settings.concurrency - self.in_flight),
            wait_s=self._limiter.wait_s(0, now),
            paused_s=self._limiter.paused_s(now),
            processed=self.processed,
            peak_waiting=self.peak_waiting,
        )

    def _try_start(self, tokens: int, now: float) -> bool:
        """All or nothing: a slot, every bucket, a connection."""
        if self.in_flight >= self.settings.concurrency or self._limiter.wait_s(tokens, now) > 0:
            return False
        if not self._budget.try_take(self):
            return False
        self._limiter.take(tokens, now)
        self.in_flight += 1
        return True

    def _alarm(self, waiter: _Waiter) -> float:
        """When `waiter` must look again by itself: only the first in line, and only where time alone is missing."""
        if waiter is not self._first() or self.in_flight >= self.settings.concurrency:
            return inf
        now = trio.current_time()
        wait = self._limiter.wait_s(waiter.tokens, now)
        return now + wait if wait > 0 else inf

    def _first(self) -> _Waiter | None:
        while self._line and self._line[0].gone:
            heapq.heappop(self._line)
        return self._line[0] if self._line else None

    def _leave(self, waiter: _Waiter) -> None:
        waiter.gone = True
        self.waiting -= 1
        # Those that left from the middle stay in the heap until they surface; not more of them than of the others.
        if len(self._line) > 2 * self.waiting + 16:
            self._line = [other for other in self._line if not other.gone]
            heapq.heapify(self._line)

    def _abandon(self, waiter: _Waiter) -> None:
        if waiter.admitted:
            self.release()
        elif not waiter.gone:
            self._leave(waiter)
            self.admit()

    def _refuse_oversize(self, tokens: int) -> None:
        if tokens > self._limiter.token_capacity():
            raise self._oversize(tokens)

    def _oversize(self, tokens: int) -> NotSent:
        return NotSent(
            f"a request of {tokens} tokens never fits queue {self.name!r}, whose token limit is"
            f" {self._limiter.token_capacity():g} a minute; make the request smaller or raise the limit"
        )
