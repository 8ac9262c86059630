"""Prompts with files in them, from `submit` to each provider's own wire."""

from __future__ import annotations

import base64
import copy
import io
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import trio
from trio.testing import MockClock as Clock

import perdure
from perdure.testing import Simulation, faults, simulation

pytestmark = pytest.mark.trio

PROVIDERS = ("anthropic", "google", "openai", "xai")
LARGE_PDF = b"%PDF-1.7\n" + bytes(range(256)) * 400
DAY_S = 86_400.0

ASKS = {
    "openai": "POST /openai/v1/responses",
    "anthropic": "POST /anthropic/v1/messages",
    "google": "POST /google/v1/models/{model}",
    "xai": "POST /xai/v1/responses",
}


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[Simulation, perdure.Service]]:
    """A service whose log verifies when it is left, and its simulated providers."""
    async with simulation() as simulated, simulated.open() as service:
        yield simulated, service
        (await service.log.verify()).raise_if_bad()


def about(source: Any, words: str = "what is this?") -> perdure.Prompt:
    """A question about a document."""
    parts = (perdure.Text(words), perdure.Document(source, "tides.pdf"))
    return perdure.Prompt([perdure.Message("user", parts)], model="m-1")


def bought(simulated: Simulation, kind: Literal["batch", "file", "text"]) -> int:
    """How many of a kind were bought, at all providers; none of them twice."""
    assert simulated.account.bought_twice() == []
    return len(simulated.account.purchases(kind=kind))


async def events_of(handle: perdure.Handle[perdure.Answer]) -> list[perdure.Event]:
    """What happened to a request."""
    async with aclosing(handle.events()) as events:
        return [record.event async for record in events]


# ---------------------------------------------------------------- live


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_f6_a_file_of_ours_is_uploaded_once_and_named(autojump_clock: Clock, provider: str) -> None:
    async with serving() as (simulated, service):
        file = await service.files.upload(LARGE_PDF, filename="tides.pdf")
        for words in ("what is this?", "and when is high tide?"):
            handle = await service.submit(about(file, words), provider=provider)
            answer = await handle.result()
            assert words in answer.text
        assert bought(simulated, "file") == 1
        assert bought(simulated, "text") == 2


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_w45_w53_bytes_become_one_file_and_the_callers_messages_stay_as_they_are(
    autojump_clock: Clock, provider: str
) -> None:
    async with serving() as (simulated, service):
        inline = about(perdure.Inline(LARGE_PDF, "application/pdf"))
        encoded = base64.b64encode(LARGE_PDF).decode()
        data_url = about(perdure.DataUrl("data:application/pdf;base64," + encoded), "and this?")
        before = copy.deepcopy(inline), copy.deepcopy(data_url)
        for prompt in (inline, data_url):
            await (await service.submit(prompt, provider=provider)).result()
        assert (inline, data_url) == before
        (file,) = [info async for info in service.files.list()]
        assert (file.filename, file.size_bytes) == ("tides.pdf", len(LARGE_PDF))
        assert bought(simulated, "file") == 1


@pytest.mark.parametrize("via", ["live", "batch"])
async def test_a_source_on_a_disk_or_in_a_stream_is_taken_in_and_known_again(
    autojump_clock: Clock, tmp_path: Path, via: Literal["live", "batch"]
) -> None:
    path = tmp_path / "tides.pdf"
    path.write_bytes(LARGE_PDF)

    async def stream() -> AsyncGenerator[bytes]:
        yield LARGE_PDF[:1_000]
        yield LARGE_PDF[1_000:]

    def sources() -> dict[str, object]:
        return {"path": path, "bytes": LARGE_PDF, "stream": stream(), "file object": io.BytesIO(LARGE_PDF)}

    async with serving() as (_, service):
        handles = {
            kind: await service.submit(about(source), provider="openai", via=via, key=kind)
            for kind, source in sources().items()
        }
        for handle in handles.values():
            await handle.result()
        again = {
            kind: await service.submit(about(source), provider="openai", via=via, key=kind)
            for kind, source in sources().items()
        }
        assert {kind: handle.id for kind, handle in again.items()} == {kind: one.id for kind, one in handles.items()}
        path.write_bytes(LARGE_PDF + b".")
        with pytest.raises(perdure.KeyConflict):
            await service.submit(about(path), provider="openai", via=via, key="path")
        with pytest.raises(perdure.InvalidSource, match=r"content\[0\]\.parts\[1\].*no-such-file"):
            await service.submit(about(tmp_path / "no-such-file"), provider="openai", via=via)
        assert {info.size_bytes async for info in service.files.list()} == {len(LARGE_PDF), len(LARGE_PDF) + 1}


