"""xAI's images, speech and videos: `contracts/providers.md` section 4.

What the contract leaves open, and a case shows all the same, is ours: bounds of numbers, where results are, and that
speech which moderation refuses is 400.
"""

from __future__ import annotations

import io
import re
from base64 import b64decode, b64encode
from functools import cache
from typing import Any, Final

import httpx
from PIL import Image

from perdure.adapters.simulator import DEFAULT_VIDEO_S
from tests.conformance.wire.contract import Case, Wire, given, ok
from tests.conformance.wire.shapes import Shape, said

HOUR_S: Final = 3_600
COST: Final[dict[str, Shape]] = {"cost_in_usd_ticks": int}
RESULT: Final = r"http://.+/xai/v1/results/\w+-?\d*\."


def jpeg(value: object) -> bool:
    """Base64 of a JPEG."""
    return isinstance(value, str) and b64decode(value).startswith(b"\xff\xd8\xff")


def item(**shown: Shape) -> dict[str, Shape]:
    """One picture of an answer."""
    return {"respect_moderation": True, "revised_prompt": said, **shown}


def images(**shown: Shape) -> dict[str, Shape]:
    """The answer of both image routes."""
    return {"data": [item(**shown)], "usage": COST}


INLINE: Final = images(b64_json=jpeg)
URL: Final = images(url=re.compile(RESULT + "jpeg"))


@cache
def picture() -> str:
    """A data URL of a PNG."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "PNG")
    return "data:image/png;base64," + b64encode(out.getvalue()).decode()


def draw(w: Wire, **asked: object) -> httpx.Response:
    """Asks for an image."""
    return w.post("/images/generations", json={"model": "grok-imagine-image", "prompt": "a fox", **asked})


def edit(w: Wire, **asked: object) -> httpx.Response:
    """Asks for an edit."""
    image = {"url": picture(), "type": "image_url"}
    return w.post("/images/edits", json={"prompt": "a hat", "image": image, "response_format": "b64_json", **asked})


def at_url(w: Wire, after_s: float = 0.0) -> httpx.Response:
    """The bytes at an image's address, without a key."""
    url = ok(draw(w))["data"][0]["url"]
    w.simulator.advance(after_s)
    return w.http.get(url)


GENERATIONS: Final = "POST /images/generations"
IMAGES: Final = [
    Case(GENERATIONS, "gives addresses if nothing is said", draw, body=URL),
    Case(GENERATIONS, "gives bytes", given(draw, response_format="b64_json"), body=INLINE),
    Case(
        GENERATIONS,
        "takes all that there is",
        given(draw, n=2, aspect_ratio="16:9", resolution="1k", response_format="url"),
        body=URL,
    ),
    Case(
        GENERATIONS,
        "keeps it in Files",
        given(draw, storage_options={"filename": "a.jpeg", "expires_after": HOUR_S}),
        body=images(
            url=re.compile(RESULT + "jpeg"), file_output={"file_id": re.compile("file_.+"), "filename": "a.jpeg"}
        ),
    ),
    Case(
        GENERATIONS,
        "says that moderation held it back",
        given(draw, prompt="!block"),
        body={"data": [{"respect_moderation": False}], "usage": COST},
    ),
    *(
        Case(GENERATIONS, f"refuses {field} {value!r}", given(draw, **{field: value}), 400)
        for field, value in (("n", 0), ("n", 11), ("prompt", ""), ("aspect_ratio", "wide"), ("response_format", "png"))
    ),
    Case(GENERATIONS, "knows no other model", given(draw, model="nope"), 404),
    Case("POST /images/edits", "edits an image", edit, body=INLINE),
    Case(
        "POST /images/edits", "refuses what is no image", given(edit, image={"url": "data:image/png;base64,eA=="}), 400
    ),
    Case(
        "POST /images/edits",
        "takes no form",
        lambda w: w.post("/images/edits", data={"prompt": "a hat"}, files={"image": ("a.png", b"x")}),
        400,
    ),
    Case("POST /images/edits", "knows no other file", given(edit, image={"file_id": "file_none"}), 404),
    Case("GET /results/{id}.jpeg", "gives a JPEG to whoever asks", at_url, begins=b"\xff\xd8\xff", media="image/jpeg"),
    Case("GET /results/{id}.jpeg", "has it for an hour", given(at_url, HOUR_S), 404),
    Case("GET /results/{id}.jpeg", "knows no other", lambda w: w.get("/results/none.jpeg"), 404),
]


def speak(w: Wire, **asked: object) -> httpx.Response:
    """Asks for speech."""
    return w.post("/tts", json={"text": "hello", "voice_id": "eve", "language": "auto", **asked})


CODECS: Final[dict[str, tuple[str, bytes]]] = {
    "mp3": ("audio/mpeg", b""),
    "wav": ("audio/wav", b"RIFF"),
    "pcm": ("audio/pcm", b""),
    "mulaw": ("audio/basic", b""),
    "alaw": ("audio/x-alaw-basic", b""),
}

