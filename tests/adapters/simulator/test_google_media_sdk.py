"""Google's own SDK, unmodified, makes media at the simulator.

Generation 3 has `:generateContent` and interactions for it. Imagen and Veo it calls on another platform only, so those
two are spoken to plainly, in `test_google_images.py` and `test_google_videos.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import types

from perdure.adapters.simulator import GOOGLE_PREFIX
from perdure.testing import LoopbackSimulator, loopback_simulator
from tests.adapters.simulator.media.measuring import film, picture_size
from tests.secrets import unique_key

# The SDK says of interactions that they may still change.
pytestmark = pytest.mark.filterwarnings("ignore:.*[Ii]nteractions.*:UserWarning")


@pytest.fixture
def simulator() -> Iterator[LoopbackSimulator]:
    """A simulator on a port."""
    with loopback_simulator() as served:
        yield served


def client(simulator: LoopbackSimulator, version: str | None) -> Any:
    """The SDK. Its own types for contents name a library that is not installed here."""
    options = types.HttpOptions(base_url=simulator.url + GOOGLE_PREFIX, api_version=version)
    return genai.Client(api_key=unique_key(), http_options=options)


VERSIONS = pytest.mark.parametrize("version", [None, "v1beta", "v1alpha"])


@VERSIONS
def test_a_picture_and_a_recording_come_as_inline_data(simulator: LoopbackSimulator, version: str | None) -> None:
    sdk = client(simulator, version)
    config = types.GenerateContentConfig(
        response_modalities=["IMAGE"], image_config=types.ImageConfig(aspect_ratio="16:9", image_size="512")
    )
    said = sdk.models.generate_content(model="gemini-image", contents="a red fox", config=config)
    (part,) = said.candidates[0].content.parts
    assert part.inline_data.mime_type == "image/png"
    assert picture_size(part.inline_data.data) == (688, 384)
    assert said.usage_metadata.candidates_tokens_details[0].modality == types.MediaModality.IMAGE
    voice = types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name="Kore"))
    config = types.GenerateContentConfig(
        response_modalities=["AUDIO"], speech_config=types.SpeechConfig(voice_config=voice)
    )
    said = sdk.models.generate_content(model="gemini-tts", contents="hello", config=config)
    (part,) = said.candidates[0].content.parts
    assert part.inline_data.mime_type == "audio/L16;codec=pcm;rate=24000"
    assert len(part.inline_data.data) == 5 * 1_600 * 2
    config = types.GenerateContentConfig(response_modalities=["IMAGE"])
    said = sdk.models.generate_content(model="gemini-image", contents="a fox, !block", config=config)
    assert said.candidates[0].finish_reason == types.FinishReason.IMAGE_SAFETY


@VERSIONS
def test_a_video_is_made_in_the_background(simulator: LoopbackSimulator, version: str | None) -> None:
    sdk = client(simulator, version)
    wanted = {"type": "video", "resolution": "360p", "aspect_ratio": "16:9", "duration": "4s", "delivery": "uri"}
    made = sdk.interactions.create(
        model="omni", input="a red fox", background=True, response_format=wanted, labels={"perdure-job": "j1"}
    )
    assert made.status in ("queued", "in_progress")
    simulator.advance(60)
    ended = sdk.interactions.get(id=made.id)
    assert ended.status == "completed"
    assert ended.usage.total_tokens > 0
    (block,) = ended.steps[0].content
    assert (block.type, block.mime_type) == ("video", "video/mp4")
    # The SDK knows addresses by their "https:"; here they are plain, so it is given the name in it.
    name = block.uri.rpartition("/")[2].partition(":")[0]
    assert name.isalnum()
    assert film(sdk.files.download(file=f"files/{name}")).size == (640, 360)


def test_an_interaction_is_cancelled_and_deleted(simulator: LoopbackSimulator) -> None:
    sdk = client(simulator, None)
    wanted = {"type": "video", "resolution": "360p"}
    made = sdk.interactions.create(model="omni", input="a red fox", background=True, response_format=wanted)
    assert sdk.interactions.cancel(id=made.id).status == "cancelled"
    sdk.interactions.delete(id=made.id)
    with pytest.raises(Exception, match="no interaction"):
        sdk.interactions.get(id=made.id)
