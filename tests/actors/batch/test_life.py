"""The life of a batch over a provider in memory: from requests to answers, through restarts and refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from perdure.actors.batch.ports import InputProblem
from perdure.actors.batch.views import BatchHandle
from perdure.actors.fetch import NotSent, Refused, Unknown
from perdure.actors.service import Service
from perdure.events.errors import NotFound, OperationCancelled, OperationExpired, OperationFailed, Timeout
from perdure.events.requests import Line, LineError
from tests.actors.batch.memory import NAME, World, prompts
from tests.actors.batch.rig import Polling, serving, verified

pytestmark = [pytest.mark.trio, pytest.mark.usefixtures("autojump_clock")]


async def types_of(handle: BatchHandle) -> list[str]:
    """The types of what happened to a batch."""
    return [record.type async for record in handle.events(follow=False)]


async def lines_of(handle: BatchHandle, *, order: str = "input") -> list[Line]:
    """All its lines."""
    async with handle.results(order="input" if order == "input" else "arrival") as lines:
        return [line async for line in lines]


def codes(lines: Sequence[Line]) -> dict[str, str]:
    """`ok` or the code of its error, for each line by its name."""
    return {line.custom_id: line.error.code if line.error else "ok" for line in lines}


async def submit(service: Service, count: int = 4, **how: object) -> BatchHandle:
    """Submits a small batch."""
    return await service.batches.submit(prompts(count), **{"provider": NAME, "key": "k", **how})  # type: ignore[arg-type]


async def test_b1_b3_b4_from_submission_to_answers_by_custom_id(tmp_path: Path) -> None:
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
        submitted = [
            json.loads(record.payload)
            async for record in handle.events(follow=False)
            if record.type == "BatchSubmitted"
        ]
        assert [event["provider_batch"] for event in submitted] == world.sold("batch")
        await verified(service)


async def test_b2_progress_shows_the_terminal_status(tmp_path: Path) -> None:
    """B-2: who watches the progress sees how it ends, and then no more."""
    async with serving(tmp_path / "p.db", World()) as service:
        handle = await submit(service)
        seen = [progress async for progress in handle.progress_updates()]
        assert seen[0].status == "pending"
        assert (seen[-1].status, seen[-1].done, seen[-1].total) == ("succeeded", 4, 4)


async def test_b5_results_before_the_end_wait(tmp_path: Path) -> None:
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


async def test_b6_w21_unnamed_requests_and_foreign_results(tmp_path: Path) -> None:
    """B-6, W-21, B-31: unnamed requests are called req-{index}. A result under an unknown id is recorded and ignored:
    perdure never guesses by position (B-6), the line it may have been for ends as missing."""
    world = World()

    def edit(lines: list[bytes]) -> list[bytes]:
        foreign = json.loads(lines[1])
        foreign["id"] = "somebody-else-1"
        return [lines[0], json.dumps(foreign).encode(), *lines[2:]]

    world.edit = edit
    async with serving(tmp_path / "p.db", world) as service:
        handle = await service.batches.submit(prompts(3, ids=False), provider=NAME)
        assert codes(await lines_of(handle)) == {"req-0": "ok", "req-1": "batch_item_missing", "req-2": "ok"}
        state = await handle.state()
        assert (state.extra, state.ok, state.failed) == (1, 2, 1)


@pytest.mark.parametrize("order", ["arrival", "input"])
async def test_b29_b30_b31_w7_shuffled_missing_extra_and_duplicate_results(tmp_path: Path, order: str) -> None:
    """B-29, B-30, B-31, W-7: each line gets its own result or error, once, whatever the provider's file looks like."""
    world = World()
    failed = b'{"id": "%s", "error": "rate_limit_exceeded"}'

    def edit(lines: list[bytes]) -> list[bytes]:
        ids = [json.loads(line)["id"].encode() for line in lines]
        return [
            lines[5],
            failed % ids[3],
            lines[0],
            failed % ids[3],
            b"{garbled",
            lines[0],
            b"",
            b'{"id": "x", "text": "y"}',
        ]

    world.edit = edit
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 6)
        lines = await lines_of(handle, order=order)
        assert sorted(line.index for line in lines) == [0, 1, 2, 3, 4, 5]
        missing = dict.fromkeys(["r-1", "r-2", "r-4"], "batch_item_missing")
        assert codes(lines) == {"r-0": "ok", "r-5": "ok", "r-3": "rate_limit_exceeded", **missing}
        state = await handle.state()
        assert (state.ok, state.failed, state.duplicate, state.extra, state.unreadable) == (2, 4, 2, 1, 1)
        assert (await handle.result()).failed == 4
        await verified(service)


