"""Google's pictures, speech and videos: `contracts/providers.md` sections 3.3 to 3.5. What they leave open is marked.

Interactions are the one place where Google's JSON is in snake case.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any, Final, cast

import httpx

from perdure.adapters.simulator import DEFAULT_VIDEO_S
from tests.conformance.wire.contract import Case, Wire, given, ok
from tests.conformance.wire.google_calls import DAY_S
from tests.conformance.wire.shapes import Shape, rfc3339, said

MODEL: Final = "/{version}/models"
GENERATE: Final = "POST /{version}/models/{model}:generateContent"
PREDICT: Final = "POST /{version}/models/{model}:predict"
PREDICT_LONG: Final = "POST /{version}/models/{model}:predictLongRunning"
OPERATION: Final = "GET /{version}/models/{model}/operations/{id}"
DOWNLOAD: Final = "GET /{version}/files/{id}:download"
SMALL: Final = {"resolution": "360p", "durationSeconds": 4}


def holds(*starts: bytes) -> Callable[[object], bool]:
    """Base64 of bytes that begin like one of these."""
    return lambda text: isinstance(text, str) and b64decode(text, validate=True).startswith(starts)


def is_film(data: object) -> bool:
    """Bytes of an MP4."""
    return isinstance(data, bytes) and data[4:8] == b"ftyp"


def holds_film(text: object) -> bool:
    """Base64 of an MP4."""
    return is_film(b64decode(str(text), validate=True))


def samples_of_pcm(text: object) -> bool:
    """Base64 of samples of two bytes, without a head."""
    data = b64decode(str(text), validate=True)
    return bool(data) and len(data) % 2 == 0 and not data.startswith(b"RIFF")


def made(mime_type: Shape, data: Shape, modality: str) -> Shape:
    """An answer with one piece of media in it."""
    return {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"inlineData": {"mimeType": mime_type, "data": data}}]},
                "finishReason": "STOP",
                "index": int,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": int,
            "candidatesTokenCount": int,
            "totalTokenCount": int,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": int}],
            "candidatesTokensDetails": [{"modality": modality, "tokenCount": int}],
        },
        "modelVersion": said,
        "responseId": said,
    }


def blocked(shown: object) -> bool:
    """An answer without a picture that says why: no candidates, or one that ended for a reason of safety."""
    answer = cast("dict[str, Any]", shown)
    if not answer.get("candidates"):
        return bool(answer["promptFeedback"]["blockReason"])
    (candidate,) = answer["candidates"]
    parts = candidate.get("content", {}).get("parts", [])
    return candidate["finishReason"].startswith("IMAGE_") and not any("inlineData" in part for part in parts)


def ask(w: Wire, modality: str, prompt: str = "a fox", **config: object) -> httpx.Response:
    """Asks for something that is not words."""
    contents = [{"role": "user", "parts": [{"text": prompt}]}]
    asked = {"contents": contents, "generationConfig": {"responseModalities": [modality], **config}}
    return w.post(f"{MODEL}/gemini-x:generateContent", json=asked)


def predict(w: Wire, prompt: str = "a fox", model: str = "imagen-4", **parameters: object) -> httpx.Response:
    """Asks Imagen for pictures."""
    return w.post(
        f"{MODEL}/{model}:predict",
        json={"instances": [{"prompt": prompt}], "parameters": {"sampleCount": 1, **parameters}},
    )


def start(w: Wire, prompt: str = "a fox", model: str = "veo-3", **parameters: object) -> httpx.Response:
    """Asks Veo for a video."""
    return w.post(
        f"{MODEL}/{model}:predictLongRunning",
        json={"instances": [{"prompt": prompt}], "parameters": {**SMALL, **parameters}},
    )


def poll(w: Wire, prompt: str = "a fox", *, after_s: float = DEFAULT_VIDEO_S, **parameters: object) -> httpx.Response:
    """An operation so many seconds after it began. Its name alone is enough to ask for it."""
    name = ok(start(w, prompt, "veo-3", **parameters))["name"]
    w.simulator.advance(after_s)
    return w.get(f"/{{version}}/{name}")


def film(w: Wire, *, late_s: float = 0.0, headers: dict[str, str] | None = None) -> httpx.Response:
    """The bytes of a video, so many seconds after its end, from where its operation says that they are."""
    (sample,) = ok(poll(w))["response"]["generateVideoResponse"]["generatedSamples"]
    w.simulator.advance(late_s)
    return w.http.get(sample["video"]["uri"], headers=w.headers if headers is None else headers)


def interact(w: Wire, text: str = "a fox", **changed: object) -> httpx.Response:
    """Begins an interaction that makes a video."""
    wanted = {"type": "video", "resolution": "360p", "aspect_ratio": "16:9", "duration": "4s", "delivery": "uri"}
    asked = {"model": "omni", "input": text, "background": True, "store": True, "response_format": wanted}
    return w.post("/{version}/interactions", json={**asked, **changed})


def interaction(w: Wire, text: str = "a fox", *, after_s: float, **changed: object) -> httpx.Response:
    """An interaction so many seconds after it began."""
    begun = ok(interact(w, text, **changed))["id"]
    w.simulator.advance(after_s)
    return w.get(f"/{{version}}/interactions/{begun}")


def inline(w: Wire) -> httpx.Response:
    """An interaction whose video comes in it, when it has ended."""
    wanted = {"type": "video", "resolution": "360p", "duration": "4s", "delivery": "inline"}
    return interaction(w, after_s=DEFAULT_VIDEO_S, response_format=wanted)


LIVE_CASES: Final = [
    Case(
        GENERATE,
        "makes a picture",
        given(ask, "IMAGE", imageConfig={"aspectRatio": "1:1", "imageSize": "512"}),
        body=made(re.compile("image/(png|jpeg)"), holds(b"\x89PNG", b"\xff\xd8\xff"), "IMAGE"),
    ),
    Case(GENERATE, "makes no picture that is blocked", given(ask, "IMAGE", "!block it"), body=blocked),
    Case(
        GENERATE,
        "refuses another size of a picture",
        given(ask, "IMAGE", imageConfig={"imageSize": "9K"}),
        400,
    ),
    Case(
        GENERATE,
        "speaks, without a head",
        given(ask, "AUDIO", speechConfig={"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}),
        body=made(re.compile(r"audio/L16;codec=pcm;rate=\d+"), samples_of_pcm, "AUDIO"),
    ),
]

IMAGEN_CASES: Final = [
    Case(
        PREDICT,
        "makes two pictures",
        given(predict, sampleCount=2, aspectRatio="1:1"),
        body={"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": holds(b"\x89PNG")}]},
    ),
    Case(
        PREDICT,
        "says which picture was filtered",
        given(predict, "!block it"),
        body={"predictions": [{"raiFilteredReason": said}]},
    ),
    Case(PREDICT, "needs a prompt", given(predict, ""), 400),
    Case(PREDICT, "makes no five", given(predict, sampleCount=5), 400),
    Case(PREDICT, "knows no other model", given(predict, model="nope"), 404),
]

URI: Final = re.compile(r"http://.+/files/.+:download\?alt=media")
SAMPLE: Final[dict[str, Shape]] = {"video": {"uri": URI}}
NAME: Final = re.compile(r"models/veo-3/operations/.+")

VEO_CASES: Final = [
    Case(PREDICT_LONG, "begins", start, body={"name": NAME}),
    Case(PREDICT_LONG, "needs a prompt", given(start, ""), 400),
    Case(PREDICT_LONG, "refuses another resolution", given(start, resolution="1p"), 400),
    Case(PREDICT_LONG, "knows no other model", given(start, model="nope"), 404),
    Case(OPERATION, "tells no progress", given(poll, after_s=0), body={"name": NAME, "done?": False}),
    Case(
        OPERATION,
        "is done",
        poll,
        body={"name": NAME, "done": True, "response": {"generateVideoResponse": {"generatedSamples": [SAMPLE]}}},
    ),
    Case(
        OPERATION,
        "is done without a sample where all were filtered",
        given(poll, "!block it"),
        body={
            "name": NAME,
            "done": True,
            "response": {"generateVideoResponse": {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [said]}},
        },
    ),
    Case(OPERATION, "knows no other", given(Wire.get, f"{MODEL}/veo-3/operations/none"), 404),
    Case(DOWNLOAD, "gives a film", film, content=is_film, media="video/mp4"),
    Case(DOWNLOAD, "gives no film without a key", given(film, headers={}), 403),
    Case(DOWNLOAD, "gives no film after 48 hours", given(film, late_s=2 * DAY_S), 403),
]

INTERACTION: Final[dict[str, Shape]] = {
    "id": said,
    "status": ("queued", "in_progress", "completed", "failed", "cancelled"),
    "created": rfc3339,  # the contract does not say in which form
    "updated": rfc3339,  # nor that there is this, which Google's client reads
    "model": "omni",
    "labels?": {...: str},
}
USAGE: Final[dict[str, Shape]] = {
    "total_input_tokens": int,
    "total_output_tokens": int,
    "total_tokens": int,
    "input_tokens_by_modality": [{"modality": said, "tokens": int}],
    "output_tokens_by_modality": [{"modality": said, "tokens": int}],
}


def ended(**where: Shape) -> Shape:
    """An interaction with a video in its output."""
    block = {"type": "video", "mime_type": "video/mp4", **where}
    return {
        **INTERACTION,
        "status": "completed",
        "steps": [{"type": "model_output", "content": [block]}],
        "usage": USAGE,
    }


CREATE: Final = "POST /{version}/interactions"
SHOW: Final = "GET /{version}/interactions/{id}"
CANCEL: Final = "POST /{version}/interactions/{id}/cancel"
DELETE: Final = "DELETE /{version}/interactions/{id}"

INTERACTION_CASES: Final = [
    Case(
        CREATE,
        "begins, with labels",
        given(interact, labels={"perdure-job": "j1"}, webhook_config={"uris": [], "user_metadata": {"job": "j1"}}),
        body={**INTERACTION, "status": ("queued", "in_progress"), "labels": {"perdure-job": "j1"}},
    ),
    *(
        Case(CREATE, f"refuses {name}", given(interact, **{field: value}), 400)
        for name, (field, value) in {
            "a label in capitals": ("labels", {"Job": "j"}),
            "a label of 64 characters": ("labels", {"job": "j" * 64}),
            "another resolution": ("response_format", {"type": "video", "resolution": "1p"}),
            "nothing to show": ("input", ""),
        }.items()
    ),
    Case(CREATE, "knows no other model", given(interact, model="nope"), 404),
    Case(SHOW, "is in progress", given(interaction, after_s=DEFAULT_VIDEO_S / 2), body=INTERACTION),
    Case(SHOW, "has made a video", given(interaction, after_s=DEFAULT_VIDEO_S), body=ended(uri=URI)),
    Case(SHOW, "has made a video and holds it", inline, body=ended(data=holds_film)),
    Case(
        SHOW,
        "has failed",
        given(interaction, "!block it", after_s=DEFAULT_VIDEO_S),
        body={**INTERACTION, "status": "failed", "errors": [{"code": said, "message": said}]},
    ),
    Case(SHOW, "knows no other", given(Wire.get, "/{version}/interactions/none"), 404),
    Case(
        CANCEL,
        "cancels",
        lambda w: w.post(f"/{{version}}/interactions/{ok(interact(w))['id']}/cancel"),
        body={**INTERACTION, "status": "cancelled"},
    ),
    Case(
        CANCEL,
        "refuses what has ended (400: ours)",
        lambda w: w.post(f"/{{version}}/interactions/{ok(interaction(w, after_s=DEFAULT_VIDEO_S))['id']}/cancel"),
        400,
    ),
    Case(CANCEL, "knows no other", given(Wire.post, "/{version}/interactions/none/cancel"), 404),
    Case(DELETE, "deletes", lambda w: w.delete(f"/{{version}}/interactions/{ok(interact(w))['id']}"), body={}),
    Case(DELETE, "knows no other", given(Wire.delete, "/{version}/interactions/none"), 404),
]

MEDIA: Final = [*LIVE_CASES, *IMAGEN_CASES, *VEO_CASES, *INTERACTION_CASES]
