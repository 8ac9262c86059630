"""xAI's batches over a fake `Fetch`: what is asked for, and how a batch without a status stands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from perdure.actors.batch.ports import BatchInput, BatchProvider, Sought
from perdure.actors.fetch import HttpRequest, Refused, Unknown
from perdure.adapters.xai import XaiBatches
from perdure.events.errors import Unsupported
from perdure.events.requests import Prompt
from tests.adapters.openai.fake import FakeFetch, Reply, reply

BATCHES: BatchProvider = XaiBatches()

CREATED = "2026-11-20T10:00:00Z"
EXPIRES = "2026-11-21T10:00:00.123456789Z"
NOON = "Fri, 20 Nov 2026 12:00:00 GMT"
NEXT_NOON = "Sat, 21 Nov 2026 12:00:00 GMT"
AT = 1_795_168_800_000_000


def counts(total: int, pending: int, success: int = 0, error: int = 0, cancelled: int = 0) -> dict[str, object]:
    names = ("num_requests", "num_pending", "num_success", "num_error", "num_cancelled")
    return dict(zip(names, (total, pending, success, error, cancelled), strict=True))


def batch(id_: str = "b1", **fields: object) -> dict[str, object]:
    """A batch as xAI shows one."""
    return {
        "batch_id": id_,
        "name": "log-b-0",
        "create_time": CREATED,
        "expire_time": EXPIRES,
        "cancel_time": None,
        "cancel_by_xai_message": None,
        "state": counts(4, 1, 3),
        "cost_breakdown": {"total_cost_usd_ticks": 0},
        **fields,
    }


def page(batches: list[dict[str, object]], token: str | None = None) -> Reply:
    return reply({"batches": batches, "pagination_token": token})


async def no_lines() -> AsyncIterator[bytes]:
    nothing: list[bytes] = []
    for line in nothing:
        yield line


PART = BatchInput(model="m", count=4, size_bytes=400, file="file_1", lines=no_lines)


def sought(identity: str) -> Sought:
    return Sought(identity=identity, line_prefix="b-", count=4, first=0, last=3, since=AT)


def test_what_it_says_of_itself() -> None:
    assert (BATCHES.name, BATCHES.searchable, BATCHES.window_s) == ("xai", True, 86_400.0)
    assert BATCHES.endpoints[:2] == ("/v1/responses", "/v1/chat/completions")
    for endpoint in BATCHES.endpoints:
        limits = BATCHES.limits(endpoint)
        assert (limits.max_lines, limits.max_bytes) == (50_000, 48_000_000)
    assert BATCHES.needs_file(1)


def test_prompts_become_responses_or_chats_and_no_images() -> None:
    prompt = Prompt("a", model="grok-5")
    assert BATCHES.render(prompt, "/v1/responses").body == {"model": "grok-5", "input": "a"}
    with pytest.raises(Unsupported, match="xai has no place for a prompt in '/v1/images/generations'"):
        BATCHES.render(prompt, "/v1/images/generations")
    line = BATCHES.encode_line("b-0", "/v1/responses", b'{"model":\n"m"}')
    assert json.loads(line) == {
        "custom_id": "b-0",
        "method": "POST",
        "url": "/v1/responses",
        "body": {"model": "m"},
    }
    assert BATCHES.body_of(line) == b'{"model": "m"}'


@pytest.mark.trio
async def test_create_plants_the_identity_as_the_name_and_is_a_create() -> None:
    fetch = FakeFetch(reply(batch(state=counts(0, 0))))
    created = await BATCHES.create(fetch, PART, endpoint="/v1/responses", identity="log-b-0")
    (request,) = fetch.requests
    assert (request.method, request.path, request.safety) == ("POST", "/batches", "create")
    assert isinstance(request.body, bytes)
    assert json.loads(request.body) == {"name": "log-b-0", "input_file_id": "file_1"}
    assert (created.id, created.status, created.created_at, created.identity) == ("b1", "pending", AT, "log-b-0")


STANDINGS: dict[str, tuple[Any, str, str]] = {
    "nothing yet": ({"state": counts(0, 0)}, NOON, "pending"),
    "no counts": ({"state": None}, NOON, "pending"),
    "empty counts": ({"state": {}}, NOON, "pending"),
    "all pending": ({"state": counts(4, 4)}, NOON, "processing"),
    "some pending": ({"state": counts(4, 1, 3)}, NOON, "processing"),
    "all succeeded": ({"state": counts(4, 0, 4)}, NOON, "completed"),
    "some failed": ({"state": counts(4, 0, 3, 1)}, NOON, "completed"),
    "all failed": ({"state": counts(4, 0, 0, 4)}, NOON, "failed"),
    "all cancelled": ({"state": counts(4, 0, 0, 0, 4)}, NOON, "cancelled"),
    "some cancelled, nobody asked": ({"state": counts(4, 0, 3, 0, 1)}, NOON, "completed"),
    "some cancelled": ({"state": counts(4, 0, 3, 0, 1), "cancel_time": CREATED}, NOON, "cancelled"),
    "some cancelled, listed as errors": ({"state": counts(4, 0, 3, 1), "cancel_time": CREATED}, NOON, "cancelled"),
    "all cancelled, listed as errors": ({"state": counts(4, 0, 0, 4), "cancel_time": CREATED}, NOON, "cancelled"),
    "some expired, listed as errors": ({"state": counts(4, 0, 3, 1)}, NEXT_NOON, "expired"),
    "some expired, listed as cancelled": ({"state": counts(4, 0, 3, 0, 1)}, NEXT_NOON, "expired"),
    "all failed, looked at late": ({"state": counts(4, 0, 0, 4)}, NEXT_NOON, "failed"),
    "cancelled too late": ({"state": counts(4, 0, 4), "cancel_time": CREATED}, NOON, "completed"),
    "being cancelled": ({"cancel_time": "2026-11-20T11:00:01Z"}, NOON, "processing"),
    "being cancelled for long": ({"cancel_time": "2026-11-20T11:00:00Z"}, NOON, "cancelled"),
    "being cancelled, no clock": ({"cancel_time": "2026-11-20T11:59:59Z"}, "", "cancelled"),
    "cancelled at an odd time": ({"cancel_time": "yesterday"}, NOON, "cancelled"),
    "not cancelled, empty": ({"cancel_time": ""}, NOON, "processing"),
    "expired": ({}, NEXT_NOON, "expired"),
    "expired without requests": ({"state": counts(0, 0)}, NEXT_NOON, "expired"),
    "completed before it expired": ({"state": counts(4, 0, 4)}, NEXT_NOON, "completed"),
    "perhaps expired, no clock": ({}, "", "processing"),
    "perhaps expired, an odd clock": ({}, "noon", "processing"),
    "no time to expire": ({"expire_time": None}, NEXT_NOON, "processing"),
    "an odd time to expire": ({"expire_time": "soon"}, NEXT_NOON, "processing"),
    "pending left out": ({"state": {"num_requests": 4, "num_success": 3}}, NOON, "processing"),
    "pending left out, ended": ({"state": {"num_requests": 4, "num_success": 3, "num_error": 1}}, NOON, "completed"),
    "counts as text": ({"state": {"num_requests": "4", "num_pending": "0", "num_success": "4"}}, NOON, "completed"),
}


@pytest.mark.trio
@pytest.mark.parametrize(("fields", "date", "status"), STANDINGS.values(), ids=STANDINGS)
async def test_b34_how_a_batch_without_a_status_stands(fields: Any, date: str, status: str) -> None:
    fetch = FakeFetch(reply(batch(**fields), date=date))
    seen = await BATCHES.status(fetch, "b1")
    assert (seen.status, tuple(seen.sources)) == (status, ("b1",))
    assert [(request.method, request.path, request.safety) for request in fetch.requests] == [
        ("GET", "/batches/b1", "read")
    ]


@pytest.mark.trio
async def test_b34_counts_are_told() -> None:
    seen = await BATCHES.status(FakeFetch(reply(batch(state=counts(10, 1, 7, 2)))), "b1")
    assert (seen.total, seen.completed, seen.failed, seen.poll_after_s) == (10, 7, 2, None)


UNREADABLE = [
    Reply(b"<html>", 200, {"content-type": "text/html"}),
    Reply(b'{"batch_id":"b1","sta'),
    Reply(b""),
    Reply(b"\xff\xfe"),
    reply({"name": "log-b-0"}),
    reply({"batch_id": ""}),
    reply([]),
]
UNREADABLE_IDS = ["page", "cut", "empty", "no text", "no id", "empty id", "list"]


@pytest.mark.trio
@pytest.mark.parametrize("answer", UNREADABLE, ids=UNREADABLE_IDS)
async def test_w23_a_created_batch_whose_answer_cannot_be_read_is_unknown(answer: Reply) -> None:
    with pytest.raises(Unknown):
        await BATCHES.create(FakeFetch(answer), PART, endpoint="/v1/responses", identity="i")


@pytest.mark.trio
@pytest.mark.parametrize("answer", UNREADABLE, ids=UNREADABLE_IDS)
async def test_a_status_that_cannot_be_read_may_be_asked_again(answer: Reply) -> None:
    with pytest.raises(Refused) as caught:
        await BATCHES.status(FakeFetch(answer), "b1")
    assert (caught.value.kind, caught.value.retryable) == ("server_error", True)


@pytest.mark.trio
async def test_an_id_cannot_leave_its_path() -> None:
    fetch = FakeFetch(reply(batch()))
    await BATCHES.status(fetch, "../files?x=/")
    assert fetch.requests[0].path == "/batches/..%2Ffiles%3Fx%3D%2F"


# ---------------------------------------------------------------- finding again


@pytest.mark.trio
async def test_w4_find_reads_all_pages_in_whatever_order_they_come() -> None:
    hours = (11, 12, 10, 13)
    several = [batch(f"b{hour}", name="same", create_time=f"2026-11-20T{hour}:00:00Z") for hour in hours]
    others = [batch(f"other-{n}", name=f"log-{n}") for n in range(200)]
    everything = [several[0], *others, *several[1:]]

    def script(request: HttpRequest) -> Reply:
        assert (request.method, request.path, request.safety) == ("GET", "/batches", "read")
        start, limit = int(request.query.get("pagination_token", 0)), int(request.query["limit"])
        end = start + limit
        return page(everything[start:end], str(end) if end < len(everything) else None)

    fetch = FakeFetch(script)
    found = await BATCHES.find(fetch, sought("same"))
    assert [seen.id for seen in found] == ["b10", "b11", "b12", "b13"]
    assert len(fetch.requests) == 3
    assert list(await BATCHES.find(FakeFetch(script), sought("nobody"))) == []


@pytest.mark.trio
async def test_w4_find_in_an_empty_account() -> None:
    assert list(await BATCHES.find(FakeFetch(page([])), sought("i"))) == []
    assert list(await BATCHES.find(FakeFetch(page([], "")), sought("i"))) == []


@pytest.mark.trio
@pytest.mark.parametrize(
    "pages",
    [
        [page([batch("b1")], "t"), page([], "u")],
        [page([batch("b1")], "t"), page([batch("b1")], "t")],
        [page([batch("b1")], "t"), Reply(b"<html>", 200, {"content-type": "text/html"})],
        [page([batch("b1")], "t"), page([{"name": "i"}])],
        [reply({"pagination_token": None})],
    ],
    ids=["more, but none there", "the same page again", "a web page", "a batch without an id", "no list"],
)
async def test_w4_an_incomplete_list_is_never_taken_for_absence(pages: list[Reply]) -> None:
    with pytest.raises(Refused) as caught:
        await BATCHES.find(FakeFetch(pages), sought("i"))
    assert caught.value.retryable


# ---------------------------------------------------------------- cancelling


@pytest.mark.trio
async def test_cancel_has_a_colon() -> None:
    fetch = FakeFetch(reply({}))
    await BATCHES.cancel(fetch, "b1")
    assert [(request.method, request.path, request.safety) for request in fetch.requests] == [
        ("POST", "/batches/b1:cancel", "idempotent")
    ]


@pytest.mark.trio
@pytest.mark.parametrize("refusal", [400, 409])
@pytest.mark.parametrize("fields", [{"state": counts(4, 0, 4)}, {"cancel_time": CREATED}], ids=["ended", "cancelling"])
async def test_w70_cancelling_what_has_ended_is_an_expected_answer(refusal: int, fields: Any) -> None:
    fetch = FakeFetch([reply({"code": "c", "error": "It has ended."}, refusal), reply(batch(**fields))])
    await BATCHES.cancel(fetch, "b1")
    assert fetch.requests[0].expected >= {400, 409}


@pytest.mark.trio
async def test_w70_a_refused_cancel_of_what_goes_on_is_an_error() -> None:
    refusal = reply({"code": "busy", "error": "Not now."}, 409, x_trace_id="t1")
    with pytest.raises(Refused, match="Not now") as caught:
        await BATCHES.cancel(FakeFetch([refusal, reply(batch())]), "b1")
    assert (caught.value.provider_code, caught.value.provider_request_id) == ("busy", "t1")
    assert caught.value.retryable