async def test_small_bytes_stay_in_the_request(autojump_clock: Clock) -> None:
    async with serving() as (simulated, service):
        await (
            await service.submit(about(perdure.Inline(b"%PDF-1.7 short", "application/pdf")), provider="openai")
        ).result()
        assert [info async for info in service.files.list()] == []
        assert bought(simulated, "file") == 0


async def test_f7_a_file_that_is_not_there_leaves_words_and_an_event(autojump_clock: Clock) -> None:
    async with serving() as (_, service):
        handle = await service.submit(about(perdure.FileReference("file_unknown")), provider="openai")
        assert "there is no such file" in (await handle.result()).text
        (warning,) = [event for event in await events_of(handle) if isinstance(event, perdure.FileNotFound)]
        assert warning == perdure.FileNotFound(place="content[0].parts[1]", id="file_unknown", reason="unknown")


async def test_f11_what_a_provider_does_not_take_leaves_words_and_an_event(autojump_clock: Clock) -> None:
    async with serving() as (simulated, service):
        film = await service.files.upload(b"\x00\x00\x00\x18ftypmp42" + bytes(100), filename="film.mp4")
        handle = await service.submit(about(film), provider="anthropic")
        assert "skipped: anthropic takes no video/mp4" in (await handle.result()).text
        (warning,) = [event for event in await events_of(handle) if isinstance(event, perdure.FileSkipped)]
        assert (warning.place, warning.reason) == ("content[0].parts[1]", "unsupported_type")
        assert bought(simulated, "file") == 0


async def test_w46_an_upload_that_fails_leaves_the_file_inline(autojump_clock: Clock) -> None:
    async with serving() as (simulated, service):
        simulated.faults.arm(faults.AnswerStatus(route="POST /openai/v1/files", status=400, count=99))
        file = await service.files.upload(LARGE_PDF, filename="tides.pdf")
        handle = await service.submit(about(file), provider="openai")
        await handle.result()
        (warning,) = [event for event in await events_of(handle) if isinstance(event, perdure.FileInlined)]
        assert warning.filename.open() == "tides.pdf"
        assert bought(simulated, "text") == 1


async def test_w46_an_upload_that_fails_of_what_does_not_fit_inline_is_a_typed_error(autojump_clock: Clock) -> None:
    async with serving() as (simulated, service):
        simulated.faults.arm(faults.AnswerStatus(route="POST /openai/v1/files", status=400, count=99))
        file = await service.files.upload(b"%PDF-1.7" + bytes(36_000_000), filename="tides.pdf")
        handle = await service.submit(about(file), provider="openai")
        with pytest.raises(perdure.OperationFailed) as caught:
            await handle.result()
        assert caught.value.cause.startswith("invalid_request_error: ")
        assert bought(simulated, "text") == 0


async def test_a_file_that_expires_before_its_request_is_sent_is_shown_all_the_same(autojump_clock: Clock) -> None:
    async with serving() as (simulated, service):
        simulated.faults.arm(
            faults.AnswerStatus(route=ASKS["openai"], status=429, headers={"retry-after": str(2 * DAY_S)})
        )
        file = await service.files.upload(LARGE_PDF, filename="tides.pdf", ttl_s=3_600)
        handle = await service.submit(about(file), provider="openai")
        await trio.sleep(1.5 * DAY_S)
        with pytest.raises(perdure.FileExpired):
            await service.files.info(file)
        assert "skipped" not in (await handle.result()).text
        happened = [type(event).__name__ for event in await events_of(handle)]
        assert happened[-1] == "RequestFilesReleased"
        assert "FileNotFound" not in happened


