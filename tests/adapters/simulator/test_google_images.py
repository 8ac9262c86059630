"""Google's images and speech, simulated: in answers of `:generateContent`, and by Imagen's `:predict`."""

from __future__ import annotations

import io
import sys
import wave
from base64 import b64decode, b64encode
from typing import Any

import pytest

from perdure.adapters.simulator.faults import ActThenDrop
from perdure.adapters.simulator.media.faults import EmptyOutput, WrongBytes
from tests.adapters.simulator.google_bench import GoogleBench, google_bench
from tests.adapters.simulator.media.measuring import duration_s, picture_size

pytestmark = pytest.mark.trio

GENERATE = "/v1beta/models/gemini-image:generateContent"
PREDICT = "/v1beta/models/imagen-4:predict"


def asking(prompt: str, *modalities: str, **config: object) -> dict[str, Any]:
    return {
        "contents": [{"role": "user", "parts": [{"text": prompt}]}],
        "generationConfig": {"responseModalities": modalities, **config},
    }


async def ask(b: GoogleBench, prompt: str, *modalities: str, **config: object) -> Any:
    return await b.ok("POST", GENERATE, json=asking(prompt, *modalities, **config))


async def predict(b: GoogleBench, prompt: str, **parameters: object) -> Any:
    return await b.ok("POST", PREDICT, json={"instances": [{"prompt": prompt}], "parameters": parameters})


def inline(said: Any, kind: str) -> bytes:
    (part,) = [part for part in said["candidates"][0]["content"]["parts"] if "inlineData" in part]
    assert part["inlineData"]["mimeType"].startswith(kind)
    return b64decode(part["inlineData"]["data"], validate=True)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({}, (1024, 1024)),
        ({"aspectRatio": "16:9", "imageSize": "512"}, (688, 384)),
        ({"aspectRatio": "2:3"}, (832, 1248)),
    ],
)
async def test_a_picture_has_the_size_that_is_asked_for(config: dict[str, str], size: tuple[int, int]) -> None:
    async with google_bench() as b:
        said = await ask(b, "a red fox", "IMAGE", imageConfig=config)
        assert picture_size(inline(said, "image/png")) == size
        assert said["candidates"][0]["finishReason"] == "STOP"
        usage = said["usageMetadata"]
        assert usage["candidatesTokensDetails"] == [{"modality": "IMAGE", "tokenCount": 1290}]
        assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]


async def test_words_come_beside_a_picture_and_two_prompts_give_two_pictures() -> None:
    async with google_bench() as b:
        size = {"imageSize": "512"}
        one = await ask(b, "a red fox", "TEXT", "IMAGE", imageConfig=size)
        assert [set(part) for part in one["candidates"][0]["content"]["parts"]] == [{"text"}, {"inlineData"}]
        other = await ask(b, "a blue fox", "IMAGE", imageConfig=size)
        again = await ask(b, "a red fox", "IMAGE", imageConfig=size)
        assert inline(one, "image/") == inline(again, "image/") != inline(other, "image/")
        assert [one.kind for one in b.simulator.account.purchases()] == ["image"] * 3


async def test_an_image_that_comes_with_the_prompt_changes_the_picture_and_must_be_one() -> None:
    async with google_bench() as b:
        size = {"imageSize": "512"}
        plain = inline(await ask(b, "a red fox", "IMAGE", imageConfig=size), "image/")
        body = asking("a red fox", "IMAGE", imageConfig=size)
        parts = body["contents"][0]["parts"]
        parts.append({"inlineData": {"mimeType": "image/png", "data": b64encode(plain).decode()}})
        assert inline(await b.ok("POST", GENERATE, json=body), "image/") != plain
        parts[1]["inlineData"]["data"] = b64encode(b"no image").decode()
        error = await b.error(400, "INVALID_ARGUMENT", "POST", GENERATE, json=body)
        assert "image" in error["message"]


