"""xAI's images and speech, simulated."""

from __future__ import annotations

import io
import sys
import wave
from base64 import b64decode, b64encode
from typing import Any

import av
import pytest

from perdure.adapters.simulator import XAI_PREFIX
from perdure.adapters.simulator.faults import ActThenDrop
from perdure.adapters.simulator.media.faults import EmptyOutput, WrongBytes
from tests.adapters.simulator.bench import Bench, bench
from tests.adapters.simulator.media.measuring import duration_s, picture_size, played_s
from tests.adapters.simulator.test_xai import call, error, ok
from tests.secrets import wrong_key

pytestmark = pytest.mark.trio

HOUR_S = 3_600


async def draw(b: Bench, prompt: str = "a red fox", **fields: object) -> Any:
    return await ok(b, "POST", "/images/generations", json={"prompt": prompt, **fields})


async def say(b: Bench, text: str = "fifteen letters", **fields: object) -> bytes:
    answer = await call(b, "POST", "/tts", json={"text": text, **fields})
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (1024, 1024)),
        ({"aspect_ratio": "16:9"}, (1360, 768)),
        ({"aspect_ratio": "1:1", "resolution": "2k"}, (2048, 2048)),
    ],
    ids=str,
)
async def test_an_image_has_its_size_tells_its_cost_and_is_a_jpeg(
    fields: dict[str, str], size: tuple[int, int]
) -> None:
    async with bench() as b:
        said = await draw(b, response_format="b64_json", **fields)
        (item,) = said["data"]
        data = b64decode(item["b64_json"])
        assert data.startswith(b"\xff\xd8\xff")
        assert picture_size(data) == size
        assert (item["respect_moderation"], item["revised_prompt"]) == (True, "a red fox")
        assert said["usage"] == {"cost_in_usd_ticks": 200_000_000}
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.provider, purchase.kind, purchase.identity) == ("xai", "image", "")


async def test_an_address_needs_no_key_and_is_good_for_an_hour() -> None:
    async with bench() as b:
        said = await draw(b, n=2)
        urls = [item["url"] for item in said["data"]]
        inline = await draw(b, n=2, response_format="b64_json")
        assert said["usage"]["cost_in_usd_ticks"] == 400_000_000
        answers = [await b.http.get(url, headers={"authorization": ""}) for url in urls]
        assert [answer.headers["content-type"] for answer in answers] == ["image/jpeg"] * 2
        assert [answer.content for answer in answers] == [b64decode(one["b64_json"]) for one in inline["data"]]
        assert answers[0].content != answers[1].content
        assert (await b.http.get(urls[0], headers={"range": "bytes=0-2"})).content == b"\xff\xd8\xff"
        b.simulator.clock.advance(HOUR_S)
        assert (await b.http.get(urls[0])).status_code == 404
        answer = await b.http.get(f"{XAI_PREFIX}/files", headers={"authorization": f"Bearer {wrong_key()}"})
        assert answer.status_code == 401


async def test_an_edit_is_json_and_shows_its_source() -> None:
    async with bench() as b:
        source = b64decode((await draw(b, response_format="b64_json"))["data"][0]["b64_json"])
        url = "data:image/jpeg;base64," + b64encode(source).decode()
        body = {"prompt": "a hat", "response_format": "b64_json"}
        plain = await draw(b, "a hat", response_format="b64_json")
        edited = await ok(b, "POST", "/images/edits", json={**body, "image": {"url": url, "type": "image_url"}})
        assert edited["data"][0]["b64_json"] != plain["data"][0]["b64_json"]
        file = await ok(b, "POST", "/files", files={"file": ("a.jpg", source)})
        by_file = await ok(b, "POST", "/images/edits", json={**body, "images": [{"file_id": file["id"]}]})
        assert by_file["data"] == edited["data"]
        for wrong in ({"url": "data:image/png;base64,eHg="}, {"url": "fox.png"}, {}):
            await error(b, 400, "POST", "/images/edits", json={**body, "image": wrong})
        await error(b, 404, "POST", "/images/edits", json={**body, "image": {"file_id": "file_none"}})
        await error(b, 400, "POST", "/images/edits", json=body)
        form = await call(b, "POST", "/images/edits", data={"prompt": "a hat"}, files={"image": ("a.jpg", source)})
        assert form.status_code == 400


async def test_moderation_holds_an_image_back_and_it_costs_all_the_same() -> None:
    async with bench() as b:
        said = await draw(b, "!block it")
        assert said["data"] == [{"respect_moderation": False}]
        assert said["usage"]["cost_in_usd_ticks"] > 0
        assert len(b.simulator.account.purchases()) == 1
        await error(b, 400, "POST", "/tts", json={"text": "!block it"})


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 0},
        {"n": 11},
        {"prompt": ""},
        {"aspect_ratio": "20:1"},
        {"resolution": "8k"},
        {"size": "64x64"},
        {"response_format": "png"},
        {"storage_options": {"filename": ""}},
        {"storage_options": {"filename": "a", "public_url": True}},
    ],
    ids=str,
)
async def test_a_bad_image_request_is_refused(fields: dict[str, object]) -> None:
    async with bench() as b:
        await error(b, 400, "POST", "/images/generations", json={"prompt": "x", **fields})
        assert b.simulator.account.purchases() == []