async def test_a_files_bytes_are_let_go_by_the_file_and_by_its_request(autojump_clock: Clock) -> None:
    async with serving() as (_, service):
        file = await service.files.upload(LARGE_PDF, filename="tides.pdf", ttl_s=3_600)
        handle = await service.submit(about(file), provider="openai")
        await handle.result()
        await trio.sleep(DAY_S)
        happened = await events_of(handle)
        (opened,) = [event for event in happened if isinstance(event, perdure.RequestOpened)]
        assert happened[-1] == perdure.RequestFilesReleased([held.blob for held in opened.files])
        async with aclosing((await service.get(file.id)).events()) as events:
            assert [record.type async for record in events][-1] == "ContentReleased"


async def test_a_key_is_judged_by_what_the_caller_wrote(autojump_clock: Clock) -> None:
    async with serving() as (simulated, service):
        prompt = about(perdure.Inline(LARGE_PDF, "application/pdf"))
        first = await service.submit(prompt, provider="openai", key="tides")
        await first.result()
        await trio.sleep(2 * DAY_S)  # the file that its bytes became is over
        again = await service.submit(prompt, provider="openai", key="tides")
        assert again.id == first.id
        assert (bought(simulated, "file"), bought(simulated, "text")) == (1, 1)
        with pytest.raises(perdure.KeyConflict):
            await service.submit(
                about(perdure.Inline(LARGE_PDF + b".", "application/pdf")), provider="openai", key="tides"
            )


async def test_bad_prompts_are_refused_before_anything_is_kept(autojump_clock: Clock) -> None:
    async with serving() as (_, service):
        hot = perdure.Prompt(about(perdure.Inline(LARGE_PDF, "application/pdf")).content, model="m", temperature=1.0)
        with pytest.raises(perdure.Unsupported, match="temperature"):
            await service.submit(hot, provider="anthropic")
        bad = about(perdure.DataUrl("data:application/pdf;base64," + "A" * 100_001))
        with pytest.raises(perdure.InvalidSource, match=r"content\[0\]\.parts\[1\]"):
            await service.submit(bad, provider="openai")
        assert [summary async for summary in service.list()] == []


class NothingStaysThere(perdure.DefaultFileStrategy, frozen=True):
    """Files are never left at a provider."""

    def decide(self, file: perdure.FileFacts, provider: perdure.ProviderFacts, now: int) -> perdure.Decision:
        """What fits goes into the request itself."""
        if file.size_bytes is not None and file.size_bytes <= provider.max_inline_bytes:
            return perdure.InlineIt()
        return perdure.Skip("too_large", "it does not fit")


async def test_a_strategy_of_ones_own_decides(autojump_clock: Clock) -> None:
    async with (
        simulation() as simulated,
        simulated.open(config=perdure.Config(file_strategy=NothingStaysThere())) as service,
    ):
        file = await service.files.upload(LARGE_PDF, filename="tides.pdf")
        await (await service.submit(about(file), provider="openai")).result()
        assert (bought(simulated, "file"), bought(simulated, "text")) == (0, 1)
        await (await service.submit(about(file), provider="anthropic", via="batch")).result()
        assert bought(simulated, "file") == 0


# ---------------------------------------------------------------- batched


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_request_that_waits_for_others_names_files_too(autojump_clock: Clock, provider: str) -> None:
    async with serving() as (simulated, service):
        file = await service.files.upload(LARGE_PDF, filename="tides.pdf")
        handle = await service.submit(about(file), provider=provider, via="batch", key="line-1")
        assert "what is this?" in (await handle.result()).text
        assert (await service.submit(about(file), provider=provider, via="batch", key="line-1")).id == handle.id
        assert bought(simulated, "batch") == 1


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_batch_names_files_each_uploaded_once(autojump_clock: Clock, provider: str) -> None:
    async with serving() as (_, service):
        file = await service.files.upload(LARGE_PDF, filename="tides.pdf")
        prompts = [about(file, f"question {number}") for number in range(100)]
        prompts[1:1] = [perdure.Prompt("no file here", model="m-1")]
        async with service.batches.run(prompts, provider=provider, order="input") as lines:
            answers = [line.answer async for line in lines]
        assert [answer is not None and answer.text.count("question") for answer in answers] == [1, 0, *[1] * 99]
        (info,) = [info async for info in service.files.list()]
        assert [info_copy.status for info_copy in info.copies] == ["uploaded"]


