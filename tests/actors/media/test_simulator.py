"""Images and speech against the simulator: real bytes, measured by other libraries than perdure's own."""

from __future__ import annotations

import io
import json
import math
import os
from base64 import b64encode
from decimal import Decimal
from pathlib import Path

import av
import pytest
import trio
from PIL import Image
from trio.testing import MockClock

import perdure
from perdure.actors.media.effects import FIRST_WAIT_S
from perdure.adapters.simulator.media.faults import AnyMediaFault, EmptyOutput, WrongBytes
from perdure.events.messages import Source
from perdure.events.purchase import OnUncertain
from perdure.store.blobs import BlobStore
from perdure.testing import Simulation, faults, simulation

pytestmark = pytest.mark.trio

GENERATIONS = "POST /openai/v1/images/generations"
EDITS = "POST /openai/v1/images/edits"
SPEECH = "POST /openai/v1/audio/speech"
SQUARE = perdure.ImageRequest("a fjord at dawn", size="128x64")
SPOKEN = perdure.SpeechRequest("Three fjords, and then the sea.", model="gpt-4o-mini-tts")
CONFIG = perdure.Config(
    prices={
        "openai/gpt-image-2": perdure.Rates(input_per_m_tok=5, output_per_m_tok=40),
        "openai/gpt-4o-mini-tts": perdure.Rates(per_m_chars=12),
    }
)


async def bytes_of(media: perdure.StoredMedia) -> bytes:
    """All of it."""
    return b"".join([chunk async for chunk in media.read()])


async def types_of(handle: perdure.View[object]) -> list[str]:
    """What happened, as tags."""
    return [record.type async for record in handle.events(follow=False)]


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    """A picture."""
    made = io.BytesIO()
    Image.new("RGBA" if kind == "PNG" else "RGB", (width, height)).save(made, kind)
    return made.getvalue()


def sold(simulated: Simulation, kind: str) -> int:
    """How often the provider was paid for a kind."""
    return sum(purchase.kind == kind for purchase in simulated.account.purchases())


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("output_format", [None, "png", "jpeg", "webp"])
async def test_w38_an_image_is_called_what_it_is_and_measured(output_format: str | None) -> None:
    """W-38: the type is sniffed, width and height are filled, whatever the provider calls it."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        request = perdure.ImageRequest("a fjord", size="128x64", output_format=output_format)
        [media] = await (await service.images.generate(request, provider="openai")).result()
        opened = Image.open(io.BytesIO(await bytes_of(media)))
        opened.load()
        assert (media.width, media.height) == opened.size == (128, 64)
        assert media.mime_type == Image.MIME[opened.format or ""] == f"image/{output_format or 'png'}"
        assert media.size_bytes == len(await bytes_of(media))
        assert (media.duration_s, media.sample_rate) == (None, None)


async def test_m1_generating_an_image_stores_the_bytes_and_says_so_once() -> None:
    """M-1: the store has the id, and exactly one event says that it was generated."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        handle = await service.images.generate(SQUARE, provider="openai", tags={"team": "a"})
        [media] = await handle.result()
        assert media.id == f"{handle.id}-0"
        assert handle.id.startswith("img_")
        assert await service.images.get(media.id) == media
        happened = await types_of(handle)
        assert happened == ["MediaOrdered", "PurchaseIntended", "CostRecorded", "MediaAnswered", "MediaStored"]
        assert (media.provider, media.model, media.prompt) == ("openai", "gpt-image-2", "a fjord at dawn")
        assert handle.tags == {"team": "a"}
        assert sold(simulated, "image") == 1


async def test_m21_parameters_reach_openai_and_no_response_format_does() -> None:
    """M-21: size, quality, background and output_format are passed on; response_format is not sent."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        request = perdure.ImageRequest(
            "a fjord", size="64x64", quality="low", background="transparent", output_format="webp", n=2
        )
        made = await (await service.images.generate(request, provider="openai")).result()
        assert len(made) == 2
        assert await bytes_of(made[0]) != await bytes_of(made[1])
        [seen] = simulated.requests(GENERATIONS)
        assert seen.status == 200


async def test_m22_usage_counts_once_for_several_items() -> None:
    """M-22: what a request cost stands on its first item only, and is recorded once."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        request = perdure.ImageRequest("a fjord", size="64x64", n=3)
        handle = await service.images.generate(request, provider="openai")
        made = await handle.result()
        assert [media.cost is None for media in made] == [False, True, True]
        assert (await types_of(handle)).count("CostRecorded") == 1
        costs = await service.audit.costs()
        assert made[0].cost == costs.amount_usd > 0
        assert simulated.account.bought_twice() == []


