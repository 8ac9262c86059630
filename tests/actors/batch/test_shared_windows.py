"""Windows that callers share, over a provider in memory: what is sent, what is bought, what each line says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from trio.abc import Clock

from perdure.actors.batch.ports import InputProblem
from perdure.actors.fetch import NotSent, Refused, Unknown
from perdure.events.batch import CancelBatch, CancelLines, LineNote, ResumeBatch
from perdure.events.errors import Unavailable
from perdure.events.pricing import Rates
from tests.actors.batch.looking import codes, lines_of, types_of
from tests.actors.batch.memory import World
from tests.actors.batch.window_rig import OPEN_S, WINDOW, Windowed, windowed
from tests.actors.living import EPOCH_US

pytestmark = pytest.mark.trio


def note(number: int, deadline_s: int) -> LineNote:
    """A line whose caller waits until so many seconds after the beginning."""
    return LineNote(number, deadline_at=EPOCH_US + deadline_s * 1_000_000)


async def said(window: Windowed) -> Mapping[int, str]:
    """`ok` or the code of its error for each line, once the batch has ended; the same in both orders."""
    handle = await window.handle()
    await handle.ended()
    (await window.log.verify()).raise_if_bad()
    in_order, arrived = codes(await lines_of(handle)), await lines_of(handle, order="arrival")
    assert (codes(arrived), len(arrived)) == (in_order, len(in_order)), "each line comes once"
    return {int(name.removeprefix(f"{WINDOW}-")): code for name, code in in_order.items()}


def sent(world: World) -> list[list[int]]:
    """The numbers of the lines in each file that the provider was given."""
    return [
        [int(json.loads(line)["custom_id"].removeprefix(f"{WINDOW}-")) for line in data.splitlines()]
        for _, data, _ in world.files.values()
    ]


async def test_b23_a_window_closes_by_time_and_is_a_batch(tmp_path: Path, clock: Clock) -> None:
    """B-23: what came within the time from the first request on is one batch at the provider."""
    world = World()
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open()
        await window.collect(0, 2)
        await trio.sleep(OPEN_S - 1)
        await window.collect(2, 1)
        assert not world.asked
        assert set((await said(window)).values()) == {"ok"}
        assert sent(world) == [[0, 1, 2]]
        handle = await window.handle()
        line = await handle.line(f"{WINDOW}-2")
        assert line.answer is not None
        assert line.answer.text == "re: question 2"


async def test_w17_lines_given_up_while_collecting_are_in_no_file(tmp_path: Path, clock: Clock) -> None:
    """W-17: the rest of the window goes on without them; so does a problem that the provider has with a line."""
    world = World()
    world.ends_as, world.problems = "failed", [InputProblem("invalid_json_line", "not JSON", line=2)]
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open()
        await window.collect(0, 3)
        await window.collect(3, 3)
        await window.tell(CancelLines([0, 3, 4, 5]))
        await window.collect(6, 2)
        outcomes = await said(window)
        assert sent(world) == [[1, 2, 6, 7]]
        assert [number for number, code in outcomes.items() if code == "batch_cancelled"] == [0, 3, 4, 5]
        assert [number for number, code in outcomes.items() if code == "invalid_json_line"] == [2]


async def test_w17_the_provider_is_told_when_nobody_waits(tmp_path: Path, clock: Clock) -> None:
    """W-17: what it did all the same is kept beside the lines, which stay cancelled."""
    world = World()
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open()
        await window.collect(0, 4)
        await trio.sleep(OPEN_S + 5)
        await window.tell(CancelLines([0, 1, 2]))
        await trio.sleep(1)
        assert world.asked["cancel"] == 0
        await window.tell(CancelLines([3]))
        assert set((await said(window)).values()) == {"batch_cancelled"}
        assert world.batches["sold-1"].cancelled
        state = await window.state()
        assert (state.ok, state.failed, state.duplicate) == (0, 4, 0)
        kept = [item for item in await window.log.items(WINDOW, first=0, last=9) if item.blob]
        assert [(item.number, item.status) for item in kept] == [(0, "cancelled"), (1, "cancelled")]


async def test_an_answer_after_a_cancel_is_kept_and_the_line_stays_cancelled(tmp_path: Path, clock: Clock) -> None:
    world = World(batch_s=30.0)
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open()
        await window.collect(0, 3)
        await trio.sleep(OPEN_S + 5)
        await window.tell(CancelLines([1]))
        handle = await window.handle()
        before = await handle.line(f"{WINDOW}-1")
        assert before.error is not None
        assert before.error.code == "batch_cancelled"
        assert await said(window) == {0: "ok", 1: "batch_cancelled", 2: "ok"}
        after = await handle.line(f"{WINDOW}-1")
        assert after.error == before.error
        summary = await handle.result()
        assert (summary.lines, summary.ok, summary.failed) == (3, 2, 1)
        (item,) = (await window.log.items_by_number(WINDOW, [1])).values()
        (text,) = await window.blobs.read_many([(item.blob, item.offset, item.length)])
        assert (item.status, json.loads(text)["text"]) == ("cancelled", "re: question 1")


async def test_lines_expire_at_their_own_deadlines(tmp_path: Path, clock: Clock) -> None:
    """One while the window collects, one at the provider; a restart in between changes nothing."""
    world, path = World(), tmp_path / "p.db"
    async with windowed(path, world) as window:
        await window.open()
        await window.collect(0, 4, [note(1, 5), note(2, 50)])
        await trio.sleep(6)
        assert (await window.statuses())[1] == "expired"
        await trio.sleep(20)
    await trio.sleep(60)
    async with windowed(path, world) as window:
        assert await said(window) == {0: "ok", 1: "batch_expired", 2: "batch_expired", 3: "ok"}
        assert (await types_of(await window.handle())).count("LinesAbandoned") == 2
    assert sent(world) == [[0, 2, 3]]


async def test_a_deadline_asks_the_provider_once_more(tmp_path: Path, clock: Clock) -> None:
    """The service was away while the batch ended: the answer is there at the deadline, so it is given."""
    world, path = World(batch_s=30.0), tmp_path / "p.db"
    async with windowed(path, world) as window:
        await window.open(every_us=10_000_000_000, first_poll_us=10_000_000_000)
        await window.collect(0, 2, [note(0, 60)])
        handle = await window.handle()
        line = await handle.line(f"{WINDOW}-0")
        assert line.ok
        assert 60 <= trio.current_time() < 61


async def test_a_deadline_does_not_wait_for_a_provider_that_says_nothing(tmp_path: Path, clock: Clock) -> None:
    world = World()
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open()
        await window.collect(0, 2, [note(0, 30)])
        await trio.sleep(29)
        world.gates["status"] = trio.Event()
        line = await (await window.handle()).line(f"{WINDOW}-0")
        assert line.error is not None
        assert (line.error.code, trio.current_time()) == ("batch_expired", 40)
        world.gates.pop("status").set()
        assert (await said(window))[1] == "ok"


# ---------------------------------------------------------------- lines that go live


async def test_w13_too_few_for_a_batch_go_live(tmp_path: Path, clock: Clock) -> None:
    """W-13: below the minimum each is sent by itself; what a line says is the live body's, an error too."""
    world = World()
    world.refuses_live = {"question 1"}
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open(minimum=4)
        await window.collect(0, 3)
        assert await said(window) == {0: "ok", 1: "content_filter", 2: "ok"}
        assert (world.sold("batch"), len(world.sold("live"))) == ([], 3)
        assert await window.statuses() == {0: "direct", 1: "direct_error", 2: "direct"}
        summary = await (await window.handle()).result()
        assert (summary.lines, summary.ok, summary.failed) == (3, 2, 1)
        assert trio.current_time() == pytest.approx(OPEN_S)
        costs = [entry async for entry in (await window.handle()).costs(Rates(input_per_m_tok=1e6, output_per_m_tok=0))]
        assert [(entry.tier, entry.amount) for entry in costs] == [("standard", 1.0)] * 2