SPEECH: Final = [
    *(
        Case(
            "POST /tts",
            f"speaks {codec}",
            given(speak, output_format={"codec": codec, "sample_rate": 24_000}, speed=1.5),
            begins=begins,
            media=media,
        )
        for codec, (media, begins) in CODECS.items()
    ),
    Case("POST /tts", "speaks MP3 if nothing is said", speak, begins=b"", media="audio/mpeg"),
    Case(
        "POST /tts",
        "puts it into JSON with timestamps",
        given(speak, with_timestamps=True),
        body={"audio": said, "duration": float, "content_type": "audio/mpeg"},  # the third is ours
    ),
    *(
        Case("POST /tts", f"refuses {name}", given(speak, **{field: value}), 400)
        for name, (field, value) in {
            "no text": ("text", ""),
            "by moderation": ("text", "!block"),
            "another codec": ("output_format", {"codec": "ogg"}),
            "another rate": ("output_format", {"codec": "wav", "sample_rate": 7}),
        }.items()
    ),
]


def post_video(w: Wire, route: str = "generations", /, **asked: object) -> httpx.Response:
    """Asks for a video."""
    return w.post(f"/videos/{route}", json={"model": "grok-imagine-video", "prompt": "a fox", **asked})


def look(w: Wire, share: float, later_s: float = 0.0, prompt: str = "a fox", **asked: object) -> httpx.Response:
    """What is said about a video after a share of its time and some seconds more."""
    made = str(ok(post_video(w, prompt=prompt, duration=2, **asked))["request_id"])
    w.simulator.advance(DEFAULT_VIDEO_S * share + later_s)
    return w.get(f"/videos/{made}")


def film(w: Wire, later_s: float = 0.0) -> httpx.Response:
    """The bytes at a video's address, without a key."""
    url = str(ok(look(w, 1))["video"]["url"])
    w.simulator.advance(later_s)
    return w.http.get(url)


def follow_up(w: Wire, route: str, **asked: object) -> httpx.Response:
    """An edit or an extension of a video that is done."""
    url = ok(look(w, 1))["video"]["url"]
    return post_video(w, route, video={"url": url}, **asked)


STARTED: Final[dict[str, Shape]] = {"request_id": said}
DONE: Final[dict[str, Any]] = {
    "status": "done",
    "model": said,
    "video": {"url": re.compile(RESULT + "mp4"), "duration": 2, "respect_moderation": True},
    "usage": COST,
    "progress": 100,
}
POLL: Final = "GET /videos/{request_id}"

VIDEOS: Final = [
    Case("POST /videos/generations", "starts one", post_video, body=STARTED),
    *(
        Case("POST /videos/generations", f"takes {field}", given(post_video, **{field: value}), body=STARTED)
        for field, value in {
            "duration": 5,
            "aspect_ratio": "9:16",
            "resolution": "1080p",
            "image": {"url": picture()},
            "reference_images": [{"url": picture()}],
            "storage_options": {"filename": "a.mp4", "expires_after": HOUR_S, "public_url": False},
        }.items()
    ),
    *(
        Case("POST /videos/generations", f"refuses {field} {value!r}", given(post_video, **{field: value}), 400)
        for field, value in (("prompt", ""), ("duration", 0), ("resolution", "4k"), ("aspect_ratio", "wide"))
    ),
    Case(POLL, "is 202 without a word", given(look, 0.05), 202, content=b"", media=""),
    Case(POLL, "is 202 and says how far it is", given(look, 0.5), 202, body={"status": "pending", "progress": 50}),
    Case(POLL, "is done", given(look, 1), body=DONE),
    Case(
        POLL,
        "says where it is in Files",
        given(look, 1, storage_options={"filename": "a.mp4"}),
        body={
            **DONE,
            "video": {
                **DONE["video"],
                "file_output": {"file_id": re.compile("file_.+"), "filename": "a.mp4"},
            },
        },
    ),
    Case(
        POLL,
        "says that moderation held it back",
        given(look, 1, prompt="!block"),
        body={**DONE, "video": {"duration": 2, "respect_moderation": False}},
    ),
    Case(POLL, "expires", given(look, 1, HOUR_S), body={"status": "expired"}),
    Case(POLL, "knows no other", lambda w: w.get("/videos/none"), 404),
    Case("GET /results/{id}.mp4", "gives an MP4 to whoever asks", film, begins=b"\x00\x00\x00", media="video/mp4"),
    Case("GET /results/{id}.mp4", "has it for an hour", given(film, HOUR_S), 404),
    Case("GET /results/{id}.mp4", "knows no other", lambda w: w.get("/results/none.mp4"), 404),
    Case("POST /videos/edits", "makes another of one", given(follow_up, "edits"), body=STARTED),
    Case("POST /videos/edits", "needs one", given(post_video, "edits"), 400),
    Case("POST /videos/extensions", "adds to one", given(follow_up, "extensions", duration=3), body=STARTED),
    Case("POST /videos/extensions", "adds no more than 15", given(follow_up, "extensions", duration=16), 400),
]

MEDIA: Final = [*IMAGES, *SPEECH, *VIDEOS]

KEYLESS: Final = {
    "GET /results/{id}.jpeg": "a result's address is its credential",
    "GET /results/{id}.mp4": "a result's address is its credential",
}

UNPAGED: Final = {"GET /results/{id}.jpeg": "bytes", "GET /results/{id}.mp4": "bytes"}