@pytest.mark.parametrize("how", ["bytes", "path", "inline", "data url", "file"])
async def test_m23_an_edit_takes_its_sources_in_every_way(how: str, tmp_path: Path) -> None:
    """M-23: the source goes as a data URL to the edits path; what was on a disk may be gone by then."""
    data = picture(96, 48)
    place = tmp_path / "source.png"
    place.write_bytes(data)
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        source: Source
        if how == "file":
            source = await service.files.upload(data, mime_type="image/png")
        elif how == "data url":
            source = perdure.DataUrl("data:image/png;base64," + b64encode(data).decode())
        elif how == "inline":
            source = perdure.Inline(data, "image/png")
        else:
            source = place if how == "path" else data
        edit = perdure.ImageEdit("more snow", images=[source], mask=source, size="96x48")
        handle = await service.images.edit(edit, provider="openai")
        place.unlink()
        [media] = await handle.result()
        assert (media.width, media.height) == (96, 48)
        [seen] = simulated.requests(EDITS)
        assert seen.status == 200


async def test_m23_a_file_that_openai_has_goes_by_its_id() -> None:
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        file = await service.files.upload(picture(64, 64), mime_type="image/png")
        there = await service.files.ensure(file, provider="openai")
        for prompt, source in (("snow", file), ("rain", perdure.ProviderRef("openai", there.reference))):
            edit = perdure.ImageEdit(prompt, images=[source], size="64x64")
            assert await (await service.images.edit(edit, provider="openai")).result()
        assert simulated.account.bought_twice() == []


# ---------------------------------------------------------------- speech


@pytest.mark.parametrize(
    ("format_", "mime_type"),
    [
        (None, "audio/mpeg"),
        ("mp3", "audio/mpeg"),
        ("wav", "audio/wav"),
        ("flac", "audio/flac"),
        ("opus", "audio/opus"),
        ("aac", "audio/aac"),
        ("pcm", "audio/pcm"),
    ],
)
async def test_m2_speech_is_stored_and_measured(format_: str | None, mime_type: str) -> None:
    """M-2: the result is audio whose id is in the store. Durations are those that FFmpeg measures."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        request = perdure.SpeechRequest(SPOKEN.text, model=SPOKEN.model, format=format_, voice="warm", speed=1.5)
        handle = await service.audio.speech(request, provider="openai")
        media = await handle.result()
        assert handle.id.startswith("aud_")
        assert await service.audio.get(media.id) == media
        assert media.mime_type == mime_type
        assert media.prompt == SPOKEN.text
        data = await bytes_of(media)
        if format_ == "pcm":
            assert media.duration_s == len(data) / 48_000
            assert media.sample_rate == 24_000
        elif format_ != "aac":
            assert media.duration_s is not None
            assert math.isclose(media.duration_s, heard(data), abs_tol=0.1), "but for what an encoder adds"
            assert media.sample_rate in (24_000, 48_000)
        assert media.cost == Decimal(12 * len(SPOKEN.text)) / 1_000_000
        assert sold(simulated, "audio") == 1


def heard(data: bytes) -> float:
    """How long a recording is, in seconds, by decoding all of it."""
    with av.open(io.BytesIO(data), "r") as file:
        return float(sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0)))


async def test_m43_neutral_voices_stand_for_openais_and_others_pass_as_they_are() -> None:
    from perdure.adapters.openai import speech

    def voice(name: str | None) -> str:
        _, body = speech.render(perdure.SpeechRequest("x", model="m", voice=name), "m")
        return str(json.loads(body)["voice"])

    assert [voice(name) for name in ("neutral", "warm", "bright", "deep")] == ["alloy", "coral", "shimmer", "echo"]
    assert [voice(name) for name in ("nova", "voice_1", None)] == ["nova", "voice_1", "alloy"]
    await trio.lowlevel.checkpoint()


# ---------------------------------------------------------------- keys, restarts, lists


async def test_a_key_buys_once_over_restarts() -> None:
    async with simulation() as simulated:
        made: list[bytes] = []
        for _ in range(2):
            async with simulated.open(config=CONFIG) as service:
                handle = await service.images.generate(SQUARE, provider="openai", key="dawn")
                made.append(await bytes_of((await handle.result())[0]))
                with pytest.raises(perdure.KeyConflict) as conflict:
                    await service.images.generate(perdure.ImageRequest("dusk"), provider="openai", key="dawn")
                assert conflict.value.existing_id == handle.id
                with pytest.raises(perdure.KeyConflict):
                    await service.audio.speech(SPOKEN, provider="openai", key="dawn")
        assert made[0] == made[1]
        assert sold(simulated, "image") == 1


async def test_w35_lists_come_from_the_index() -> None:
    """W-35: listed and filtered by what the log's index holds, each kind by itself."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        image = await service.images.generate(SQUARE, provider="openai", tags={"for": "web"})
        audio = await service.audio.speech(SPOKEN, provider="openai")
        await image.result()
        await audio.result()
        assert [entry.id async for entry in service.images.list(status="succeeded")] == [image.id]
        assert [entry.id async for entry in service.images.list(tag=("for", "web"))] == [image.id]
        assert [entry.id async for entry in service.images.list(provider="xai")] == []
        assert [entry.id async for entry in service.audio.list()] == [audio.id]
        assert (await (await service.get(image.id)).result())[0].id == f"{image.id}-0"
        async with perdure.read(simulated.path) as reader:
            seen = await (await reader.get(image.id)).result()
            assert (seen[0].width, await bytes_of(seen[0])) == (128, await bytes_of((await image.result())[0]))


