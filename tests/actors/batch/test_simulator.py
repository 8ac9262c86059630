"""Batches against the simulator over real sockets: all that a provider does wrong, and an exact account after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import perdure
from perdure.adapters.simulator import faults
from perdure.adapters.simulator.routes import RoutePattern
from perdure.adapters.simulator.traffic import peak_per_s
from tests.actors.provider_rig import VARIABLE, requests, rigged, said, until
from tests.secrets import wrong_key

pytestmark = pytest.mark.trio

CREATE = "POST /openai/v1/batches"
UPLOAD = "POST /openai/v1/files"
STATUS = "GET /openai/v1/batches/*"
CONTENT = "GET /openai/v1/files/*/content"
ALL_OK = {f"r-{number}": "ok" for number in range(4)}


@pytest.mark.parametrize("route", [UPLOAD, CREATE], ids=["upload", "create"])
async def test_acted_then_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.ActThenDrop(route=route))
        handle = await service.batches.submit(requests(), provider="openai")
        assert await said(handle) == ALL_OK
        rig.assert_bought_once()


@pytest.mark.parametrize("route", [UPLOAD, CREATE], ids=["upload", "create"])
async def test_dropped_before_anything_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.Drop(route=route))
        handle = await service.batches.submit(requests(), provider="openai")
        assert await said(handle) == ALL_OK
        rig.assert_bought_once()


async def test_an_answer_that_is_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig:
        rig.simulator.faults.arm(faults.Hold(route=CREATE))
        async with rig.open() as service:
            handle = await service.batches.submit(requests(), provider="openai", key="k")
            await rig.simulator.holds.wait_held()
            rig.assert_bought_once()
            assert await handle.refresh() in ("pending", "running")
        async with rig.open() as service:
            again = await service.find("k")
            assert isinstance(again, perdure.BatchHandle)
            assert await said(again) == ALL_OK
            rig.assert_bought_once()
        rig.simulator.holds.release()


@pytest.mark.parametrize("route", [UPLOAD, CREATE, STATUS, CONTENT], ids=["upload", "create", "status", "results"])
async def test_429_with_retry_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.AnswerStatus(route=route, status=429, headers={"retry-after": "0.2"}, count=2))
        handle = await service.batches.submit(requests(), provider="openai")
        assert await said(handle) == ALL_OK
        rig.assert_bought_once()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_bursts_of_5xx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.AnswerStatus(route="* /openai/v1/**", status=status, count=2))
        if status != 503:  # OpenAI's own words with a 503 are a refusal: whoever says so has not acted
            rig.simulator.faults.arm(faults.AnswerStatus(route=CREATE, status=status, act=True))
        handle = await service.batches.submit(requests(), provider="openai")
        assert await said(handle) == ALL_OK
        rig.assert_bought_once()


@pytest.mark.parametrize(
    "fault",
    [
        faults.Truncate(route=CREATE, after_bytes=20),
        faults.Truncate(route=UPLOAD, after_bytes=20, clean=True),
        faults.Truncate(route=STATUS, after_bytes=20, count=2),
        faults.Truncate(route=CONTENT, after_bytes=300, count=2),
        faults.Truncate(route=CONTENT, after_bytes=300, clean=True),
        faults.WrongContentType(route=CREATE),
        faults.WrongContentType(route=UPLOAD, body="<html>"),
        faults.WrongContentType(route=STATUS, body="<html>", count=2),
        faults.WrongContentType(route=CONTENT, body="<html>"),
    ],
    ids=lambda fault: f"{type(fault).__name__} {fault.route} {getattr(fault, 'clean', '')}",
)
async def test_bodies_that_are_cut_or_of_another_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: faults.Truncate | faults.WrongContentType
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(fault)
        handle = await service.batches.submit(requests(), provider="openai")
        assert await said(handle) == ALL_OK
        rig.assert_bought_once()


async def test_shuffled_missing_extra_duplicate_and_garbled_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(
            faults.Shuffled(),
            faults.Missing(lines=2),
            faults.Extra(lines=3),
            faults.Duplicate(lines=2),
            faults.Garbled(lines=1),
        )
        handle = await service.batches.submit(requests(20), provider="openai")
        codes = await said(handle)
        state = await handle.state()
        assert len(codes) == 20
        assert list(codes.values()).count("batch_item_missing") in (2, 3), "a garbled line may be one that came twice"
        assert (state.extra, state.ok + state.failed) == (3, 20)
        assert state.duplicate + state.unreadable == 3 or state.duplicate + state.unreadable == 2
        rig.assert_bought_once()


@pytest.mark.parametrize(
    ("armed", "status", "code"),
    [
        ([faults.OnlyErrorFile()], "succeeded", "server_error"),
        ([faults.OnlyErrorFile(), faults.EmptyIds()], "succeeded", "server_error"),
        ([faults.CompletedWithoutFile()], "succeeded", "batch_item_missing"),
        ([faults.CompletedWithoutFile(), faults.EmptyIds()], "succeeded", "batch_item_missing"),
        ([faults.FailValidation(code="model_mismatch", message="Odd.")], "failed", "model_mismatch"),
        ([faults.ExpireNow(done=0.0)], "expired", "batch_expired"),
        ([faults.Cancelled(done=0.0)], "cancelled", "batch_cancelled"),
    ],
    ids=["error file", "error file, empty id", "no file", "no file, empty ids", "failed", "expired", "cancelled"],
)
async def test_ends_without_an_answer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    armed: list[faults.OnlyErrorFile | faults.EmptyIds],
    status: str,
    code: str,
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(*armed)
        handle = await service.batches.submit(requests(), provider="openai")
        assert await said(handle) == dict.fromkeys(ALL_OK, code)
        assert await handle.ended() == status
        assert (await handle.line("r-3")).ok is False
        rig.assert_bought_once()


@pytest.mark.parametrize("fault", [faults.ExpireNow(), faults.Cancelled()], ids=["expired", "cancelled"])
async def test_partial_output_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: faults.ExpireNow | faults.Cancelled
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(fault)
        codes = await said(await service.batches.submit(requests(10), provider="openai"))
        assert len(codes) == 10
        assert set(codes.values()) == {
            "ok",
            "batch_expired" if isinstance(fault, faults.ExpireNow) else "batch_cancelled",
        }
        rig.assert_bought_once()


@pytest.mark.parametrize("fault", [faults.ExpireNow(), faults.Cancelled()], ids=["expired", "cancelled"])
async def test_what_the_provider_left_is_bought_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: faults.ExpireNow | faults.Cancelled
) -> None:
    """The error file names the lines that were not run; they alone go into the second batch, and all are answered."""
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(fault)
        handle = await service.batches.submit(requests(10), provider="openai", resubmit=1)
        assert set((await said(handle)).values()) == {"ok"}
        assert (await handle.result()).ok == 10
        state = await handle.state()
        assert (state.duplicate, state.extra, state.parts[0].round) == (0, 0, 1)
        rig.assert_bought_once(2)


async def test_w9_a_wrong_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W-9: what the provider says of a line reaches that line."""
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.FailValidation(code="invalid_json_line", message="Broken.", line=2))
        handle = await service.batches.submit(requests(), provider="openai")
        codes = await said(handle)
        assert codes["r-1"] == "invalid_json_line"
        assert set(codes.values()) == {"invalid_json_line", "batch_failed"}
        with pytest.raises(perdure.OperationFailed, match="Broken"):
            await handle.result()


