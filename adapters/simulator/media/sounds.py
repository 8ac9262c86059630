"""Speech of a kind: each character of a text is a tone, 15 of them in a second. Encoded by PyAV, where it can.

The seed and the voice decide how high the tones are. WAV and bare PCM need no encoder.
"""

from __future__ import annotations

import array
import io
import math
import wave
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, cast

from msgspec import Struct

from perdure.adapters.simulator.ids import digest

if TYPE_CHECKING:
    from perdure.adapters.simulator.media.pyav import Encoder, Muxer

SoundFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

CHARACTERS_PER_S: Final = 15
"""How many characters are spoken in a second, at speed 1. Ours; people who read aloud do about as much."""

SAMPLE_RATE: Final = 24_000
"""Samples in a second (OpenAI's and Google's own: `contracts/providers.md` sections 1.4 and 3.4)."""

_PITCHES: Final = 24
_LOUDNESS: Final = 9_000
_BIT_RATE: Final = 32_000

_ENCODERS: Final = {
    "mp3": ("mp3", "libmp3lame"),
    "opus": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
    "flac": ("flac", "flac"),
}
"""The container and the encoder of a format, as FFmpeg calls them."""


class Sound(Struct, frozen=True, kw_only=True):
    """A recording that can be made. `speed` multiplies how fast `text` is spoken; `sample_rate` is in hertz."""

    seed: int
    text: str
    voice: str = ""
    format: SoundFormat = "mp3"
    speed: float = 1.0
    sample_rate: int = SAMPLE_RATE

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds, before what an encoder adds to fill its last frame."""
        return len(self.text) * self._samples_each / self.sample_rate

    @property
    def _samples_each(self) -> int:
        return max(1, round(self.sample_rate / (CHARACTERS_PER_S * self.speed)))

    def make(self) -> bytes:
        """The bytes. Blocks."""
        samples = self.samples()
        if self.format == "pcm":
            return samples
        if self.format == "wav":
            return wav(samples, self.sample_rate)
        return _encode(samples, self.format, self.sample_rate)

    def samples(self) -> bytes:
        """The recording as 16-bit samples, little-endian, one channel."""
        lowest = int(digest(self.seed, "voice", self.voice)[:2], 16)
        tones = [
            _tone((lowest + ord(character)) % _PITCHES, self._samples_each, self.sample_rate)
            if not character.isspace()
            else bytes(2 * self._samples_each)
            for character in self.text
        ]
        return b"".join(tones)


def makeable(format_: SoundFormat) -> bool:
    """Whether the PyAV that is installed has an encoder for a format."""
    if format_ not in _ENCODERS:
        return True
    from av.codec import codecs_available

    return _ENCODERS[format_][1] in codecs_available


def wav(samples: bytes, sample_rate: int) -> bytes:
    """16-bit samples of one channel under the head of a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples)
    return out.getvalue()


@lru_cache(maxsize=256)
def _tone(pitch: int, length: int, sample_rate: int) -> bytes:
    """`length` samples of one tone. It ends where its wave does, and begins and ends softly, so that nothing clicks."""
    cycles = max(1, round((180 + 20 * pitch) * length / sample_rate))
    step, fade = 2 * math.pi * cycles / length, max(1, length // 8)
    values = (int(_LOUDNESS * math.sin(step * n) * min(1.0, n / fade, (length - 1 - n) / fade)) for n in range(length))
    samples = array.array("h", values)
    return samples.tobytes()


def _encode(samples: bytes, format_: str, sample_rate: int) -> bytes:
    import av
    from av.audio.stream import AudioStream

    container, codec = _ENCODERS[format_]
    out = io.BytesIO()
    # Without "bitexact" the containers hold a random number and the version of the library.
    with av.open(out, "w", format=container, options={"fflags": "+bitexact"}) as file:
        muxer = cast("Muxer", file)
        stream = muxer.add_stream(codec, rate=sample_rate, layout="mono", options={"flags": "+bitexact"})
        assert isinstance(stream, AudioStream)
        context = stream.codec_context
        context.bit_rate = _BIT_RATE
        context.open()
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
        frame.planes[0].update(samples)
        frame.sample_rate = sample_rate
        frame.pts = 0
        resampler = av.AudioResampler(
            format=context.format, layout="mono", rate=sample_rate, frame_size=context.frame_size
        )
        encoder = cast("Encoder", stream)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            muxer.mux(encoder.encode(piece))
        muxer.mux(encoder.encode(None))
    return out.getvalue()