async def test_what_is_left_out_of_a_line_is_an_event_that_names_it(autojump_clock: Clock) -> None:
    async with serving() as (_, service):
        prompts = [about(perdure.FileReference(f"file_{number}"), f"question {number}") for number in range(3)]
        handle = await service.batches.submit(prompts, provider="openai")
        await handle.result()
        async with aclosing(handle.events()) as events:
            told = [record.event async for record in events if record.type == "FileNotFound"]
        assert told == [
            perdure.FileNotFound(place="content[0].parts[1]", line=number, id=f"file_{number}", reason="unknown")
            for number in range(3)
        ]


async def test_a_batch_names_a_copy_that_lives_as_long_as_it(autojump_clock: Clock) -> None:
    """A copy at Google lives for two days, and a batch may take as long: one that is a day old is joined by another."""
    async with serving() as (_, service):
        file = await service.files.upload(LARGE_PDF, filename="tides.pdf", ttl_s="persistent")
        old = await service.files.ensure(file, provider="google")
        await trio.sleep(DAY_S)
        await (await service.submit(about(file), provider="google")).result()
        assert [copied.reference for copied in (await service.files.info(file)).copies] == [old.reference]
        handle = await service.batches.submit([about(file), about(file, "and this?")], provider="google")
        assert (await handle.result()).ok == 2
        first, second = (await service.files.info(file)).copies
        assert (first.reference, first.status, second.status) == (old.reference, "uploaded", "uploaded")


async def test_a_batch_that_is_read_again_is_judged_by_what_its_caller_wrote(autojump_clock: Clock) -> None:
    """Its file has another name at the provider by then; a line that says something else is named."""
    async with simulation() as simulated:
        async with simulated.open() as service:
            file = await service.files.upload(LARGE_PDF, filename="tides.pdf", ttl_s="persistent")

            async def cut_off() -> AsyncGenerator[perdure.Prompt]:
                for number in range(1_100):
                    yield about(file, f"question {number}")
                raise ConnectionError("the source went away")

            with pytest.raises(ConnectionError):
                await service.batches.submit(cut_off(), provider="google", key="job")
            await trio.sleep(DAY_S)
        async with simulated.open() as service:
            again = [about(file, f"question {number}") for number in range(1_100)]
            other = [*again[:7], about(file, "another question"), *again[8:]]
            with pytest.raises(perdure.KeyConflict) as caught:
                await service.batches.submit(other, provider="google", key="job")
            assert caught.value.difference == "line 8"
            assert len((await service.files.info(file)).copies) == 2
            handle = await service.batches.submit(again, provider="google", key="job")
            assert (await handle.result()).ok == 1_100


async def test_a_line_with_a_file_that_can_never_be_shown_is_named(autojump_clock: Clock) -> None:
    async with serving() as (simulated, service):
        bad = perdure.DataUrl("data:application/pdf;base64,AAA*")
        prompts = [perdure.Prompt("no file", model="m-1"), about(bad), about(bad)]
        with pytest.raises(perdure.InvalidRequest, match=r"line 2.*content\[0\]\.parts\[1\]"):
            await service.batches.submit(prompts, provider="openai")
        assert bought(simulated, "batch") == 0


async def test_a_batch_whose_file_cannot_be_uploaded_is_not_sent_and_can_be_submitted_again(
    autojump_clock: Clock,
) -> None:
    async with serving() as (simulated, service):
        simulated.faults.arm(faults.AnswerStatus(route="POST /openai/v1/files", status=400, count=1))
        file = await service.files.upload(b"%PDF-1.7" + bytes(36_000_000), filename="tides.pdf")
        with pytest.raises(perdure.OperationFailed):
            await service.batches.submit([about(file)], provider="openai", key="job")
        handle = await service.batches.submit([about(file)], provider="openai", key="job")
        assert (await handle.result()).ok == 1
        assert bought(simulated, "batch") == 1