async def test_moderation_refuses_the_prompt_or_the_picture() -> None:
    async with google_bench() as b:
        said = await ask(b, "!block it", "IMAGE")
        assert "candidates" not in said
        assert said["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
        assert b.simulator.account.purchases() == []
        said = await ask(b, "draw it, !block it", "IMAGE")
        assert said["candidates"] == [{"finishReason": "IMAGE_SAFETY", "index": 0}]
        (purchase,) = b.simulator.account.purchases()
        assert purchase.kind == "image"


async def test_what_google_would_refuse_is_refused() -> None:
    async with google_bench() as b:
        for body in (
            asking("x", "IMAGE", imageConfig={"aspectRatio": "wide"}),
            asking("x", "IMAGE", imageConfig={"imageSize": "9K"}),
            asking("x", "VIDEO"),
            asking("x", "AUDIO", "IMAGE"),
        ):
            await b.error(400, "INVALID_ARGUMENT", "POST", GENERATE, json=body)
        assert b.simulator.account.purchases() == []


@pytest.mark.parametrize("voice", ["Kore", "Puck"])
async def test_speech_is_bare_samples_with_the_rate_in_their_type(voice: str) -> None:
    async with google_bench() as b:
        config = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
        said = await ask(b, "fifteen letters", "AUDIO", speechConfig=config)
        samples = inline(said, "audio/L16;codec=pcm;rate=24000")
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setparams((1, 2, 24_000, 0, "NONE", ""))
            file.writeframes(samples)
        assert duration_s(out.getvalue(), "a.wav") == pytest.approx(1.0, abs=0.01)
        assert said["usageMetadata"]["candidatesTokensDetails"] == [{"modality": "AUDIO", "tokenCount": 25}]
        (purchase,) = b.simulator.account.purchases()
        assert purchase.kind == "audio"


async def test_the_voices_decide_how_it_sounds() -> None:
    def speakers(*voices: str) -> dict[str, Any]:
        configs = [
            {"speaker": f"s{n}", "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
            for n, voice in enumerate(voices)
        ]
        return {"multiSpeakerVoiceConfig": {"speakerVoiceConfigs": configs}}

    async with google_bench() as b:
        heard = {inline(await ask(b, "hi", "AUDIO", speechConfig=speakers("Kore", one)), "audio") for one in "ab"}
        assert len(heard) == 2
        body = asking("hi", "AUDIO", speechConfig=speakers("a", "b", "c"))
        await b.error(400, "INVALID_ARGUMENT", "POST", GENERATE, json=body)


async def test_imagen_draws_so_many_and_says_why_some_are_missing() -> None:
    async with google_bench() as b:
        said = await predict(b, "a red fox", sampleCount=2, aspectRatio="1:1", sampleImageSize="512")
        drawn = [b64decode(one["bytesBase64Encoded"]) for one in said["predictions"]]
        assert [picture_size(one) for one in drawn] == [(512, 512)] * 2
        assert drawn[0] != drawn[1]
        said = await predict(b, "a fox, !block", sampleCount=2, outputOptions={"mimeType": "image/jpeg"})
        filtered, shown = said["predictions"]
        assert set(filtered) == {"raiFilteredReason"}
        assert shown["mimeType"] == "image/jpeg"
        assert b64decode(shown["bytesBase64Encoded"]).startswith(b"\xff\xd8")
        said = await predict(b, "!block", sampleCount=2)
        assert [set(one) for one in said["predictions"]] == [{"raiFilteredReason"}] * 2
        assert [one.kind for one in b.simulator.account.purchases()] == ["image"] * 3
        for parameters in ({"sampleCount": 0}, {"sampleCount": 5}, {"aspectRatio": "0:1"}):
            body = {"instances": [{"prompt": "x"}], "parameters": parameters}
            await b.error(400, "INVALID_ARGUMENT", "POST", PREDICT, json=body)
        await b.error(400, "INVALID_ARGUMENT", "POST", PREDICT, json={"instances": [{"prompt": " "}]})
        await b.error(404, "NOT_FOUND", "POST", "/v1/models/nope:predict", json={"instances": []})


async def test_an_answer_without_a_picture_and_one_that_is_none() -> None:
    async with google_bench() as b:
        b.simulator.faults.arm(EmptyOutput(kind="image", count=2), EmptyOutput(kind="audio"))
        assert "parts" not in (await ask(b, "x", "IMAGE"))["candidates"][0]["content"]
        assert await predict(b, "x") == {}
        assert "parts" not in (await ask(b, "x", "AUDIO"))["candidates"][0]["content"]
        b.simulator.faults.arm(WrongBytes(content="none"))
        assert inline(await ask(b, "x", "IMAGE"), "image/png") == b"none"
        assert b.simulator.faults.armed() == []


async def test_a_dropped_answer_is_on_the_account_and_shows_when_it_is_bought_twice() -> None:
    async with google_bench() as b:
        b.simulator.faults.arm(ActThenDrop(route="POST /google/*/models/{model}:predict"))
        body = {"instances": [{"prompt": "x"}], "parameters": {"sampleCount": 1, "sampleImageSize": "512"}}
        with pytest.raises(Exception, match="disconnected"):
            await b.call("POST", PREDICT, json=body)
        await b.ok("POST", PREDICT.replace("v1beta", "v1"), json=body, headers={"x-client-request-id": "mark"})
        assert [one.identity for one in b.simulator.account.purchases()] == ["", "mark"]
        assert len(b.simulator.account.bought_twice()) == 1


async def test_batches_answer_with_text_alone() -> None:
    async with google_bench(batch_s=10) as b:
        batch = {"batch": {"inputConfig": {"requests": {"requests": [{"request": asking("x", "IMAGE")}]}}}}
        made = await b.ok("POST", "/v1/models/m:batchGenerateContent", json=batch)
        b.simulator.clock.advance(60)
        ended = await b.ok("GET", f"/v1/{made['name']}")
        assert ended["response"]["inlinedResponses"]["inlinedResponses"][0]["error"]["code"] == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (GENERATE, asking("x", "IMAGE")),
        (GENERATE, asking("x", "AUDIO")),
        (PREDICT, {"instances": [{"prompt": "x"}]}),
        ("/v1/models/veo:predictLongRunning", {"instances": [{"prompt": "x"}]}),
        (
            "/v1/interactions",
            {"model": "m", "input": "x", "background": True, "response_format": {"type": "video"}},
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_without_a_library_nothing_is_sold_and_it_is_named(
    path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    async with google_bench() as b:
        error = await b.error(501, "UNIMPLEMENTED", "POST", path, json=body)
        assert "without av;" in error["message"]
        assert b.simulator.account.purchases() == []
        assert (await b.ok("POST", GENERATE, json=asking("x")))["candidates"]