@pytest.mark.parametrize(
    "number", ["007", "+1", "1 ", "٣", "1" * 5_000, "-1", "1.0", ""], ids=lambda text: text[:5] or "none"
)
async def test_an_id_that_we_would_not_write_is_foreign(tmp_path: Path, number: str) -> None:
    world = World()
    world.edit = lambda lines: [
        json.dumps({**json.loads(line), "id": f"{json.loads(line)['id'].rpartition('-')[0]}-{number}"}).encode()
        for line in lines[:1]
    ]
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 2)
        assert set(codes(await lines_of(handle)).values()) == {"batch_item_missing"}


@pytest.mark.parametrize(
    ("ends_as", "error", "code"),
    [
        ("failed", OperationFailed, "batch_failed"),
        ("expired", OperationExpired, "batch_expired"),
        ("cancelled", OperationCancelled, "batch_cancelled"),
    ],
)
async def test_b28_b34_w6_every_end_settles_every_line_and_keeps_partial_output(
    tmp_path: Path, ends_as: str, error: type[Exception], code: str
) -> None:
    """B-28, B-34, W-6: failed, expired and cancelled at the provider are ends: what output there is is delivered, all
    other lines say why there is none, and nobody waits any longer."""
    world = World()
    world.ends_as = ends_as  # type: ignore[assignment]
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 4)
        said = codes(await lines_of(handle))
        done = {"r-0": "ok", "r-1": "ok"} if ends_as != "failed" else {"r-0": code, "r-1": code}
        assert said == {**done, "r-2": code, "r-3": code}
        with pytest.raises(error):
            await handle.result()


async def test_w9_a_failed_batch_says_which_lines_were_wrong(tmp_path: Path) -> None:
    """W-9: the provider's errors reach the lines that they name by number; all others get the batch's own."""
    world = World()
    world.ends_as = "failed"
    world.problems = [InputProblem("invalid_json_line", "line 2 is broken", 2), InputProblem("other", "line 99", 99)]
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 3)
        lines = await lines_of(handle)
        assert codes(lines) == {"r-0": "batch_failed", "r-1": "invalid_json_line", "r-2": "batch_failed"}
        assert lines[1].error == LineError("invalid_json_line", "line 2 is broken")
        with pytest.raises(OperationFailed, match="line 2 is broken"):
            await handle.result()


async def test_b26_the_log_lists_every_line_before_any_is_sent(tmp_path: Path) -> None:
    """B-26: every custom id is in the log, with its place and its bytes, before the provider hears of the batch."""
    world = World()
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 2_500)
        assert not world.asked
        collected = [
            json.loads(record.payload)
            async for record in handle.events(follow=False)
            if record.type == "LinesCollected"
        ]
        assert [name for run in collected for name in run["names"]] == [f"r-{number}" for number in range(2_500)]
        assert [run["first"] for run in collected] == [0, 1_000, 2_000]


async def test_b33_w1_w2_w19_every_later_process_has_every_answer_once(tmp_path: Path) -> None:
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


async def test_w3_a_stop_leaves_the_window_in_the_log_and_no_caller_without_an_answer(tmp_path: Path) -> None:
    """W-3: what was collected when the service stops stays collected; the same key goes on with it."""
    world, path = World(), tmp_path / "p.db"
    async with serving(path, world) as service:

        async def cut_off() -> None:
            def source():  # type: ignore[no-untyped-def]
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


