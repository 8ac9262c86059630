"""From requests to answers: what every process gets, and what a stop leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from trio.abc import Clock

from perdure.actors.batch.opening import Polling
from perdure.actors.batch.views import BatchHandle
from perdure.events.errors import NotFound, OperationCancelled, OperationExpired, Timeout
from perdure.events.requests import Prompt
from tests.actors.batch.looking import codes, lines_of, payloads, submit, types_of
from tests.actors.batch.memory import NAME, World, prompts
from tests.actors.batch.rig import serving, verified

pytestmark = pytest.mark.trio


async def test_b1_b3_b4_from_submission_to_answers_by_custom_id(tmp_path: Path, clock: Clock) -> None:
    """B-1, B-3, B-4: submitting returns a handle at once; its status and progress follow the provider; the answers come
    by custom id, with text and the provider's own body."""
    world = World()
    async with serving(tmp_path / "p.db", world) as service:
        started = trio.current_time()
        handle = await submit(service)
        assert trio.current_time() == started, "nothing is waited for"
        assert (handle.provider, handle.status, handle.key) == (NAME, "pending", "k")
        await trio.sleep(50)
        assert await handle.refresh() == "running"
        summary = await handle.result()
        assert (summary.lines, summary.ok, summary.failed) == (4, 4, 0)
        line = await handle.line("r-2")
        assert (line.index, line.ok) == (2, True)
        assert line.answer is not None
        assert line.answer.text == "re: question 2"
        assert line.answer.body() == {"id": f"{handle.id}-2", "text": "re: question 2"}
        submitted = await payloads(handle, "BatchSubmitted")
        assert [event["provider_batch"] for event in submitted] == world.sold("batch")
        await verified(service)


async def test_b2_progress_shows_the_terminal_status(tmp_path: Path, clock: Clock) -> None:
    """B-2: who watches the progress sees how it ends, and then no more."""
    async with serving(tmp_path / "p.db", World()) as service:
        handle = await submit(service)
        seen = [progress async for progress in handle.progress_updates()]
        assert seen[0].status == "pending"
        assert (seen[-1].status, seen[-1].done, seen[-1].total) == ("succeeded", 4, 4)


async def test_b5_results_before_the_end_wait(tmp_path: Path, clock: Clock) -> None:
    """B-5: asked for too early, `results`, `line` and `result` do not raise: perdure waits. Only a time limit of the
    caller's own ends the wait, and then the operation goes on."""
    async with serving(tmp_path / "p.db", World(batch_s=100)) as service:
        handle = await submit(service)
        with pytest.raises(Timeout, match="it goes on"):
            await handle.result(timeout_s=1)
        with trio.move_on_after(1) as limit:
            await handle.line("r-0")
        assert limit.cancelled_caught
        assert (await handle.line("r-0")).ok
        assert trio.current_time() >= 100
        assert len(await lines_of(handle)) == 4
        with pytest.raises(NotFound):
            await handle.line("r-9")


async def test_b26_the_log_lists_every_line_before_any_is_sent(tmp_path: Path, clock: Clock) -> None:
    """B-26: every custom id is in the log, with its place and its bytes, before the provider hears of the batch."""
    world = World()
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 2_500)
        assert not world.asked
        collected = await payloads(handle, "LinesCollected")
        assert [name for run in collected for name in run["names"]] == [f"r-{number}" for number in range(2_500)]
        assert [run["first"] for run in collected] == [0, 1_000, 2_000]


async def test_b33_w1_w2_w19_every_later_process_has_every_answer_once(tmp_path: Path, clock: Clock) -> None:
    """B-33, W-1, W-2, W-19: after a restart the operation goes on, and whoever asks, by id or by key, as often as they
    like, gets every answer with its payload, each once."""
    world, path = World(), tmp_path / "p.db"
    async with serving(path, world) as service:
        handle = await submit(service, 30)
        await trio.sleep(20)
        assert handle.status in ("pending", "running")
    async with serving(path, world) as service:
        first = await service.get(handle.id)
        assert isinstance(first, BatchHandle)
        answers = [line.answer for line in await lines_of(first)]
        assert [answer.text for answer in answers if answer] == [f"re: question {number}" for number in range(30)]
    async with serving(path, world) as service:
        again = await service.find("k")
        assert isinstance(again, BatchHandle)
        assert [line.answer for line in await lines_of(again)] == answers
        assert sorted(line.index for line in await lines_of(again, order="arrival")) == list(range(30))
        assert (await types_of(again)).count("ResultsTaken") == 1
    assert world.bought_twice() == []
    assert world.asked["results"] == 1


