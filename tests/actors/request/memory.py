"""A live provider in memory: a network that passes the real one's crash points, an account, a say in what fails."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal

import trio

from perdure.actors.fetch import Fetch, FetchError, HttpAnswer, HttpRequest, HttpStream
from perdure.actors.lane import Lane
from perdure.actors.resolving import ProviderFacts
from perdure.events.requests import Answer, LineError, Prompt, RawRequest
from perdure.store.crash_points import crash_point

NAME: Final = "memory"
ENDPOINT: Final = "/v1/answers"

When = Literal["not sent", "refused", "lost"]
"""Where a call fails: before its intent, after it and before anything was done, or after it was done and paid for."""


class World:
    """Everything outside. An answer takes `answer_s` of trio's clock, is paid for before that, and says `text` of what
    was asked."""

    def __init__(self, *, answer_s: float = 1.0) -> None:
        self.answer_s = answer_s
        self.account: list[bytes] = []
        """The body of everything that was paid for, oldest first."""
        self.asked_at: list[float] = []
        """When each call that was let out was made, in seconds of trio's clock."""
        self.failures: list[tuple[When, FetchError]] = []
        """What the next calls come to."""
        self.answer: Callable[[bytes], bytes] = lambda body: json.dumps({"text": f"re: {len(body)}"}).encode()
        self.alive: Callable[[], None] = lambda: None
        """Called before anything is done: raises when the process that asks has died."""

    def fail(self, when: When, error: FetchError, *, times: int = 1) -> None:
        """Has the next `times` calls fail."""
        self.failures.extend((when, error) for _ in range(times))


class MemoryNetwork:
    """The `Network` port over a `World`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def bind(self, lane: Lane, *, trace: str = "", before_send: Callable[[], Awaitable[None]] | None = None) -> Fetch:
        """See `Network.bind`."""
        assert lane.traffic == "live"
        return MemoryFetch(self.world, before_send)


class MemoryFetch:
    """The `Fetch` port over a `World`."""

    def __init__(self, world: World, before_send: Callable[[], Awaitable[None]] | None) -> None:
        self._world = world
        self._before_send = before_send

    async def __call__(self, request: HttpRequest) -> HttpAnswer:
        """See `Fetch`."""
        world = self._world
        assert request.safety == "create"
        assert isinstance(request.body, bytes)
        world.alive()
        when, error = world.failures.pop(0) if world.failures else (None, None)
        await trio.lowlevel.checkpoint()
        if error is not None and when == "not sent":
            raise error
        assert self._before_send is not None
        await self._before_send()
        world.asked_at.append(trio.current_time())
        crash_point("send.before")
        if error is not None and when == "refused":
            raise error
        crash_point("send.after_last_byte")
        world.alive()
        world.account.append(request.body)
        await trio.sleep(world.answer_s)
        if error is not None:
            raise error
        crash_point("answer.received")
        return HttpAnswer(200, {}, world.answer(request.body))

    def stream(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpStream]:
        """See `Fetch.stream`: live answers come whole."""
        raise AssertionError(request)


class MemoryLive:
    """Implements `LiveProvider` over a `Fetch`."""

    def __init__(self) -> None:
        self.name: str = NAME
        self.live_endpoints: Sequence[str] = (ENDPOINT,)

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `LiveProvider`."""
        return RawRequest(endpoint, {"model": prompt.model, "input": prompt.content}, custom_id=prompt.custom_id)

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """See `LiveProvider`."""
        return str(body.get("model", ""))

    def shows(self, endpoint: str) -> ProviderFacts:
        """It can be shown nothing but words."""
        return ProviderFacts(provider=NAME, references=(), max_bytes=0, inline=(), max_inline_bytes=0)

    async def ask(self, fetch: Fetch, *, endpoint: str, model: str, body: bytes) -> bytes:
        """See `LiveProvider`."""
        answer = await fetch(HttpRequest(method="POST", path=endpoint, safety="create", model=model, body=body))
        return answer.body

    def read(self, endpoint: str, body: bytes) -> Answer | LineError:
        """See `LiveProvider`."""
        value = json.loads(body)
        if "text" not in value:
            return LineError("unreadable_answer", "there is no text in it", 200)
        return Answer(value["text"], None, "stop", "m", body)
