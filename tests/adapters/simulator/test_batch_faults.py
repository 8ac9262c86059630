"""Faults on batches: each of them, for the next batch and, where that has a meaning, for one that exists."""

from __future__ import annotations

import pytest

from tests.adapters.simulator.bench import BATCH_S, T0, bench, ids, prompts

pytestmark = pytest.mark.trio

DAY_S = 86_400


async def test_a_stuck_batch_never_advances_and_expires_with_partial_output() -> None:
    async with bench() as b:
        await b.arm("stuck", done=0.3)
        made = await b.batch(prompts(10))
        for _ in range(3):
            stuck = await b.look(made["id"], after_s=BATCH_S)
            assert (stuck["status"], stuck["request_counts"]["completed"]) == ("in_progress", 3)
        expired = await b.look(made["id"], after_s=DAY_S)
        assert (expired["status"], expired["expired_at"]) == ("expired", int(T0) + DAY_S)
        assert ids(await b.lines(expired["output_file_id"])) == ["r0", "r1", "r2"]
        left = await b.lines(expired["error_file_id"])
        assert ids(left) == [f"r{n}" for n in range(3, 10)]
        assert {(line["response"], line["error"]["code"]) for line in left} == {(None, "batch_expired")}


@pytest.mark.parametrize("status", ["validating", "finalizing"])
async def test_a_batch_can_be_stuck_in_any_stage_and_cancelled_out_of_it(status: str) -> None:
    async with bench() as b:
        await b.arm("stuck", status=status)
        made = await b.batch(prompts(2))
        assert (await b.look(made["id"], after_s=BATCH_S))["status"] == status
        await b.ok("POST", f"/batches/{made['id']}/cancel")
        cancelled = await b.look(made["id"], after_s=BATCH_S)
        assert cancelled["status"] == "cancelled"
        done = 2 if status == "finalizing" else 0
        assert (cancelled["output_file_id"] is not None) is bool(done)


@pytest.mark.parametrize(("fault", "end", "after_s"), [("expire_now", "expired", 0), ("cancelled", "cancelled", 10)])
async def test_a_batch_that_exists_can_be_ended(fault: str, end: str, after_s: float) -> None:
    async with bench() as b:
        made = await b.batch(prompts(10))
        await b.look(made["id"], after_s=50)
        await b.arm(fault, batch=made["id"], done=0.4)
        ended = await b.look(made["id"], after_s=after_s)
        assert ended["status"] == end
        assert len(await b.lines(ended["output_file_id"])) == 4
        assert len(await b.lines(ended["error_file_id"])) == 6
        assert (await b.control("GET", "/faults"))["armed"] == []


@pytest.mark.parametrize(("fault", "end"), [("expire_now", "expired"), ("cancelled", "cancelled")])
@pytest.mark.parametrize("batch_s", [BATCH_S, 0.0])
async def test_the_next_batch_can_be_ended_half_way(fault: str, end: str, batch_s: float) -> None:
    async with bench(batch_s=batch_s) as b:
        await b.arm(fault)
        made = await b.batch(prompts(10))
        ended = await b.look(made["id"], after_s=batch_s * 0.6)
        assert ended["status"] == end
        assert len(await b.lines(ended["output_file_id"])) == 5
        assert len(await b.lines(ended["error_file_id"])) == 5


async def test_validation_can_fail_with_any_error() -> None:
    async with bench() as b:
        await b.arm("fail_validation", code="token_limit_exceeded", message="too much", line=3)
        made = await b.batch(prompts(1))
        failed = await b.look(made["id"], after_s=BATCH_S)
        assert failed["status"] == "failed"
        (error,) = failed["errors"]["data"]
        assert error == {"code": "token_limit_exceeded", "message": "too much", "line": 3, "param": None}


async def test_some_lines_can_fail() -> None:
    async with bench() as b:
        await b.arm("fail_lines", lines=3, status=503)
        batch, output, errors = await b.finished(prompts(10))
        assert batch["request_counts"] == {"total": 10, "completed": 7, "failed": 3}
        assert sorted(ids(output) + ids(errors)) == sorted(f"r{n}" for n in range(10))
        assert {line["response"]["status_code"] for line in errors} == {503}


async def test_the_output_can_be_shuffled() -> None:
    async with bench() as b:
        _, straight, _ = await b.finished(prompts(20))
        await b.arm("shuffled")
        _, shuffled, _ = await b.finished(prompts(20))
        assert ids(shuffled) != ids(straight)
        assert sorted(ids(shuffled)) == sorted(ids(straight))

        def texts(lines: list[dict[str, object]]) -> dict[object, object]:
            return {line["custom_id"]: line["response"]["body"]["output"][0]["content"] for line in lines}  # type: ignore[index]

        assert texts(shuffled) == texts(straight)


