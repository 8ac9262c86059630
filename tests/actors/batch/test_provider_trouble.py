"""What the provider does wrong: lost answers, odd result files, ends of every kind, and silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from trio.abc import Clock

from perdure.actors.batch.opening import Polling
from perdure.actors.batch.ports import InputProblem
from perdure.actors.batch.views import BatchHandle
from perdure.actors.fetch import NotSent, Refused, Unknown
from perdure.events.errors import OperationCancelled, OperationExpired, OperationFailed
from perdure.events.requests import LineError
from tests.actors.batch.looking import codes, lines_of, payloads, submit, types_of
from tests.actors.batch.memory import NAME, World, prompts
from tests.actors.batch.rig import serving, verified
from tests.store.blobs.looking import lose, stored

pytestmark = pytest.mark.trio


async def test_b6_w21_unnamed_requests_and_foreign_results(tmp_path: Path, clock: Clock) -> None:
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
async def test_b29_b30_b31_w7_shuffled_missing_extra_and_duplicate_results(
    tmp_path: Path, clock: Clock, order: str
) -> None:
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
async def test_an_id_that_we_would_not_write_is_foreign(tmp_path: Path, clock: Clock, number: str) -> None:
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
    tmp_path: Path, clock: Clock, ends_as: str, error: type[Exception], code: str
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


async def test_w9_a_failed_batch_says_which_lines_were_wrong(tmp_path: Path, clock: Clock) -> None:
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


@pytest.mark.parametrize("route", ["upload", "create"])
async def test_w4_w23_a_lost_answer_is_found_again_and_never_bought_twice(
    tmp_path: Path, clock: Clock, route: str
) -> None:
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
async def test_w4_w23_what_surely_never_arrived_is_bought_again_under_the_same_name(
    tmp_path: Path, clock: Clock, route: str
) -> None:
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


async def test_w23_nothing_is_sent_nothing_is_owed(tmp_path: Path, clock: Clock) -> None:
    """W-23: a request that never left is simply tried again."""
    world = World()
    world.fail("create", NotSent("no connection"), times=3, when="not sent")
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service)
        await handle.result()
        assert (await types_of(handle)).count("PurchaseRefused") == 3
        assert world.asked["list"] == 0


async def test_w5_w10_trouble_after_the_submission_is_waited_out(tmp_path: Path, clock: Clock) -> None:
    """W-5, W-10: polls and downloads that fail are tried again, ever more slowly; the first failure and the recovery
    are events; no caller hears of it."""
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


async def test_w10_a_batch_past_its_window_is_an_alarm_and_is_cancelled_there(tmp_path: Path, clock: Clock) -> None:
    """W-10: an hour after the provider's window an alarm is recorded, once, and the batch is cancelled there; what it
    had done by then is delivered, and the operation ends as expired."""
    world = World(batch_s=10 * 86_400.0)
    async with serving(tmp_path / "p.db", world, polling=Polling(every_s=600.0)) as service:
        handle = await submit(service)
        with pytest.raises(OperationExpired, match="within its window"):
            await handle.result()
        assert 25 * 3_600 <= trio.current_time() <= 25.5 * 3_600
        (alarm,) = await payloads(handle, "BatchOverdue")
        assert alarm["provider_batch"] == "sold-1"
        assert world.batches["sold-1"].cancelled
        assert codes(await lines_of(handle)) == {
            "r-0": "ok",
            "r-1": "ok",
            "r-2": "batch_expired",
            "r-3": "batch_expired",
        }


async def test_w10_an_alarm_waits_for_a_mended_key_and_gives_nothing_up(tmp_path: Path, clock: Clock) -> None:
    """W-10: a batch that nobody can ask about is overdue too, and is not given up: what it has is paid for."""
    world = World()
    world.fail("status", Refused("no such key", kind="auth", status=401), times=2_880)
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service)
        await trio.sleep(40 * 3_600)
        assert await handle.refresh() == "blocked"
        assert len(await payloads(handle, "BatchOverdue")) == 1
        assert (await handle.result()).ok == 4


async def test_w10_a_provider_that_never_ends_a_batch_is_given_up(tmp_path: Path, clock: Clock) -> None:
    """W-10: a batch that is overdue and that even a cancel does not end is given up, and cancelled there once more."""
    world = World(batch_s=10 * 86_400.0)
    world.deaf = True
    async with serving(tmp_path / "p.db", world, polling=Polling(every_s=600.0)) as service:
        handle = await submit(service)
        with pytest.raises(OperationExpired, match="given up"):
            await handle.result()
        assert 25 * 3_600 <= trio.current_time() <= 26 * 3_600
        await trio.sleep(60)
        assert world.asked["cancel"] == 2
        await handle.refresh()
        assert (await types_of(handle))[-1] == "DuplicateCancelled"


async def test_w10_results_that_are_gone_end_their_lines(tmp_path: Path, clock: Clock) -> None:
    """W-10: a result file that the provider no longer has is not asked for for ever: its lines end and say so."""
    world = World()
    world.fail("results", Refused("gone", kind="not_found", status=404))
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service)
        (line, *_) = await lines_of(handle)
        assert line.error is not None
        assert line.error.code == "batch_item_missing"
        assert "out-sold-1 could not be read: gone" in line.error.message


async def test_w25_an_answer_that_cannot_be_read_is_an_error_of_its_line(tmp_path: Path, clock: Clock) -> None:
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


async def test_a_blob_that_was_lost_fails_the_batch_and_not_the_service(tmp_path: Path, clock: Clock) -> None:
    world, path = World(), tmp_path / "p.db"
    world.fail("upload", Refused("wait", kind="rate_limit", status=429, retry_after_s=50))
    async with serving(path, world) as service:
        handle = await submit(service)
        await trio.sleep(1)
        for blob in stored(tmp_path / "p.db-blobs"):
            lose(tmp_path / "p.db-blobs", blob)
    async with serving(path, world) as service:
        again = await service.find("k")
        assert isinstance(again, BatchHandle)
        with pytest.raises(OperationFailed, match="blob"):
            await again.result()
        assert set(codes(await lines_of(again)).values()) == {"blob_lost"}
        assert handle.id == again.id