async def test_w3_without_a_key_a_batch_that_was_cut_off_is_given_up(tmp_path: Path) -> None:
    """W-3: a batch that nobody can name is not left half made: its caller's error gives it up, a cancel too."""
    async with serving(tmp_path / "p.db", World()) as service:

        async def endless():  # type: ignore[no-untyped-def]
            for prompt in prompts(1_100):
                yield prompt
            await trio.sleep_forever()

        with trio.move_on_after(1):
            await service.batches.submit(endless(), provider=NAME)
        (summary,) = [summary async for summary in service.list()]
        assert summary.status == "cancelled"


@pytest.mark.parametrize("route", ["upload", "create"])
async def test_w4_w23_a_lost_answer_is_found_again_and_never_bought_twice(tmp_path: Path, route: str) -> None:
    """W-4, W-23: an answer that is lost after the provider acted leads to a search by the planted identity, not to a
    second purchase."""
    world = World()
    world.fail(route, Unknown("the line was cut"), when="after")
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service)
        assert (await handle.result()).ok == 4
        assert (len(world.sold("file")), len(world.sold("batch")), world.bought_twice()) == (1, 1, [])
        assert world.asked[{"upload": "files", "create": "list"}[route]] == 1


@pytest.mark.parametrize("route", ["upload", "create"])
async def test_w4_w23_what_surely_never_arrived_is_bought_again_under_the_same_name(tmp_path: Path, route: str) -> None:
    """W-4, W-23: when the provider's list, complete and late enough, does not show it, it is bought again, under the
    same identity."""
    world = World()
    world.fail(route, Unknown("the line was cut"), when="before")
    world.fail({"upload": "files", "create": "list"}[route], Unknown("no list either"), times=2)
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service)
        assert (await handle.result()).ok == 4
        assert (len(world.sold("file")), len(world.sold("batch")), world.bought_twice()) == (1, 1, [])
        assert world.asked[route] == 2
        if route == "create":
            happened = await types_of(handle)
            assert [name for name in happened if name.startswith("Purchase")] == [
                "PurchaseIntended",
                "PurchaseUncertain",
                "PurchaseAbsent",
                "PurchaseIntended",
            ]


async def test_w23_nothing_is_sent_nothing_is_owed(tmp_path: Path) -> None:
    """W-23: a request that never left is simply tried again."""
    world = World()
    world.fail("create", NotSent("no connection"), times=3, when="not sent")
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service)
        await handle.result()
        assert (await types_of(handle)).count("PurchaseRefused") == 3
        assert world.asked["list"] == 0


async def test_w5_w10_trouble_after_the_submission_is_waited_out(tmp_path: Path) -> None:
    """W-5, W-10: polls and downloads that fail are tried again, ever more slowly; the first failure and the recovery are
    events; no caller hears of it."""
    world = World()
    world.fail("status", Unknown("bad gateway", status=502), times=40)
    world.fail("results", Unknown("cut"), times=5, when="after")
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 2_500)
        assert (await handle.result()).ok == 2_500
        happened = await types_of(handle)
        assert happened.count("PollTroubled") <= 6
        assert world.asked["results"] == 6
        assert world.bought_twice() == []
        await verified(service)


async def test_w10_a_provider_that_never_ends_a_batch_is_given_up(tmp_path: Path) -> None:
    """W-10: an hour after the provider's window the batch ends as expired, and is cancelled there."""
    world = World(batch_s=10 * 86_400.0)
    async with serving(tmp_path / "p.db", world, polling=Polling(every_s=600.0)) as service:
        handle = await submit(service)
        with pytest.raises(OperationExpired, match="given up"):
            await handle.result()
        assert 25 * 3_600 <= trio.current_time() <= 26 * 3_600
        await trio.sleep(60)
        assert world.batches["sold-1"].cancelled
        await handle.refresh()
        assert (await types_of(handle))[-1] == "DuplicateCancelled"


async def test_w10_results_that_are_gone_end_their_lines(tmp_path: Path) -> None:
    """W-10: a result file that the provider no longer has is not asked for for ever: its lines end and say so."""
    world = World()
    world.fail("results", Refused("gone", kind="not_found", status=404))
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service)
        (line, *_) = await lines_of(handle)
        assert line.error is not None
        assert line.error.code == "batch_item_missing"
        assert "out-sold-1 could not be read: gone" in line.error.message