async def test_w3_a_stop_leaves_the_window_in_the_log_and_no_caller_without_an_answer(
    tmp_path: Path, clock: Clock
) -> None:
    """W-3: what was collected when the service stops stays collected; the same key goes on with it."""
    world, path = World(), tmp_path / "p.db"
    async with serving(path, world) as service:

        async def cut_off() -> None:
            def source() -> Iterator[Prompt]:
                yield from prompts(1_500)
                raise OSError("the input went away")

            await service.batches.submit(source(), provider=NAME, key="k")

        with pytest.raises(OSError, match="went away"):
            await cut_off()
    async with serving(path, world) as service:
        found = await service.find("k")
        assert found is not None
        assert found.status == "pending"
        handle = await submit(service, 1_800)
        assert handle.id == found.id
        assert (await handle.result()).ok == 1_800
    assert world.bought_twice() == []


async def test_w3_without_a_key_a_batch_that_was_cut_off_is_given_up(tmp_path: Path, clock: Clock) -> None:
    """W-3: a batch that nobody can name is not left half made: its caller's error gives it up, a cancel too."""
    async with serving(tmp_path / "p.db", World()) as service:

        async def endless() -> AsyncIterator[Prompt]:
            for prompt in prompts(1_100):
                yield prompt
            await trio.sleep_forever()

        with trio.move_on_after(1):
            await service.batches.submit(endless(), provider=NAME)
        (summary,) = [summary async for summary in service.list()]
        assert summary.status == "cancelled"


async def test_w11_a_restart_adds_no_poll(tmp_path: Path, clock: Clock) -> None:
    """W-11: however often the process starts anew, there is one poll at a time."""
    world, path = World(batch_s=1_000), tmp_path / "p.db"
    async with serving(path, world) as service:
        handle = await submit(service)
        await trio.sleep(15)
    for _ in range(5):
        async with serving(path, world):
            await trio.sleep(100)
    polls = world.asked["status"]
    assert polls <= 5 * 11 + 2 + 5, "ten for each hundred seconds, and one early one for each start"
    async with serving(path, world) as service:
        assert (await (await service.get(handle.id)).result()).ok == 4


async def test_w12_w22_results_are_taken_in_runs_of_a_thousand(tmp_path: Path, clock: Clock) -> None:
    """W-12, W-22, W-78: results enter the log in bounded runs, each with its place in the provider's file; a line is
    found by a row, not by a search."""
    async with serving(tmp_path / "p.db", World()) as service:
        handle = await submit(service, 3_300)
        assert (await handle.result()).ok == 3_300
        taken = await payloads(handle, "ResultsTaken")
        assert [len(event["numbers"]) for event in taken] == [1_000, 1_000, 1_000, 300]
        assert [event["cursor"] for event in taken] == sorted(event["cursor"] for event in taken)
        assert (await handle.line("r-3299")).ok


async def test_w16_more_than_one_batch_holds_is_still_one_operation(tmp_path: Path, clock: Clock) -> None:
    """W-16: lines beyond the provider's limit become further batches there; here it stays one result."""
    world = World(max_lines=100)
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 250)
        assert (await handle.result()).ok == 250
        assert sorted(len(data.splitlines()) for _, data, _ in world.files.values()) == [50, 100, 100]
        assert world.bought_twice() == []
        assert len({sold.identity for sold in world.account}) == 6
        assert [line.index for line in await lines_of(handle)] == list(range(250))


@pytest.mark.parametrize("after_s", [0.0, 15.0], ids=["before it is sent", "while the provider works"])
async def test_w17_cancel_reaches_the_provider(tmp_path: Path, clock: Clock, after_s: float) -> None:
    """W-17: a cancel before the submission sends nothing; after it the provider is told, and what it did is kept."""
    world = World()
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service)
        await trio.sleep(after_s)
        assert await handle.cancel(wait=True) == "cancelled"
        said = codes(await lines_of(handle))
        if after_s:
            assert world.batches["sold-1"].cancelled
            assert said == {"r-0": "ok", "r-1": "ok", "r-2": "batch_cancelled", "r-3": "batch_cancelled"}
        else:
            assert world.sold("batch") == []
            assert set(said.values()) == {"batch_cancelled"}
        assert await handle.cancel() == "cancelled"
        with pytest.raises(OperationCancelled):
            await handle.result()


async def test_w17_a_deadline_asks_once_more_and_ends(tmp_path: Path, clock: Clock) -> None:
    """W-17: at its deadline a batch is cancelled at the provider, what was done is kept, and it ends as expired."""
    world = World(batch_s=1_000)
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, deadline_s=120)
        assert set(codes(await lines_of(handle)).values()) == {"ok", "batch_cancelled"}
        assert 120 <= trio.current_time() < 200
        with pytest.raises(OperationExpired):
            await handle.result()


async def test_w17_a_deadline_that_finds_a_finished_batch_takes_its_answers(tmp_path: Path, clock: Clock) -> None:
    """W-17: nobody gives up on our clock alone: what was done by the deadline is delivered."""
    world = World(batch_s=100)
    async with serving(tmp_path / "p.db", world, polling=Polling(first_s=10_000)) as service:
        handle = await submit(service, deadline_s=120)
        assert (await handle.result()).ok == 4
