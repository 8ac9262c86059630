"""How long a WAV file is."""

from __future__ import annotations

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.events.wav import wav_duration_s


def wav(seconds: float, rate: int = 8_000) -> bytes:
    """A silent file, written by the standard library."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(b"\0\0\0\0" * round(seconds * rate))
    return file.getvalue()


@pytest.mark.parametrize("mime_type", ["audio/wav", "audio/x-wav", "Audio/Wave; codecs=1"])
def test_c20_the_length_of_a_wav_comes_from_its_header(mime_type: str) -> None:
    assert wav_duration_s(wav(1.5), mime_type) == 1.5
    assert wav_duration_s(wav(0.25, 44_100), mime_type) == pytest.approx(0.25)
    assert wav_duration_s(wav(1.5)[:44], mime_type) == 1.5, "the header is enough"


@pytest.mark.parametrize(
    ("content", "mime_type"),
    [
        (wav(1.0), "audio/mpeg"),
        (wav(1.0)[:30], "audio/wav"),
        (b"", "audio/wav"),
        (b"JUNK" + wav(1.0)[4:], "audio/wav"),
        (wav(1.0)[:8] + b"AVI " + wav(1.0)[12:], "audio/wav"),
        (wav(1.0).replace((8_000 * 4).to_bytes(4, "little"), bytes(4)), "audio/wav"),
    ],
    ids=["another type", "cut short", "empty", "no RIFF", "no WAVE", "no rate"],
)
def test_c20_what_is_no_whole_wav_has_no_length(content: bytes, mime_type: str) -> None:
    assert wav_duration_s(content, mime_type) is None


@given(st.binary(max_size=80))
def test_any_bytes_have_a_length_or_none(rest: bytes) -> None:
    found = wav_duration_s(b"RIFF\0\0\0\0WAVE" + rest, "audio/wav")
    assert found is None or found >= 0