async def test_lines_for_a_model_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        handle = await service.batches.submit(requests(model="nope"), provider="openai")
        assert await said(handle) == dict.fromkeys(ALL_OK, "model_not_found")
        assert (await handle.result()).failed == 4


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_w17_a_stuck_batch_ends_by_cancel_and_by_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """W-17: what never ends by itself is cancelled at the provider, and what it did until then is delivered."""
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.Stuck())
        handle = await service.batches.submit(
            requests(10), provider="openai", deadline_s=0.5 if how == "deadline" else None
        )
        if how == "cancel":
            await until(handle, "running")
            assert await handle.cancel(wait=True) == "cancelled"
        codes = await said(handle)
        assert set(codes.values()) == {"ok", "batch_cancelled"}
        with pytest.raises(perdure.OperationExpired if how == "deadline" else perdure.OperationCancelled):
            await handle.result()
        rig.assert_bought_once()


async def test_an_armed_rate_is_never_exceeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches want some sixty polls a second; the provider says that it takes five."""
    async with rigged(tmp_path, monkeypatch, batch_s=1.5) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.Rate(route=STATUS, per_s=5))
        async with trio.open_nursery() as nursery:

            async def one(key: str) -> None:
                handle = await service.batches.submit(requests(), provider="openai", key=key)
                assert await said(handle) == ALL_OK

            for number in range(3):
                nursery.start_soon(one, f"k-{number}")
        seen = rig.simulator.traffic.requests(RoutePattern(STATUS))
        assert len(seen) >= 5
        assert peak_per_s(seen) <= 5
        assert [one.status for one in seen if one.status == 429] == []
        rig.assert_bought_once(3)


@pytest.mark.parametrize("how", ["resume", "submit again"])
async def test_a_wrong_key_blocks_and_the_right_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        monkeypatch.setenv(VARIABLE, wrong_key())
        handle = await service.batches.submit(requests(), provider="openai", key="k")
        assert "auth" in (await until(handle, "blocked")).note
        with pytest.raises(perdure.Timeout):
            await handle.result(timeout_s=0.05)
        monkeypatch.setenv(VARIABLE, rig.key)
        if how == "resume":
            await handle.resume()
        else:
            handle = await service.batches.submit(requests(), provider="openai", key="k")
        assert await said(handle) == ALL_OK
        rig.assert_bought_once()


async def test_a_missing_key_blocks_and_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        monkeypatch.delenv(VARIABLE)
        handle = await service.batches.submit(requests(), provider="openai", key="k")
        assert VARIABLE in (await until(handle, "blocked")).note
        assert rig.simulator.traffic.requests() == []
        monkeypatch.setenv(VARIABLE, rig.key)
        await handle.resume()
        assert await said(handle) == ALL_OK


async def test_a_key_that_goes_bad_while_the_provider_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.Hold(route=STATUS, act=False))
        handle = await service.batches.submit(requests(), provider="openai", key="k")
        await rig.simulator.holds.wait_held()
        rig.simulator.faults.arm(faults.AnswerStatus(route=STATUS, status=401, count=2))
        monkeypatch.setenv(VARIABLE, wrong_key())
        rig.simulator.faults.arm(faults.AnswerStatus(route=CONTENT, status=401))
        rig.simulator.holds.release()
        await until(handle, "blocked")
        monkeypatch.setenv(VARIABLE, rig.key)
        rig.simulator.faults.clear()
        await handle.resume()
        assert await said(handle) == ALL_OK
        rig.assert_bought_once()