async def test_w11_a_restart_adds_no_poll(tmp_path: Path) -> None:
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


async def test_w12_w22_results_are_taken_in_runs_of_a_thousand(tmp_path: Path) -> None:
    """W-12, W-22, W-78: results enter the log in bounded runs, each with its place in the provider's file; a line is
    found by a row, not by a search."""
    async with serving(tmp_path / "p.db", World()) as service:
        handle = await submit(service, 3_300)
        assert (await handle.result()).ok == 3_300
        taken = [
            json.loads(record.payload) async for record in handle.events(follow=False) if record.type == "ResultsTaken"
        ]
        assert [len(event["numbers"]) for event in taken] == [1_000, 1_000, 1_000, 300]
        assert [event["cursor"] for event in taken] == sorted(event["cursor"] for event in taken)
        assert (await handle.line("r-3299")).ok


async def test_w16_more_than_one_batch_holds_is_still_one_operation(tmp_path: Path) -> None:
    """W-16: lines beyond the provider's limit become further batches there; here it stays one result."""
    world = World(max_lines=100)
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 250)
        assert (await handle.result()).ok == 250
        assert [len(data.splitlines()) for _, data, _ in world.files.values()] == [100, 100, 50]
        assert world.bought_twice() == []
        assert len({sold.identity for sold in world.account}) == 6
        assert [line.index for line in await lines_of(handle)] == list(range(250))


@pytest.mark.parametrize("after_s", [0.0, 15.0], ids=["before it is sent", "while the provider works"])
async def test_w17_cancel_reaches_the_provider(tmp_path: Path, after_s: float) -> None:
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


async def test_w17_a_deadline_asks_once_more_and_ends(tmp_path: Path) -> None:
    """W-17: at its deadline a batch is cancelled at the provider, what was done is kept, and it ends as expired."""
    world = World(batch_s=1_000)
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, deadline_s=120)
        assert set(codes(await lines_of(handle)).values()) == {"ok", "batch_cancelled"}
        assert 120 <= trio.current_time() < 200
        with pytest.raises(OperationExpired):
            await handle.result()


async def test_w17_a_deadline_that_finds_a_finished_batch_takes_its_answers(tmp_path: Path) -> None:
    """W-17: nobody gives up on our clock alone: what was done by the deadline is delivered."""
    world = World(batch_s=100)
    async with serving(tmp_path / "p.db", world, polling=Polling(first_s=10_000)) as service:
        handle = await submit(service, deadline_s=120)
        assert (await handle.result()).ok == 4


async def test_w25_an_answer_that_cannot_be_read_is_an_error_of_its_line(tmp_path: Path) -> None:
    """W-25: what the provider calls a success and cannot be read is an error of that line, never an empty text."""
    world = World()
    world.edit = lambda lines: [
        lines[0],
        b'{"id": "%s", "error": "unreadable_answer"}' % json.loads(lines[1])["id"].encode(),
    ]
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 2)
        lines = await lines_of(handle)
        assert [line.ok for line in lines] == [True, False]
        assert lines[1].answer is None
        assert (await handle.state()).failed == 1


async def test_a_blob_that_was_lost_fails_the_batch_and_not_the_service(tmp_path: Path) -> None:
    world, path = World(), tmp_path / "p.db"
    world.fail("upload", Refused("wait", kind="rate_limit", status=429, retry_after_s=50))
    async with serving(path, world) as service:
        handle = await submit(service)
        await trio.sleep(1)
        for blob in (tmp_path / "p.db-blobs").rglob("*"):
            if blob.is_file():
                blob.unlink()
    async with serving(path, world) as service:
        again = await service.find("k")
        assert isinstance(again, BatchHandle)
        with pytest.raises(OperationFailed, match="blob"):
            await again.result()
        assert set(codes(await lines_of(again)).values()) == {"blob_lost"}
        assert handle.id == again.id
