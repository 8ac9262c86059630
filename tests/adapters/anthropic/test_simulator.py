"""The adapter against the simulator, over the network engine and real sockets, and what providers do wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from msgspec import Struct

from perdure.actors.fetch import Fetch, Refused, Unknown
from perdure.actors.lane import Lane
from perdure.actors.remote_files import RemoteFile
from perdure.adapters.anthropic import AnthropicFiles, AnthropicLive, authorize
from perdure.adapters.network import Endpoint, Engine
from perdure.adapters.simulator import ANTHROPIC_PREFIX, Clock, Simulator, faults
from perdure.adapters.simulator.faults import AnyRouteFault
from perdure.events.messages import Document, Image, Inline, Message, Part, ProviderRef, Text
from perdure.events.requests import Answer, Prompt
from tests.adapters.anthropic.test_files import upload_of
from tests.adapters.simulator.bench import assert_keeps_no_key
from tests.secrets import unique_key, wrong_key

pytestmark = pytest.mark.trio

FILES, LIVE = AnthropicFiles(page_size=3), AnthropicLive()
NOW_S = 1_795_190_400.0
NOW = int(NOW_S) * 1_000_000
UPLOAD = "POST /anthropic/v1/files"
ASK = "POST /anthropic/v1/messages"


class Rig(Struct):
    """A simulator on a clock that only tests move, and a way to it."""

    simulator: Simulator
    fetch: Fetch

    async def upload(
        self, data: bytes = b"words", filename: str = "a.txt", mime_type: str = "text/plain"
    ) -> RemoteFile:
        """Stores a file."""
        return await FILES.upload(self.fetch, upload_of(data, filename=filename, mime_type=mime_type))

    async def ask(self, prompt: Prompt) -> Answer:
        """The answer to a prompt."""
        rendered = LIVE.render(prompt, LIVE.live_endpoints[0])
        body = json.dumps(rendered.body).encode()
        given = await LIVE.ask(self.fetch, endpoint=rendered.url, model=prompt.model, body=body)
        answer = LIVE.read(rendered.url, given)
        assert isinstance(answer, Answer)
        return answer

    def bought(self) -> list[str]:
        """What was bought."""
        return [str(purchase.kind) for purchase in self.simulator.account.purchases()]


@asynccontextmanager
async def rig(*, key: str | None = None) -> AsyncGenerator[Rig]:
    """A rig; the test ends after a minute in any case."""
    with trio.fail_after(60), Simulator(clock=Clock(lambda: NOW_S)) as simulator:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            endpoint = Endpoint(base_url=bound.url + ANTHROPIC_PREFIX, headers=authorize(key or unique_key()))
            engine = Engine(lambda lane: endpoint, random=Random(7))
            await nursery.start(engine.run)
            yield Rig(simulator, engine.bind(Lane("", "anthropic", "default", "files")))
            nursery.cancel_scope.cancel()
        assert_keeps_no_key(simulator)


async def test_a_file_is_stored_shown_listed_and_deleted() -> None:
    async with rig() as it:
        stored = await it.upload()
        assert stored == RemoteFile(
            id=stored.id, reference=stored.id, filename="a.txt", size_bytes=5, created_at=NOW, mime_type="text/plain"
        )
        assert await FILES.info(it.fetch, stored.id) == stored
        assert [file async for file in FILES.listing(it.fetch)] == [stored]
        await FILES.delete(it.fetch, stored.id)
        await FILES.delete(it.fetch, stored.id)
        assert await FILES.info(it.fetch, stored.id) is None


async def test_w55_every_page_is_read_for_a_listing_and_for_a_search() -> None:
    async with rig() as it:
        stored = [(await it.upload(filename=f"{n % 2}.txt")).id for n in range(8)]
        assert [file.id async for file in FILES.listing(it.fetch)] == stored[::-1]
        found = await FILES.find(it.fetch, filename="1.txt", size_bytes=5, since=NOW)
        assert [file.id for file in found] == stored[1::2]
        assert len(it.simulator.traffic.requests()) == 8 + 3 + 3


async def test_an_upload_whose_answer_was_lost_is_found_again_and_not_sent_twice() -> None:
    async with rig() as it:
        it.simulator.faults.arm(faults.ActThenDrop(route=UPLOAD))
        with pytest.raises(Unknown):
            await it.upload(b"words", filename="log-1-0.txt")
        (found,) = await FILES.find(it.fetch, filename="log-1-0.txt", size_bytes=5, since=NOW)
        assert await FILES.info(it.fetch, found.id) == found
        assert it.bought() == ["file"]


@pytest.mark.parametrize(
    "fault",
    [
        faults.Truncate(route=UPLOAD, after_bytes=20),
        faults.Truncate(route=UPLOAD, after_bytes=20, clean=True),
        faults.WrongContentType(route=UPLOAD, body="<html>"),
        faults.AnswerStatus(route=UPLOAD, status=504, act=True),
        faults.AnswerStatus(route=UPLOAD, status=500, act=True),
    ],
    ids=["cut", "cut clean", "web page", "504", "500"],
)
async def test_every_other_lost_answer_is_unknown_too(fault: AnyRouteFault) -> None:
    async with rig() as it:
        it.simulator.faults.arm(fault)
        with pytest.raises(Unknown):
            await it.upload()
        assert it.bought() == ["file"]


async def test_an_overloaded_service_is_asked_again_and_nothing_is_bought_twice() -> None:
    async with rig() as it:
        again = {"retry-after-ms": "1"}
        it.simulator.faults.arm(faults.AnswerStatus(route=ASK, status=529, headers=again, count=2))
        await it.ask(Prompt("hello", model="m"))
        assert [seen.status for seen in it.simulator.traffic.requests()] == [529, 529, 200]
        assert it.bought() == ["text"]


@pytest.mark.parametrize("route", [UPLOAD, ASK], ids=["upload", "message"])
async def test_a_service_that_stays_overloaded_proves_that_nothing_was_bought(route: str) -> None:
    async with rig() as it:
        it.simulator.faults.arm(
            faults.AnswerStatus(route=route, status=529, headers={"retry-after-ms": "1"}, count=None)
        )
        with pytest.raises(Refused) as refused:
            await (it.upload() if route == UPLOAD else it.ask(Prompt("hello", model="m")))
        said = refused.value
        assert (said.kind, said.status, said.provider_code) == ("server_error", 529, "overloaded_error")
        assert said.retryable
        assert it.bought() == []


async def test_a_long_wait_is_told_and_not_slept_through() -> None:
    async with rig() as it:
        it.simulator.faults.arm(faults.AnswerStatus(route=ASK, status=429, headers={"retry-after": "3600"}))
        with pytest.raises(Refused) as refused:
            await it.ask(Prompt("hello", model="m"))
        assert (refused.value.kind, refused.value.retry_after_s) == ("rate_limit", 3_600.0)
        assert refused.value.provider_request_id is not None
        assert len(it.simulator.traffic.requests()) == 1


async def test_a_refused_key_is_told_as_such() -> None:
    async with rig(key=wrong_key()) as it:
        with pytest.raises(Refused) as refused:
            await it.upload()
        assert (refused.value.kind, refused.value.provider_code) == ("auth", "authentication_error")


async def test_a_prompt_with_files_is_answered() -> None:
    async with rig() as it:
        notes = await it.upload(b"1234567")
        picture = await it.upload(b"123", filename="a.png", mime_type="image/png")
        parts: list[Part] = [
            Text("look"),
            Document(ProviderRef("anthropic", notes.reference, "text/plain"), filename="a.txt"),
            Image(ProviderRef("anthropic", picture.reference, "image/png")),
            Image(Inline(b"12", "image/webp")),
            Document(Inline(b"words", "text/plain")),
        ]
        answer = await it.ask(Prompt([Message("user", parts)], model="m-1", instructions="be kind"))
        assert answer.text.split("] ", 1)[1] == (
            "look\n[document text/plain 7 bytes]\n[image image/png 3 bytes]\n[image image/webp 2 bytes]\n"
            "[document text/plain 5 bytes]"
        )
        assert (answer.finish_reason, answer.model) == ("end_turn", "m-1")
        assert answer.usage is not None
        assert answer.usage.cached_tokens == 0
        assert it.bought() == ["file", "file", "text"]


async def test_w54_a_file_that_is_gone_is_told_by_404() -> None:
    async with rig() as it:
        file = await it.upload()
        prompt = Prompt([Message("user", [Document(ProviderRef("anthropic", file.reference, ""))])], model="m")
        await FILES.delete(it.fetch, file.id)
        with pytest.raises(Refused) as refused:
            await it.ask(prompt)
        assert (refused.value.kind, refused.value.status) == ("not_found", 404)
        assert it.bought() == ["file"]


async def test_a_model_that_does_not_exist_is_told_as_such() -> None:
    async with rig() as it:
        with pytest.raises(Refused) as refused:
            await it.ask(Prompt("hello", model="nope"))
        assert refused.value.kind == "model_not_found"