@pytest.mark.parametrize("id", ["img_0", "nothing", "", "img_../../etc/passwd-0", "-0", "img_x-", "img_x-1-2"])
async def test_w44_what_is_no_id_of_ours_is_not_found(id: str) -> None:
    """W-44: ids are looked up and never become parts of a path."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        with pytest.raises(perdure.NotFound):
            await service.images.get(id)


async def test_another_tenant_has_nothing(tmp_path: Path) -> None:
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        [media] = await (await service.images.generate(SQUARE, provider="openai")).result()
        with pytest.raises(perdure.NotFound):
            await service.acting_as(tenant="other").images.get(media.id)


async def test_w34_saving_writes_all_or_nothing(tmp_path: Path) -> None:
    """W-34: a file appears whole, in the place of an older one, or not at all."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        [media] = await (await service.images.generate(SQUARE, provider="openai")).result()
        place = tmp_path / "fjord.png"
        place.write_bytes(b"old")
        assert await media.save(place) == place
        assert place.read_bytes() == await bytes_of(media)
        with pytest.raises(OSError, match="nowhere"):
            await media.save(tmp_path / "nowhere" / "fjord.png")
        assert os.listdir(tmp_path) == ["fjord.png"]


# ---------------------------------------------------------------- refused before anything is recorded


async def order(service: perdure.Service, request: perdure.ImageRequest | perdure.SpeechRequest) -> None:
    """Has it made, whatever it is."""
    if isinstance(request, perdure.SpeechRequest):
        await service.audio.speech(request, provider="openai")
    elif isinstance(request, perdure.ImageEdit):
        await service.images.edit(request, provider="openai")
    else:
        await service.images.generate(request, provider="openai")


