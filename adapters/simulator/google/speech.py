"""Speech in answers of `:generateContent`: bare samples, whose rate stands in their type.

Google wraps them in no container (`contracts/providers.md` section 3.4).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from perdure.adapters.simulator.google.errors import invalid
from perdure.adapters.simulator.media.sounds import SAMPLE_RATE, Sound

MIME_TYPE: Final = f"audio/L16;codec=pcm;rate={SAMPLE_RATE}"
"""What it is: 16-bit samples, little-endian, of one channel."""

TOKENS_A_SECOND: Final = 25
"""How many tokens a second of speech is taken for. Ours."""

USUAL_VOICE: Final = "Kore"

MAX_SPEAKERS: Final = 2
"""How many speakers there may be (google-genai 3.4, `MultiSpeakerVoiceConfig`)."""


class _Prebuilt(Struct, frozen=True, rename="camel"):
    voice_name: str = USUAL_VOICE


class _Voice(Struct, frozen=True, rename="camel"):
    prebuilt_voice_config: _Prebuilt = _Prebuilt()


class _Speaker(Struct, frozen=True, rename="camel"):
    speaker: str
    voice_config: _Voice = _Voice()


class _Speakers(Struct, frozen=True, rename="camel"):
    speaker_voice_configs: list[_Speaker] = []


class SpeechConfig(Struct, frozen=True, rename="camel"):
    """Who speaks: one voice, or several speakers with a voice each."""

    voice_config: _Voice | None = None
    multi_speaker_voice_config: _Speakers | None = None
    language_code: str = ""

    def voice(self) -> str:
        """The name of the voice, or of all speakers and voices. Raises `ApiError` 400."""
        if self.multi_speaker_voice_config is None:
            return (self.voice_config or _Voice()).prebuilt_voice_config.voice_name
        speakers = self.multi_speaker_voice_config.speaker_voice_configs
        if self.voice_config is not None or not 1 <= len(speakers) <= MAX_SPEAKERS:
            raise invalid(
                f"There is either a 'voiceConfig' or a list of up to {MAX_SPEAKERS} speakers.",
                "generation_config.speech_config",
            )
        return "\n".join(f"{one.speaker}={one.voice_config.prebuilt_voice_config.voice_name}" for one in speakers)


def spoken(prompt: str, config: SpeechConfig, seed: int) -> Sound:
    """The recording of a prompt. Raises `ApiError` 400."""
    return Sound(seed=seed, text=prompt, voice=config.voice(), format="pcm")


def speech_tokens(sound: Sound) -> int:
    """What a recording is counted as."""
    return max(1, round(sound.duration_s * TOKENS_A_SECOND))