async def test_a_thousand_lines_go_live_without_a_batch(tmp_path: Path, clock: Clock) -> None:
    world = World()
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open(direct=True, max_lines=1_000)
        await window.collect(0, 700)
        await window.collect(700, 300)
        assert set((await said(window)).values()) == {"ok"}
        assert world.bought_twice() == []
        assert len(world.sold("live")) == 1_000


async def test_refusals_pass_or_end_their_line(tmp_path: Path, clock: Clock) -> None:
    """What passes is tried again; what is final ends one line, with the provider's words."""
    world = World()
    world.fail("ask", Refused("wait", kind="rate_limit", status=429, retry_after_s=7.0), when="before")
    world.fail("ask", Refused("no", kind="invalid_request", status=400, provider_code="bad"), when="before")
    world.fail("ask", NotSent("no route"), when="not sent")
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open(direct=True)
        await window.collect(0, 4)
        outcomes = await said(window)
        assert sorted(outcomes.values()) == ["bad", "ok", "ok", "ok"]
        (failed,) = [number for number, code in outcomes.items() if code == "bad"]
        line = await (await window.handle()).line(f"{WINDOW}-{failed}")
        assert line.error is not None
        assert (line.error.message, line.error.status) == ("no", 400)
        assert (await window.statuses())[failed] == "unanswered"