@pytest.mark.parametrize(
    ("request_", "parameter"),
    [
        (perdure.ImageRequest("x", style="vivid"), "style"),
        (perdure.ImageRequest("x", aspect_ratio="16:9"), "aspect_ratio"),
        (perdure.ImageRequest("x", image_size="2K"), "image_size"),
        (perdure.ImageRequest("x", resolution="2k"), "resolution"),
        (perdure.ImageRequest("x", strength=0.5), "strength"),
        (perdure.ImageRequest("x", response_format="url"), "response_format"),
        (perdure.SpeechRequest("x", model="m", sample_rate_hz=8_000), "sample_rate_hz"),
        (perdure.SpeechRequest("x", model="m", language="nb"), "language"),
    ],
)
async def test_w41_a_parameter_that_cannot_be_honoured_is_refused_by_name(
    request_: perdure.ImageRequest | perdure.SpeechRequest, parameter: str
) -> None:
    """W-41: nothing vanishes silently, and nothing is recorded or sent."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        with pytest.raises(perdure.Unsupported, match=parameter) as refused:
            await order(service, request_)
        assert refused.value.parameter == parameter
        assert [entry async for entry in service.list()] == []
        assert simulated.requests() == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (perdure.ImageRequest(""), "prompt"),
        (perdure.ImageRequest(" \n"), "prompt"),
        (perdure.ImageRequest("\ud800"), "prompt"),
        (perdure.ImageRequest("x" * 32_001), "prompt"),
        (perdure.ImageRequest("x" * 1_000_001), "prompt"),
        (perdure.ImageRequest("x", n=0), "n"),
        (perdure.ImageRequest("x", n=11), "n"),
        (perdure.ImageRequest("x", n=1.5), "n"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (perdure.ImageRequest("x", output_format="bmp"), "output_format"),
        (perdure.ImageEdit("x", images=[]), "images"),
        (perdure.ImageEdit("x", images=[perdure.Inline(b"GIF", "image/gif")] * 17), "images"),
        (perdure.ImageEdit("x", images=[b"no picture"]), "images[0]"),
        (perdure.ImageEdit("x", images=[picture(8, 8), b"%PDF-1.7 x"]), "images[1]"),
        (perdure.ImageEdit("x", images=[picture(8, 8)], mask=b"\x00\x01\x02"), "mask"),
        (perdure.ImageEdit("x", images=[picture(8, 8)], mask=picture(8, 9)), "mask"),
        (perdure.SpeechRequest("", model="m"), "text"),
        (perdure.SpeechRequest("x"), "model"),
        (perdure.SpeechRequest("x" * 4_097, model="m"), "text"),
        (perdure.SpeechRequest("x", model="m", speed=math.nan), "speed"),
        (perdure.SpeechRequest("x", model="m", speed=0.1), "speed"),
        (perdure.SpeechRequest("x", model="m", format="midi"), "format"),
    ],
)
async def test_bad_input_is_refused_with_the_name_of_its_field(
    request_: perdure.ImageRequest | perdure.SpeechRequest, field: str
) -> None:
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        with pytest.raises(perdure.Rejected) as refused:
            await order(service, request_)
        assert refused.value.field == field
        assert [entry.kind async for entry in service.list() if entry.kind != "file"] == []
        assert simulated.requests() == []


async def test_m4_an_unknown_provider_is_named() -> None:
    """M-4: a provider that nobody registered."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        with pytest.raises(perdure.UnknownProvider, match="nobody"):
            await service.images.generate(SQUARE, provider="nobody")


async def test_w42_a_reference_to_another_providers_file_is_refused() -> None:
    """W-42: references carry their provider."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        edit = perdure.ImageEdit("x", images=[perdure.ProviderRef("google", "files/abc")])
        with pytest.raises(perdure.InvalidRequest, match="google"):
            await service.images.edit(edit, provider="openai")
        assert simulated.requests() == []


# ---------------------------------------------------------------- what providers do wrong


async def failed(handle: perdure.Handle[object], code: str) -> perdure.OperationFailed:
    """How it failed, the same each time."""
    with pytest.raises(perdure.OperationFailed):
        await handle.result()
    with pytest.raises(perdure.OperationFailed) as failure:
        await handle.result()
    assert failure.value.cause.startswith(code)
    return failure.value


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (EmptyOutput(), "empty_answer"),
        (WrongBytes(content=""), "empty_answer"),
        (WrongBytes(), "not_an_image"),
        (WrongBytes(content="%PDF-1.7 of some sort"), "not_an_image"),
    ],
)
async def test_w38_an_image_that_is_none_is_an_error_and_its_cost_is_kept(fault: AnyMediaFault, code: str) -> None:
    """W-38, W-43: nothing empty and nothing of another type is stored, and the money that was spent is on record."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        simulated.faults.arm(fault)
        handle = await service.images.generate(SQUARE, provider="openai")
        failure = await failed(handle, code)
        assert failure.cost == (await service.audit.costs()).amount_usd > 0
        assert (await types_of(handle))[-1] == "MediaFailed"
        assert sold(simulated, "image") == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [(EmptyOutput(), "empty_answer"), (WrongBytes(), "not_audio")],
)
async def test_w43_speech_that_is_none_is_an_error_and_its_cost_is_kept(fault: AnyMediaFault, code: str) -> None:
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        simulated.faults.arm(fault)
        failure = await failed(await service.audio.speech(SPOKEN, provider="openai"), code)
        assert failure.cost is not None
        assert sold(simulated, "audio") == 1


async def test_moderation_is_final_and_costs_nothing() -> None:
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        handle = await service.images.generate(perdure.ImageRequest("!block"), provider="openai")
        failure = await failed(handle, "moderation_blocked")
        assert failure.cost is None
        assert sold(simulated, "image") == 0


