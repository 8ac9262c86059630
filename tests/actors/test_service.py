"""The service as programs embed it: open, run, read, submit, find again, wait, cancel, leave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import perdure
from perdure.adapters.simulator import faults
from tests.actors.provider_rig import Rig, requests, rigged, said, until
from tests.adapters.simulator.process import running
from tests.faults.killing import Job
from tests.secrets import assert_no_key, unique_key

pytestmark = pytest.mark.trio


async def submit(service: perdure.Service, count: int = 4, **how: Any) -> perdure.BatchHandle:
    """Submits a few requests."""
    defaults: dict[str, Any] = {"provider": "openai", "key": "k"}
    return await service.batches.submit(requests(count), **{**defaults, **how})


async def test_run_read_get_find_and_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, trio.open_nursery() as nursery:
        service: perdure.Service = await nursery.start(partial(perdure.run, rig.path, config=rig.config()))
        handle = await submit(service, tags={"team": "a"})
        assert (await handle.result()).ok == 4
        assert (await service.get(handle.id)).id == handle.id
        found = await service.find("k")
        assert found is not None
        assert (found.id, found.key, found.kind, found.provider) == (handle.id, "k", "batch", "openai")
        assert await service.find("k", kind="provider_file") is None
        assert await service.find("other") is None
        with pytest.raises(perdure.NotFound):
            await service.get("batch_none")
        async with perdure.read(rig.path) as reader:
            view = await reader.get(handle.id)
            assert isinstance(view, perdure.BatchView)
            assert await said(view) == await said(handle)
            assert (await view.result()) == await handle.result()
            listed = [summary async for summary in reader.list(kind="batch", status="succeeded", tag=("team", "a"))]
            assert [(summary.id, summary.key, summary.progress.done) for summary in listed] == [(handle.id, "k", 4)]
            kinds = [summary.kind async for summary in service.list()]
            assert sorted(kinds) == ["batch", "provider_file"]
        nursery.cancel_scope.cancel()


async def test_batches_run_is_submit_and_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        for order in ("arrival", "input"):
            async with service.batches.run(requests(), provider="openai", key="k", order=order) as lines:
                assert sorted([line.index async for line in lines]) == [0, 1, 2, 3]
        rig.assert_bought_once()


@pytest.mark.parametrize("order", ["arrival", "input"])
async def test_results_go_on_behind_any_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Any) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.Shuffled(), faults.Missing(lines=3))
        handle = await submit(service, 30)
        async with handle.results(order=order) as lines:
            whole = [line async for line in lines]
        assert len({line.index for line in whole}) == 30
        for place in (0, 1, 14, 26, 27, 29):
            async with handle.results(order=order, after=whole[place].cursor) as lines:
                assert [line.index async for line in lines] == [line.index for line in whole[place + 1 :]]


async def test_events_state_at_and_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        handle = await submit(service)
        records = [record async for record in handle.events()]
        assert [record.version for record in records] == list(range(1, len(records) + 1))
        assert (records[0].type, records[-1].type) == ("BatchOpened", "BatchFinished")
        assert [record.version async for record in handle.events(after=3, follow=False)] == list(
            range(4, len(records) + 1)
        )
        assert (await handle.state(at=2)).phase == "collecting"
        assert (await handle.state(at=3)).phase == "closed"
        assert (await handle.state()).phase == "finished"
        assert (await handle.state(at=datetime.now(UTC) - timedelta(days=1))).phase == "new"
        assert [progress.status async for progress in handle.progress_updates()] == ["succeeded"]
        assert handle.created_at <= datetime.now(UTC)
        assert (await service.log.state(handle.id, at=2)).phase == "collecting"


async def test_cancel_once_twice_and_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.Stuck())
        handle = await submit(service)
        await until(handle, "running")
        assert await handle.cancel() == "requested"
        assert await handle.cancel(wait=True) == "cancelled"
        with pytest.raises(perdure.OperationCancelled) as cancelled:
            await handle.result()
        assert cancelled.value.id == handle.id
        done = await submit(service, key="other")
        await done.result()
        assert await done.cancel() == "too_late"
        with pytest.raises(perdure.Rejected, match="nothing to buy again"):
            await done.resubmit()


# ---------------------------------------------------------------- keys


async def test_a_known_key_gives_the_operation_without_reading_the_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unread:
        def __iter__(self) -> Iterator[perdure.Prompt]:
            raise AssertionError("nobody may read this")

    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        handle = await submit(service)
        again = await service.batches.submit(Unread(), provider="openai", key="k")
        assert again.id == handle.id
        await again.result()
        rig.assert_bought_once()


@pytest.mark.parametrize(
    ("how", "difference"), [({"endpoint": "/v1/embeddings"}, "endpoint"), ({"credential": "other"}, "credential")]
)
async def test_a_key_of_another_request_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], difference: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        handle = await submit(service)
        with pytest.raises(perdure.KeyConflict) as conflict:
            await submit(service, **how)
        assert (conflict.value.key, conflict.value.existing_id) == ("k", handle.id)
        assert conflict.value.difference.startswith(difference)


async def test_two_submits_under_one_key_at_once_are_one_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        ids: set[str] = set()

        async def one() -> None:
            ids.add((await submit(service, 2_500)).id)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one)
        (only,) = ids
        assert (await (await service.get(only)).result()).ok == 2_500
        rig.assert_bought_once()


@pytest.mark.parametrize(
    "key",
    [unique_key("sk-"), unique_key("AIza"), "", "x" * 513, "batch_mine"],
    ids=["of OpenAI", "of Google", "empty", "long", "id"],
)
async def test_keys_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        with pytest.raises(perdure.InvalidRequest) as refusal:
            await submit(service, key=key)
        assert refusal.value.field == "key"
        assert_no_key("the refusal", str(refusal.value))
        assert [summary async for summary in service.list()] == []


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"deadline_s": 0}, "deadline_s"),
        ({"deadline_s": float("nan")}, "deadline_s"),
        ({"on_uncertain": "perhaps"}, "on_uncertain"),
        ({"polling": perdure.Polling(every_s=0.0)}, "polling.every_s"),
        ({"polling": perdure.Polling(first_s=-1.0)}, "polling.first_s"),
        ({"polling": perdure.Polling(every_s=float("nan"))}, "polling.every_s"),
        ({"provider": "nobody"}, "provider"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_call_is_refused_with_its_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], field: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        with pytest.raises(perdure.Rejected) as refusal:
            await submit(service, **how)
        assert refusal.value.field == field
        assert [summary async for summary in service.list()] == []


async def test_bad_input_leaves_no_half_made_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad() -> Iterator[perdure.Prompt]:
        yield from requests(1_200)
        yield perdure.Prompt("again", model="m", custom_id="r-7")

    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        with pytest.raises(perdure.InvalidRequest, match="line 1201"):
            await service.batches.submit(bad(), provider="openai", key="k")
        assert rig.bought() == {}
        (summary,) = [summary async for summary in service.list()]
        assert summary.status == "cancelled"
        handle = await submit(service)
        assert handle.id != summary.id, "the key is free again"
        assert (await handle.result()).ok == 4


async def cut_off(rig: Rig, after: int) -> None:
    """A process dies while it reads its requests."""

    def source() -> Iterator[perdure.Prompt]:
        yield from requests(after)
        raise OSError("died")

    async with rig.open() as service:
        with pytest.raises(OSError, match="died"):
            await service.batches.submit(source(), provider="openai", key="k")


async def test_a_batch_that_was_cut_off_while_it_was_read_goes_on_with_the_same_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig:
        await cut_off(rig, 2_500)
        async with rig.open() as service:
            handle = await submit(service, 3_000)
            assert (await handle.result()).ok == 3_000
            rig.assert_bought_once()


@pytest.mark.parametrize("line", [1, 700, 1_999])
async def test_a_batch_that_was_cut_off_refuses_other_lines_and_names_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: int
) -> None:
    def other() -> Iterator[perdure.Prompt]:
        for number, prompt in enumerate(requests(3_000), 1):
            yield prompt if number < line else perdure.Prompt("another", model="m", custom_id=prompt.custom_id)

    async with rigged(tmp_path, monkeypatch) as rig:
        await cut_off(rig, 2_500)
        async with rig.open() as service:
            with pytest.raises(perdure.KeyConflict) as conflict:
                await service.batches.submit(other(), provider="openai", key="k")
            assert conflict.value.difference == f"line {line}"
            assert (await (await submit(service, 3_000)).result()).ok == 3_000, "the right lines are still taken"


# ---------------------------------------------------------------- waiting and leaving


async def test_waiters_are_told_when_the_service_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig:
        rig.simulator.faults.arm(faults.Stuck())
        told: list[str] = []

        async def waits(what: str, handle: perdure.BatchHandle) -> None:
            try:
                if what == "result":
                    await handle.result()
                elif what == "line":
                    await handle.line("r-1")
                elif what == "results":
                    async with handle.results() as lines:
                        assert [line async for line in lines] == []
                else:
                    async with aclosing(handle.progress_updates()) as updates:
                        async for _ in updates:
                            pass
            except perdure.Closed:
                told.append(what)

        async with trio.open_nursery() as nursery, rig.open() as service:
            handle = await submit(service)
            for what in ("result", "line", "results", "progress"):
                nursery.start_soon(waits, what, handle)
            await until(handle, "running")
        assert sorted(told) == ["line", "progress", "result", "results"]
        with pytest.raises(perdure.Closed):
            await handle.cancel()
        assert await handle.refresh() == "running", "what is recorded can still be read"


async def test_a_time_limit_ends_the_waiting_and_not_the_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.Hold(route="POST /openai/v1/batches"))
        handle = await submit(service)
        with pytest.raises(perdure.Timeout, match=handle.id):
            await handle.result(timeout_s=0.05)
        with pytest.raises(TimeoutError):
            await handle.result(timeout_s=0)
        await rig.simulator.holds.wait_held()
        rig.simulator.holds.release()
        assert (await handle.result(timeout_s=30)).ok == 4


async def test_tenants_see_only_their_own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        theirs = service.acting_as(tenant="acme", principal="jo", tags={"by": "jo"})
        first, second = await submit(service), await submit(theirs)
        assert first.id != second.id
        found = await theirs.find("k")
        assert found is not None
        assert found.id == second.id
        records = [record async for record in second.events(follow=False)]
        assert (records[0].tenant, records[0].principal) == ("acme", "jo")


async def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open():
        with pytest.raises(perdure.LogLocked) as locked:
            async with perdure.open(rig.path, config=rig.config()):
                raise AssertionError("two writers")
        assert locked.value.pid is not None


async def test_a_reader_waits_while_writers_die_and_are_replaced(tmp_path: Path) -> None:
    """Its process never writes: the result comes from the log, whichever process put it there."""
    with running("--batch-seconds", "0") as simulator, trio.fail_after(60):
        job = Job(tmp_path / "job", simulator)
        assert await job.work("commit.after", "4") is None
        async with perdure.read(job.path) as reader:
            view = await reader.find("job")
            assert isinstance(view, perdure.BatchView)
            seen: list[perdure.BatchSummary] = []
            lines: list[int] = []

            async def wait() -> None:
                seen.append(await view.result())

            async def read() -> None:
                async with view.results() as results:
                    lines.extend([line.index async for line in results])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                nursery.start_soon(read)
                assert await job.work("report.before", "6") is None
                assert seen == []
                assert await job.work() is not None
        assert [summary.ok for summary in seen] == [job.lines]
        assert sorted(lines) == list(range(job.lines))