async def test_a_refused_key_blocks_and_a_resume_goes_on(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("ask", Refused("no key", kind="auth", status=401), times=2, when="before")
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open(direct=True)
        await window.collect(0, 2)
        await trio.sleep(OPEN_S + 1)
        handle = await window.handle()
        assert handle.status == "blocked"
        await window.tell(ResumeBatch())
        assert set((await said(window)).values()) == {"ok"}
        assert trio.current_time() == pytest.approx(OPEN_S + 1)


@pytest.mark.parametrize(
    ("policy", "outcome", "bought"), [("fail", "batch_uncertain", 1), ("resubmit", "ok", 2)], ids=["fail", "resubmit"]
)
async def test_an_unknown_outcome_ends_by_policy(
    tmp_path: Path, clock: Clock, policy: str, outcome: str, bought: int
) -> None:
    """A live request cannot be looked up: it is bought again only where the policy says so, and the log says it too."""
    world = World()
    world.fail("ask", Unknown("cut"), when="after")
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open(direct=True, on_uncertain=policy)
        await window.collect(0, 1)
        assert await said(window) == {0: outcome}
        assert len(world.sold("live")) == bought
        assert ("PurchaseResubmitted" in await types_of(await window.handle())) is (policy == "resubmit")


async def test_doubt_that_does_not_end_is_bought_four_times_at_most(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("ask", Unknown("cut"), times=9, when="after")
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open(direct=True, on_uncertain="resubmit")
        await window.collect(0, 1)
        assert await said(window) == {0: "batch_uncertain"}
        assert len(world.sold("live")) == 4


async def test_a_cancel_settles_the_lines_on_the_wire_first(tmp_path: Path, clock: Clock) -> None:
    """Sixteen are on the wire and paid for; no further one is sent."""
    world = World()
    world.gates["ask"] = trio.Event()
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open(direct=True)
        await window.collect(0, 40)
        await trio.sleep(OPEN_S + 1)
        await window.tell(CancelLines([0]))
        await window.tell(CancelBatch())
        assert (await window.handle()).status == "running"
        world.gates["ask"].set()
        outcomes = await said(window)
        assert [number for number, code in outcomes.items() if code == "ok"] == list(range(1, 16))
        assert (await window.statuses())[0] == "cancelled"
        assert len(world.sold("live")) == 16
        state = await window.state()
        assert (state.status, state.ok, state.failed) == ("cancelled", 15, 25)


async def test_an_answer_in_hand_waits_until_it_can_be_stored(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is paid for and cannot be asked for again: a full disk is waited out."""
    world = World()
    async with windowed(tmp_path / "p.db", world) as window:
        await window.open(direct=True)
        await window.collect(0, 1)
        put, refusals = window.blobs.put, iter(range(3))

        async def full(chunks: bytes) -> object:
            if next(refusals, None) is not None:
                await trio.lowlevel.checkpoint()
                raise Unavailable("the disk is full")
            return await put(chunks)

        monkeypatch.setattr(window.blobs, "put", full)
        assert await said(window) == {0: "ok"}
        assert len(world.sold("live")) == 1
        assert trio.current_time() == pytest.approx(OPEN_S + 3)