async def test_lines_can_be_missing_and_are_counted_all_the_same() -> None:
    async with bench() as b:
        await b.arm("missing", lines=2)
        batch, output, errors = await b.finished(prompts(5))
        assert batch["request_counts"] == {"total": 5, "completed": 5, "failed": 0}
        assert (len(output), errors) == (3, [])


async def test_lines_can_come_twice_and_then_say_something_else() -> None:
    async with bench() as b:
        await b.arm("duplicate", lines=2)
        batch, output, _ = await b.finished(prompts(5))
        assert (len(output), len(set(ids(output)))) == (7, 5)
        assert batch["request_counts"]["completed"] == 5
        assert len({line["response"]["body"]["id"] for line in output}) == 7
        assert len({line["id"] for line in output}) == 7


async def test_lines_can_be_there_that_nobody_asked_for() -> None:
    async with bench() as b:
        await b.arm("extra", lines=2)
        _, output, _ = await b.finished(prompts(1))
        assert ids(output) == ["r0", "extra-1", "extra-2"]


async def test_lines_can_be_garbled() -> None:
    async with bench() as b:
        await b.arm("garbled")
        made = await b.batch(prompts(3))
        done = await b.look(made["id"], after_s=BATCH_S)
        content = (await b.call("GET", f"/files/{done['output_file_id']}/content")).content
        whole = [line for line in content.splitlines() if line.endswith(b"}")]
        assert (len(content.splitlines()), len(whole)) == (3, 2)


async def test_there_can_be_only_an_error_file() -> None:
    async with bench() as b:
        await b.arm("only_error_file")
        batch, _, errors = await b.finished(prompts(3))
        assert (batch["status"], batch["output_file_id"]) == ("completed", None)
        assert len(errors) == 3


async def test_there_can_be_no_file_at_all() -> None:
    async with bench() as b:
        await b.arm("completed_without_file")
        batch, _, _ = await b.finished(prompts(3))
        assert (batch["status"], batch["output_file_id"], batch["error_file_id"]) == ("completed", None, None)
        assert batch["request_counts"]["completed"] == 3


async def test_ids_that_are_not_there_can_be_empty_text() -> None:
    async with bench() as b:
        await b.arm("empty_ids")
        made = await b.batch(prompts(1))
        assert (made["output_file_id"], made["error_file_id"]) == ("", "")
        done = await b.look(made["id"], after_s=BATCH_S)
        assert done["output_file_id"].startswith("file-")
        assert done["error_file_id"] == ""


async def test_a_batch_can_come_late_into_the_list() -> None:
    async with bench() as b:
        await b.arm("unlisted", for_s=30)
        made = await b.batch(prompts(1))
        assert (await b.ok("GET", "/batches"))["data"] == []
        await b.look(made["id"], after_s=30)
        assert [batch["id"] for batch in (await b.ok("GET", "/batches"))["data"]] == [made["id"]]


async def test_faults_add_up_and_are_used_up_by_the_batches_they_struck() -> None:
    async with bench() as b:
        await b.arm("missing", lines=1, count=2)
        await b.arm("extra", lines=1)
        counts = [len((await b.finished(prompts(5)))[1]) for _ in range(3)]
        assert counts == [5, 4, 5]


async def test_what_struck_a_batch_stays_when_the_faults_are_cleared() -> None:
    async with bench() as b:
        await b.arm("stuck")
        made = await b.batch(prompts(1))
        await b.control("DELETE", "/faults")
        assert (await b.look(made["id"], after_s=BATCH_S))["status"] == "in_progress"


async def test_a_batch_that_has_ended_or_is_not_there_cannot_be_struck() -> None:
    async with bench() as b:
        batch, _, _ = await b.finished(prompts(1))
        for name in (batch["id"], "batch_unknown"):
            answer = await b.http.post("/_sim/faults", json={"fault": "stuck", "batch": name})
            assert answer.status_code == 400
            assert name in answer.json()["error"]["message"]
        working = await b.batch(prompts(1))
        await b.look(working["id"], after_s=20)
        answer = await b.http.post("/_sim/faults", json={"fault": "fail_validation", "batch": working["id"]})
        assert "validation is over" in answer.json()["error"]["message"]
