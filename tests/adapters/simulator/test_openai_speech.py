"""Speech at the simulated OpenAI: by its own SDK, and what is refused."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import msgspec
import openai
import pytest

from perdure.adapters.simulator import OPENAI_PREFIX
from tests.adapters.simulator.bench import bench
from tests.adapters.simulator.media.measuring import duration_s, played_s
from tests.adapters.simulator.test_openai_sdk import client

pytestmark = pytest.mark.trio

TEXT = "thirty characters are two secs"
ASKED = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": TEXT}
TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


@pytest.mark.parametrize("format_", TYPES)
async def test_the_sdk_has_a_text_spoken_in_each_format(format_: Any) -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        answer = await sdk.audio.speech.create(
            model="gpt-4o-mini-tts", voice="coral", input=TEXT, response_format=format_, instructions="softly"
        )
        assert answer.response.headers["content-type"] == TYPES[format_]
        if format_ == "pcm":
            assert len(answer.content) == 2 * 24_000 * 2
        else:
            assert played_s(answer.content) == pytest.approx(2.0, abs=0.1)
        assert b.units("audio") == [1]


async def test_twice_the_text_or_half_the_speed_is_twice_as_long() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        for text, speed in ((TEXT * 2, 1.0), (TEXT, 0.5)):
            made = await sdk.audio.speech.create(model="tts-1", voice="alloy", input=text, speed=speed)
            assert duration_s(made.content, "a.mp3") == pytest.approx(4.0, abs=0.1)


async def test_a_voice_may_be_named_by_id_and_voices_differ() -> None:
    async with bench() as b:
        spoken = [
            await b.call("POST", "/audio/speech", json=ASKED | {"voice": voice}) for voice in ("echo", {"id": "v"})
        ]
        again = await b.call("POST", "/audio/speech", json=ASKED | {"voice": "echo"})
        assert spoken[0].content == again.content != spoken[1].content


async def test_events_hold_the_same_bytes_and_the_last_what_was_used() -> None:
    async with bench() as b:
        plain = await b.call("POST", "/audio/speech", json=ASKED | {"response_format": "wav"})
        told = await b.call("POST", "/audio/speech", json=ASKED | {"response_format": "wav", "stream_format": "sse"})
        assert told.headers["content-type"].startswith("text/event-stream")
        events = [msgspec.json.decode(line[6:]) for line in told.text.splitlines() if line]
        assert b"".join(b64decode(event["audio"]) for event in events[:-1]) == plain.content
        assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
        assert events[-1] == {
            "type": "speech.audio.done",
            "usage": {"input_tokens": 8, "output_tokens": 40, "total_tokens": 48},
        }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input", ""),
        ("input", "x" * 4_097),
        ("response_format", "ogg"),
        ("speed", 0.2),
        ("speed", 4.1),
        ("voice", 3),
        ("stream_format", "lines"),
        ("colour", "red"),
    ],
)
async def test_a_parameter_that_is_wrong_is_refused_by_its_name(field: str, value: object) -> None:
    async with bench() as b:
        assert (await b.error(400, "POST", "/audio/speech", json=ASKED | {field: value}))["param"] == field
        assert b.units("audio") == []


async def test_what_is_missing_or_not_there_is_refused() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        for field in ASKED:
            body = {name: value for name, value in ASKED.items() if name != field}
            assert (await b.error(400, "POST", "/audio/speech", json=body))["param"] == field
        with pytest.raises(openai.NotFoundError):
            await sdk.audio.speech.create(model="nope", voice="alloy", input="a")
        error = await b.error(400, "POST", "/audio/speech", json=ASKED | {"model": "tts-1", "stream_format": "sse"})
        assert error["param"] == "stream_format"


async def test_a_recording_can_have_no_bytes_or_be_something_else() -> None:
    async with bench() as b:
        await b.arm("empty_output", kind="audio")
        await b.arm("wrong_bytes", kind="image")
        empty = await b.call("POST", "/audio/speech", json=ASKED)
        assert (empty.status_code, empty.content, empty.headers["content-type"]) == (200, b"", "audio/mpeg")
        await b.arm("wrong_bytes", kind="audio")
        assert (await b.call("POST", "/audio/speech", json=ASKED)).content == b"<html>This is no media.</html>"
        assert played_s((await b.call("POST", "/audio/speech", json=ASKED)).content) > 1.9