async def test_w23_a_lost_answer_is_not_bought_again_unless_somebody_says_so() -> None:
    """W-23: on_uncertain is "fail" for images; the caller may look and buy again."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        simulated.faults.arm(faults.ActThenDrop(route=GENERATIONS))
        handle = await service.images.generate(SQUARE, provider="openai")
        with pytest.raises(perdure.OutcomeUncertain):
            await handle.result()
        assert sold(simulated, "image") == 1
        await handle.resubmit()
        assert await handle.result()
        assert sold(simulated, "image") == 2


async def test_w43_a_page_in_the_place_of_an_answer_is_a_doubt() -> None:
    """W-43: content types are checked, and what took the request may have been the provider."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        for route in (SPEECH, GENERATIONS):
            simulated.faults.arm(faults.WrongContentType(route=route, content_type="text/html"))
        for handle in (
            await service.audio.speech(SPOKEN, provider="openai"),
            await service.images.generate(SQUARE, provider="openai"),
        ):
            with pytest.raises(perdure.OutcomeUncertain):
                await handle.result()


async def test_refusals_that_pass_are_waited_out(autojump_clock: MockClock) -> None:
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        simulated.faults.arm(faults.AnswerStatus(route=GENERATIONS, status=429, headers={"retry-after": "60"}))
        began = simulated.now
        assert await (await service.images.generate(SQUARE, provider="openai")).result()
        assert (simulated.now - began).total_seconds() >= 60


# ---------------------------------------------------------------- money first, bytes afterwards


async def test_w37_the_cost_is_on_record_before_the_bytes_are_kept(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """W-37: a disk that refuses loses neither the record of the money nor the bytes."""
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        put, refusals = BlobStore.put, [True, True]

        async def refuse(*args: object, **named: object) -> object:
            if refusals:
                refusals.pop()
                assert (await service.audit.costs()).amount_usd > 0
                raise perdure.DiskFull("no room")
            return await put(*args, **named)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(BlobStore, "put", refuse)
        began = simulated.now
        [media] = await (await service.images.generate(SQUARE, provider="openai")).result()
        assert not refusals
        assert (simulated.now - began).total_seconds() >= 3 * FIRST_WAIT_S
        assert (media.width, sold(simulated, "image")) == (128, 1)


@pytest.mark.parametrize("on_uncertain", ["fail", "resubmit"])
async def test_w37_a_crash_between_answer_and_bytes_is_judged_by_the_policy(
    on_uncertain: OnUncertain, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with simulation() as simulated:
        put = BlobStore.put

        async def die(*args: object, **named: object) -> object:
            await simulated.crash()
            raise AssertionError("nothing goes on after the crash")

        async with simulated.open(config=CONFIG) as service:
            monkeypatch.setattr(BlobStore, "put", die)
            handle = await service.images.generate(SQUARE, provider="openai", on_uncertain=on_uncertain)
            await handle.result()
        monkeypatch.setattr(BlobStore, "put", put)
        async with simulated.open(config=CONFIG) as service:
            again = await service.get(handle.id)
            if on_uncertain == "resubmit":
                [media] = await again.result()
                assert media.cost == (await service.audit.costs()).amount_usd
                assert sold(simulated, "image") == 2
            else:
                failure = await failed(again, "answer_lost")
                assert failure.cost == (await service.audit.costs()).amount_usd > 0
                assert sold(simulated, "image") == 1
            happened = await types_of(again)
            assert happened.count("MediaLost") == 1
            assert happened.count("CostRecorded") == happened.count("MediaAnswered") == sold(simulated, "image")


async def test_a_cancel_while_it_is_made_keeps_what_was_paid_for(autojump_clock: MockClock) -> None:
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        simulated.faults.arm(faults.Delay(route=GENERATIONS, delay_s=20.0))
        handle = await service.images.generate(SQUARE, provider="openai")
        await trio.sleep(5)
        await handle.cancel()
        await trio.sleep(30)
        with pytest.raises(perdure.OperationCancelled):
            await handle.result()
        [media] = await handle.stored()
        assert media.width == 128
        assert sold(simulated, "image") == 1


async def test_a_deadline_ends_it(autojump_clock: MockClock) -> None:
    async with simulation() as simulated, simulated.open(config=CONFIG) as service:
        simulated.faults.arm(faults.AnswerStatus(route=GENERATIONS, status=503, count=1_000))
        handle = await service.images.generate(SQUARE, provider="openai", deadline_s=100)
        with pytest.raises(perdure.OperationExpired):
            await handle.result()
        assert sold(simulated, "image") == 0
