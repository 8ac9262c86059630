"""Message batches over a fake `Fetch`: what is asked for, and what each answer means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from perdure.actors.batch.ports import BatchProvider, Undecided
from perdure.actors.fetch import FetchError, HttpRequest, Refused, Unknown
from perdure.actors.purchase import CLOCK_MARGIN_US
from perdure.adapters.anthropic import AnthropicBatches
from perdure.adapters.anthropic.batches import MAX_INPUT_BYTES
from perdure.adapters.anthropic.searching import ALONE_S, CLOCK_JUMP_S, SENDING_S, Memory
from perdure.adapters.patience import CLOCK_MARGIN_S
from tests.adapters.openai.fake import FakeFetch, Reply, Script, reply
from tests.adapters.parts import inline, sought

pytestmark = pytest.mark.trio

BATCHES: BatchProvider = AnthropicBatches()
PATH = "/v1/messages/batches"
AT = 1_795_190_000_000_000
GONE = {"type": "error", "error": {"type": "not_found_error", "message": "no"}, "request_id": "req_1"}
NONE = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}


def batch(id_: str = "msgbatch_1", after_s: float = 60.0, **fields: object) -> dict[str, object]:
    """A batch as Anthropic shows one, made so long after `AT`."""
    made_at = datetime.fromtimestamp(AT / 1_000_000 + after_s, UTC)
    return {
        "id": id_,
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {**NONE, "processing": 3},
        "created_at": made_at.isoformat().replace("+00:00", "Z"),
        "results_url": None,
        **fields,
    }


async def test_create_streams_the_lines_as_they_are() -> None:
    lines = [BATCHES.encode_line(f"job-{n}", "/v1/messages", b'{"model":"m","n":%d}' % n) for n in range(5)]
    fetch = FakeFetch(reply(batch()))
    made = await BATCHES.create(fetch, inline(lines), endpoint="/v1/messages", identity="log-b-0")
    (request,) = fetch.requests
    assert (request.method, request.path, request.safety) == ("POST", PATH, "create")
    assert callable(request.body)
    for _ in range(2):
        sent = b"".join([chunk async for chunk in request.body()])
        assert len(sent) == request.body_bytes
        assert json.loads(sent) == {
            "requests": [{"custom_id": f"job-{n}", "params": {"model": "m", "n": n}} for n in range(5)]
        }
    assert (made.id, made.status, made.total, tuple(made.sources)) == ("msgbatch_1", "processing", 3, ())


async def test_the_largest_part_fits_into_a_request() -> None:
    limits = BATCHES.limits("/v1/messages")
    assert (limits.max_lines, limits.max_bytes) == (100_000, MAX_INPUT_BYTES)
    assert not BATCHES.needs_file(MAX_INPUT_BYTES)
    fetch = FakeFetch(reply(batch()))
    part = inline([b"x" * (MAX_INPUT_BYTES - 1) + b"\n"])
    await BATCHES.create(fetch, part, endpoint="/v1/messages", identity="")
    assert (fetch.requests[0].body_bytes or 0) <= 256_000_000


@pytest.mark.parametrize("answer", [Reply(b"<html>"), reply({"id": ""}), reply([])])
async def test_w4_a_create_whose_answer_cannot_be_read_is_unknown(answer: Reply) -> None:
    with pytest.raises(Unknown):
        await BATCHES.create(FakeFetch(answer), inline([b"{}\n"]), endpoint="/v1/messages", identity="")


@pytest.mark.parametrize(
    ("word", "counts", "status", "told"),
    [
        ("in_progress", {"processing": 5}, "processing", (5, 0, 0)),
        ("canceling", {"processing": 5}, "processing", (5, 0, 0)),
        ("ended", {"succeeded": 5}, "completed", (5, 5, 0)),
        ("ended", {"errored": 5}, "completed", (5, 0, 5)),
        ("ended", {"succeeded": 3, "errored": 2}, "completed", (5, 3, 2)),
        ("ended", {"expired": 5}, "expired", (5, 0, 5)),
        ("ended", {"succeeded": 3, "expired": 2}, "expired", (5, 3, 2)),
        ("ended", {"canceled": 5}, "cancelled", (5, 0, 0)),
        ("ended", {"succeeded": 1, "errored": 1, "canceled": 3}, "cancelled", (5, 1, 1)),
        ("ended", {"canceled": 3, "expired": 2}, "expired", (5, 0, 2)),
        ("ended", {}, "completed", (0, 0, 0)),
        ("expired", {"expired": 5}, "expired", (5, 0, 5)),
        ("pondering", {"processing": 5}, "pending", (5, 0, 0)),
        ("", {"processing": 5}, "pending", (5, 0, 0)),
        (None, {"processing": 5}, "pending", (5, 0, 0)),
        ("in_progress", None, "processing", (0, 0, 0)),
        ("in_progress", {"processing": None}, "processing", (0, 0, 0)),
    ],
)
async def test_b34_each_status_and_what_its_counts_make_of_it(
    word: str | None, counts: object, status: str, told: tuple[int, int, int]
) -> None:
    fetch = FakeFetch(reply(batch(processing_status=word, request_counts=counts)))
    seen = await BATCHES.status(fetch, "msgbatch_1")
    assert (seen.status, seen.total, seen.completed, seen.failed) == (status, *told)
    assert seen.created_at == AT + 60_000_000
    assert [(request.method, request.path, request.safety) for request in fetch.requests] == [
        ("GET", f"{PATH}/msgbatch_1", "read")
    ]


@pytest.mark.parametrize(("url", "sources"), [("https://x/results", ("msgbatch_1",)), ("", ()), (None, ())])
async def test_b34_w8_results_of_an_end(url: str | None, sources: tuple[str, ...]) -> None:
    seen = await BATCHES.status(FakeFetch(reply(batch(processing_status="ended", results_url=url))), "msgbatch_1")
    assert tuple(seen.sources) == sources


async def results_of(fetch: FakeFetch, skip_bytes: int = 0) -> list[bytes]:
    """All lines of results."""
    lines: list[bytes] = []
    async with BATCHES.results(fetch, "msgbatch_1", skip_bytes=skip_bytes) as runs:
        async for run in runs:
            lines.extend(run)
    return lines


async def test_results_are_read_below_the_base_url_wherever_they_are_said_to_be() -> None:
    fetch = FakeFetch(
        [
            reply(batch(processing_status="ended", results_url="https://elsewhere.example/results")),
            Reply(b'{"a":1}\n{"b":2}'),
            Reply(b'{"a":1}\n{"b":2}'),
        ]
    )
    ended = await BATCHES.status(fetch, "msgbatch_1")
    assert tuple(ended.sources) == ("msgbatch_1",)
    assert await results_of(fetch) == [b'{"a":1}', b'{"b":2}']
    assert await results_of(fetch, skip_bytes=8) == [b'{"b":2}']
    assert {request.path for request in fetch.requests[1:]} == {f"{PATH}/msgbatch_1/results"}


async def test_results_that_end_within_a_line_are_unknown() -> None:
    with pytest.raises(Unknown):
        await results_of(FakeFetch(Reply(b'{"a":1}\n{"b"')))


class NotFound(FakeFetch):
    """Refuses as the network does."""

    def _next(self, request: HttpRequest) -> Reply:
        try:
            return super()._next(request)
        except Refused as refused:
            raise Refused(str(refused), kind="not_found", status=refused.status or 0) from refused


def by_path(**answers: Reply) -> Script:
    """Answers by the last segment of the path."""
    return lambda request: answers[request.path.rpartition("/")[2]]


async def test_w10_404_for_a_batch_that_we_hold_is_worth_a_repeat() -> None:
    gone = reply(GONE, 404)
    fetch = FakeFetch(by_path(msgbatch_1=gone, results=gone, cancel=gone))
    for asking in (
        BATCHES.status(fetch, "msgbatch_1"),
        results_of(NotFound(by_path(msgbatch_1=gone, results=gone))),
        BATCHES.cancel(fetch, "msgbatch_1"),
    ):
        with pytest.raises(Refused) as refused:
            await asking
        assert (refused.value.kind, refused.value.retryable) == ("server_error", True)
        assert refused.value.retry_after_s


@pytest.mark.parametrize(("url", "kind"), [("https://x/results", "server_error"), (None, "not_found")])
async def test_w10_results_that_answer_404_are_gone_only_when_the_batch_says_so(url: str | None, kind: str) -> None:
    ended = batch(processing_status="ended", results_url=url, archived_at=None if url else "2026-12-20T00:00:00Z")
    fetch = NotFound(by_path(results=reply(GONE, 404), msgbatch_1=reply(ended)))
    with pytest.raises(Refused) as refused:
        await results_of(fetch)
    assert refused.value.kind == kind


async def test_other_refusals_of_results_are_left_as_they_are() -> None:
    fetch = FakeFetch(Refused("no", kind="auth", status=401))
    with pytest.raises(Refused) as refused:
        await results_of(fetch)
    assert (refused.value.kind, len(fetch.requests)) == ("auth", 1)


@pytest.mark.parametrize(
    "answers",
    [
        [reply(batch(processing_status="canceling"))],
        [reply(GONE, 400), reply(batch(processing_status="ended"))],
        [reply(GONE, 409), reply(batch(processing_status="canceling"))],
        [reply(GONE, 404), reply(batch(processing_status="ended"))],
    ],
)
async def test_cancelling_ends_when_there_is_nothing_left_to_cancel(answers: Sequence[Reply]) -> None:
    fetch = FakeFetch(answers)
    await BATCHES.cancel(fetch, "msgbatch_1")
    assert (fetch.requests[0].method, fetch.requests[0].path) == ("POST", f"{PATH}/msgbatch_1/cancel")
    assert len(fetch.requests) == len(answers)


@pytest.mark.parametrize("status", [400, 404, 409])
async def test_a_cancellation_that_is_refused_while_the_batch_goes_on_is_worth_a_repeat(status: int) -> None:
    with pytest.raises(Refused) as refused:
        await BATCHES.cancel(FakeFetch([reply(GONE, status), reply(batch())]), "msgbatch_1")
    assert (refused.value.kind, refused.value.retryable) == ("server_error", True)


# ---------------------------------------------------------------- finding again

OURS = [f"job-{n}" for n in range(3)]


def ended(id_: str = "msgbatch_1", after_s: float = 60.0, **fields: object) -> dict[str, object]:
    """A batch of three that has ended."""
    told = {"processing_status": "ended", "request_counts": {**NONE, "succeeded": 3}, "results_url": "https://x/r"}
    return batch(id_, after_s, **(told | fields))


def found_among(
    batches: Sequence[object], results: dict[str, Sequence[str] | FetchError] | None = None, **page: object
) -> FakeFetch:
    """A provider with these batches, newest first, and with results that answer these lines."""

    def script(request: HttpRequest) -> Reply | FetchError:
        if request.path == PATH:
            return reply({"data": list(batches), "has_more": False, **page})
        said = (results or {})[request.path.split("/")[-2]]
        if isinstance(said, FetchError):
            return said
        return Reply(b"".join(b'{"custom_id":"%b","result":{"type":"expired"}}\n' % id_.encode() for id_ in said))

    return FakeFetch(script)


WANTED = sought("log-b-0", AT - CLOCK_MARGIN_US, line_prefix="job-", count=3)


async def find(fetch: FakeFetch, *, others: frozenset[str] = frozenset()) -> list[str]:
    """What is found of three lines that were bought around `AT`, as ids; what runs is looked at twice."""
    provider, wanted = AnthropicBatches(), replace(WANTED, others=others)
    try:
        batches = await provider.find(fetch, wanted)
    except Undecided as undecided:
        if "stays the only one" not in str(undecided):
            raise
        await trio.sleep(ALONE_S)
        batches = await provider.find(fetch, wanted)
    return [found.id for found in batches]


async def test_w4_one_that_runs_is_found_by_window_and_count(autojump_clock: trio.testing.MockClock) -> None:
    assert await find(found_among([batch("msgbatch_1")])) == ["msgbatch_1"]


async def test_w4_one_that_runs_is_ours_only_when_nobody_else_asks_about_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    provider = AnthropicBatches()
    fetch = found_among([batch("msgbatch_1")])
    for _ in range(2):
        with pytest.raises(Undecided, match="stays the only one"):
            await provider.find(fetch, WANTED)
        await trio.sleep(ALONE_S / 2 - 1)
    await provider.status(FakeFetch(reply(batch("msgbatch_1"))), "msgbatch_1")
    assert await provider.find(fetch, WANTED) == []


async def test_w4_another_one_that_is_left_begins_anew(autojump_clock: trio.testing.MockClock) -> None:
    provider = AnthropicBatches()
    with pytest.raises(Undecided):
        await provider.find(found_among([batch("msgbatch_1")]), WANTED)
    await trio.sleep(ALONE_S)
    with pytest.raises(Undecided):
        await provider.find(found_among([batch("msgbatch_2")]), WANTED)
    await trio.sleep(ALONE_S - 1)
    with pytest.raises(Undecided):
        await provider.find(found_among([batch("msgbatch_2")]), WANTED)
    await trio.sleep(1)
    (found,) = await provider.find(found_among([batch("msgbatch_2")]), WANTED)
    assert found.id == "msgbatch_2"


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.adapters.anthropic.searching.MOST_HELD", 2)
    memory = Memory()
    for id_ in ("a", "b", "a", "c"):
        memory.hold(id_)
    assert [memory.holds(id_) for id_ in ("a", "b", "c")] == [True, False, True]


@pytest.mark.parametrize(
    "other",
    [
        batch("msgbatch_2", request_counts={**NONE, "processing": 4}),
        batch("msgbatch_2", after_s=-CLOCK_MARGIN_S - CLOCK_JUMP_S - 1),
        batch("msgbatch_2", after_s=CLOCK_MARGIN_S + SENDING_S + CLOCK_JUMP_S + 1),
        ended("msgbatch_2"),
    ],
    ids=["another count", "long before", "long after", "another's results"],
)
async def test_w4_what_is_surely_another_is_passed_over(
    autojump_clock: trio.testing.MockClock, other: dict[str, object]
) -> None:
    results: dict[str, Sequence[str] | FetchError] = {"msgbatch_2": ["other-1", "job-x", "job-7", "job-01", "job-"]}
    assert await find(found_among([other], results)) == []
    assert await find(found_among([other, batch("msgbatch_1")], results)) == ["msgbatch_1"]


async def test_w4_one_that_has_ended_is_found_by_its_custom_ids() -> None:
    results: dict[str, Sequence[str] | FetchError] = {"msgbatch_1": OURS, "msgbatch_2": ["other-0"]}
    batches = [ended("msgbatch_2"), ended("msgbatch_1"), batch("msgbatch_3")]
    assert await find(found_among(batches, results)) == ["msgbatch_1"]


async def test_w4_two_that_are_ours_are_both_found_oldest_first() -> None:
    results: dict[str, Sequence[str] | FetchError] = {"msgbatch_1": OURS, "msgbatch_2": OURS[::-1]}
    batches = [ended("msgbatch_2", after_s=700), ended("msgbatch_1")]
    assert await find(found_among(batches, results)) == ["msgbatch_1", "msgbatch_2"]


@pytest.mark.parametrize(
    "batches",
    [
        [batch("msgbatch_1"), batch("msgbatch_2")],
        [batch("msgbatch_1"), ended("msgbatch_3")],
        [ended("msgbatch_3")],
        [ended("msgbatch_2", results_url=None)],
        [batch("msgbatch_1", after_s=-CLOCK_MARGIN_S - CLOCK_JUMP_S + 1)],
        [batch("msgbatch_1", after_s=CLOCK_MARGIN_S + SENDING_S + CLOCK_JUMP_S - 1)],
    ],
    ids=["two run", "one runs, one is silent", "one is silent", "one has no results", "hours before", "hours after"],
)
async def test_w4_what_cannot_be_told_yet_is_asked_again(batches: Sequence[object]) -> None:
    with pytest.raises(Undecided) as undecided:
        await find(found_among(batches, {"msgbatch_3": []}))
    assert undecided.value.retryable
    assert undecided.value.retry_after_s


async def test_w4_what_is_known_already_is_no_candidate(autojump_clock: trio.testing.MockClock) -> None:
    batches = [batch("msgbatch_1"), batch("msgbatch_2")]
    assert await find(found_among(batches), others=frozenset({"msgbatch_2"})) == ["msgbatch_1"]
    assert await find(found_among(batches), others=frozenset({"msgbatch_1", "msgbatch_2"})) == []


async def test_w4_results_that_are_not_shown_yet_settle_nothing() -> None:
    lag = Refused("lag", kind="server_error", status=503, retryable=True)
    with pytest.raises(Refused):
        await find(found_among([ended("msgbatch_1")], {"msgbatch_1": lag}))


async def test_w4_only_so_many_foreign_results_are_read() -> None:
    many = [f"other-{n}" for n in range(100)]
    results: dict[str, Sequence[str] | FetchError] = {"msgbatch_1": [*many, *OURS]}
    assert await find(found_among([ended("msgbatch_1")], results)) == []
    results = {"msgbatch_1": [*many[1:], *OURS]}
    assert await find(found_among([ended("msgbatch_1")], results)) == ["msgbatch_1"]


async def test_w55_every_page_back_to_the_window_is_read() -> None:
    shown = [batch(f"msgbatch_{n}", after_s=3_000 - 1_000 * n, request_counts=NONE) for n in range(20)]

    def script(request: HttpRequest) -> Reply:
        place = request.query.get("after_id")
        first = 0 if place is None else 1 + [item["id"] for item in shown].index(place)
        data = shown[first : first + 2]
        assert request.query["limit"] == "2"
        return reply({"data": data, "has_more": first + 2 < len(shown), "last_id": data[-1]["id"]})

    fetch = FakeFetch(script)
    provider = AnthropicBatches(page_size=2)
    assert await provider.find(fetch, WANTED) == []
    assert len(fetch.requests) == 6  # the eleventh is the first that was made before all that may be ours
    shown[9] = batch("msgbatch_9", after_s=0)
    with pytest.raises(Undecided, match="msgbatch_9"):
        await provider.find(fetch, WANTED)


@pytest.mark.parametrize(
    "pages",
    [
        [reply({"data": [], "has_more": True})],
        [reply({"data": [batch("msgbatch_1")], "has_more": True})] * 2,
        [reply({"data": [{"id": ""}]})],
        [reply({"data": None})],
        [reply("text")],
    ],
)
async def test_w55_a_list_that_cannot_be_read_whole_is_never_a_short_one(pages: Sequence[Reply]) -> None:
    with pytest.raises(Refused) as refused:
        await find(FakeFetch(pages))
    assert refused.value.retryable


async def test_a_list_that_does_not_say_whether_there_is_more_is_read_until_it_is_empty(
    autojump_clock: trio.testing.MockClock,
) -> None:
    fetch = FakeFetch([reply({"data": [batch("msgbatch_1")]}), reply({"data": []})] * 2)
    assert await find(fetch) == ["msgbatch_1"]
    assert [request.query.get("after_id") for request in fetch.requests] == [None, "msgbatch_1"] * 2


async def test_results_are_closed_when_nobody_reads_on() -> None:
    fetch = found_among([ended("msgbatch_1")], {"msgbatch_1": OURS})
    assert await find(fetch) == ["msgbatch_1"]
    assert fetch.open_streams == 0
    async with BATCHES.results(fetch, "msgbatch_1", skip_bytes=0) as runs:
        assert fetch.open_streams == 1
        async with aclosing(runs):  # type: ignore[type-var]
            await runs.__anext__()
    assert fetch.open_streams == 0