async def test_an_image_lands_in_files_under_its_name() -> None:
    async with bench() as b:
        said = await draw(b, response_format="b64_json", storage_options={"filename": "mark.jpeg"})
        (item,) = said["data"]
        assert item["file_output"]["filename"] == "mark.jpeg"
        content = await call(b, "GET", f"/files/{item['file_output']['file_id']}/content")
        assert content.content == b64decode(item["b64_json"])
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.kind, purchase.identity) == ("image", "mark.jpeg")


async def test_no_image_wrong_bytes_and_a_dropped_answer() -> None:
    async with bench() as b:
        b.simulator.faults.arm(EmptyOutput(kind="image"))
        assert (await draw(b))["data"] == []
        b.simulator.faults.arm(WrongBytes(content="none", kind="image", count=2))
        assert b64decode((await draw(b, response_format="b64_json"))["data"][0]["b64_json"]) == b"none"
        assert (await b.http.get((await draw(b))["data"][0]["url"])).content == b"none"
        b.simulator.faults.arm(EmptyOutput(kind="audio"))
        assert await say(b) == b""
        b.simulator.faults.arm(ActThenDrop(route="POST /xai/v1/images/generations"))
        before = len(b.simulator.account.purchases())
        with pytest.raises(Exception, match="disconnected"):
            await draw(b, "another")
        assert len(b.simulator.account.purchases()) == before + 1


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
@pytest.mark.parametrize("codec", ["mp3", "wav"])
async def test_speech_is_as_long_as_its_text(codec: str, rate: int) -> None:
    async with bench() as b:
        made = await say(b, output_format={"codec": codec, "sample_rate": rate, "bit_rate": 64_000})
        assert duration_s(made, f"a.{codec}") == pytest.approx(1.0, abs=0.2)
        assert played_s(made) == pytest.approx(1.0, abs=0.2)
        faster = await say(b, output_format={"codec": codec, "sample_rate": rate}, speed=2)
        assert duration_s(faster, f"a.{codec}") == pytest.approx(0.5, abs=0.2)
        assert [one.kind for one in b.simulator.account.purchases()] == ["audio", "audio"]


@pytest.mark.parametrize("codec", ["mulaw", "alaw"])
async def test_the_telephones_codecs_hold_the_same_recording(codec: str) -> None:
    async with bench() as b:
        linear = await say(b, output_format={"codec": "pcm", "sample_rate": 8_000})
        squeezed = await say(b, output_format={"codec": codec, "sample_rate": 8_000})
        assert len(squeezed) * 2 == len(linear)
        with av.open(io.BytesIO(squeezed), "r", format=codec, options={"sample_rate": "8000"}) as file:
            decoded = b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in file.decode(audio=0))
        pairs = zip(memoryview(linear).cast("h"), memoryview(decoded).cast("h"), strict=True)
        assert max(abs(one - other) for one, other in pairs) < 600


async def test_bare_samples_are_those_of_the_wav() -> None:
    async with bench() as b:
        bare = await say(b, output_format={"codec": "pcm"})
        with wave.open(io.BytesIO(await say(b, output_format={"codec": "wav"}))) as file:
            assert file.readframes(file.getnframes()) == bare
        other = await say(b, output_format={"codec": "pcm"}, voice_id="leo")
        assert len(other) == len(bare)
        assert other != bare


async def test_with_timestamps_the_bytes_come_in_json() -> None:
    async with bench() as b:
        fields: dict[str, Any] = {"output_format": {"codec": "wav"}}
        said = await ok(b, "POST", "/tts", json={"text": "fifteen letters", "with_timestamps": True, **fields})
        assert b64decode(said["audio"]) == await say(b, **fields)
        assert said["duration"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"text": ""},
        {"text": "x" * 15_001},
        {"output_format": {"codec": "flac"}},
        {"output_format": {"codec": "mp3", "sample_rate": 7}},
        {"speed": 9},
        {"voice": "eve"},
    ],
    ids=lambda fields: str(fields)[:40],
)
async def test_bad_speech_is_refused(fields: dict[str, object]) -> None:
    async with bench() as b:
        await error(b, 400, "POST", "/tts", json={"text": "x", **fields})


@pytest.mark.parametrize(
    "path",
    [
        *("/images/generations", "/images/edits", "/tts"),
        *("/videos/generations", "/videos/edits", "/videos/extensions"),
    ],
)
async def test_without_a_library_nothing_is_sold_and_it_is_named(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    async with bench() as b:
        said = await error(b, 501, "POST", path, json={"prompt": "x", "text": "x"})
        assert said["code"] == "not_installed"
        assert "without pillow;" in said["error"]
        assert b.simulator.account.purchases() == []
