"""OpenAI's images, speech and videos: `contracts/providers.md` sections 1.3 to 1.5.

What the contract leaves open, and a case shows all the same, is ours: the codes of refusals, and how it is said that a
video cannot be fetched.
"""

from __future__ import annotations

import io
import re
from base64 import b64decode
from typing import Any, Final, cast

import httpx
from PIL import Image

from perdure.adapters.simulator import DEFAULT_VIDEO_S
from tests.conformance.wire.contract import Case, Pages, Wire, given, ok
from tests.conformance.wire.openai_shapes import following, ids, page
from tests.conformance.wire.shapes import Shape, said, unix_time

SIZE: Final = "64x64"
SIGNATURES: Final = {"png": b"\x89PNG", "jpeg": b"\xff\xd8\xff", "webp": b"RIFF"}


def picture(width: int = 64, mode: str = "RGB") -> bytes:
    """A PNG."""
    out = io.BytesIO()
    Image.new(mode, (width, 64)).save(out, "PNG")
    return out.getvalue()


def images(format_: str = "png", count: int = 1, **changed: Shape) -> dict[str, Shape]:
    """The answer of both image routes."""
    number = {"text_tokens": int, "image_tokens": int}

    def holds(data: object) -> bool:
        items = cast("list[dict[str, str]]", data) if isinstance(data, list) else []
        return len(items) == count and all(
            b64decode(item["b64_json"]).startswith(SIGNATURES[format_]) for item in items
        )

    return {
        "created": unix_time,
        "data": holds,
        "output_format": format_,
        "quality": ("low", "medium", "high"),
        "size": re.compile(r"\d+x\d+"),
        "background": ("opaque", "transparent"),
        "usage": {
            "input_tokens": int,
            "input_tokens_details": number,
            "output_tokens": int,
            "output_tokens_details": number,
            "total_tokens": int,
        },
        **changed,
    }


def generate(w: Wire, **asked: object) -> httpx.Response:
    """Asks for an image."""
    return w.post("/images/generations", json={"model": "gpt-image-2", "prompt": "a fox", "size": SIZE, **asked})


def edit(w: Wire, *files: tuple[str, bytes], **fields: str) -> httpx.Response:
    """Asks for an edit."""
    named = [(name, (f"{name}.png", data)) for name, data in files]
    return w.post(
        "/images/edits", data={"model": "gpt-image-2", "prompt": "a hat", "size": SIZE, **fields}, files=named
    )


SMALL_SQUARE: Final[dict[str, Shape]] = images(size=SIZE)
REFUSED: Final[Shape] = {"error": {"message": said, "type": said, "param": (str, None), "code": "moderation_blocked"}}

IMAGES: Final = [
    Case("POST /images/generations", "makes an image", generate, body=SMALL_SQUARE),
    *(
        Case(
            "POST /images/generations",
            f"makes {format_}",
            given(generate, output_format=format_, quality="low", n=2, background="opaque", moderation="low"),
            body=images(format_, 2, quality="low"),
        )
        for format_ in SIGNATURES
    ),
    Case(
        "POST /images/generations",
        "counts tokens as the contract does",
        given(generate, prompt="x" * 56, size="1024x1024", quality="low"),
        body=images(
            size="1024x1024",
            usage={
                "input_tokens": 14,
                "input_tokens_details": {"text_tokens": 14, "image_tokens": 0},
                "output_tokens": 272,
                "output_tokens_details": {"image_tokens": 272, "text_tokens": 0},
                "total_tokens": 286,
            },
        ),
    ),
    *(
        Case("POST /images/generations", f"refuses {field} {value}", given(generate, **{field: value}), 400)
        for field, value in (("n", 0), ("n", 11), ("size", "60x60"), ("output_format", "bmp"), ("prompt", ""))
    ),
    Case(
        "POST /images/generations",
        "always answers in base64",
        given(generate, response_format="url"),
        400,
    ),
    Case("POST /images/generations", "refuses by moderation", given(generate, prompt="!block"), 400, body=REFUSED),
    Case("POST /images/generations", "knows no other model", given(generate, model="nope"), 404),
    Case("POST /images/edits", "edits an image", given(edit, ("image", picture())), body=SMALL_SQUARE),
    Case(
        "POST /images/edits",
        "takes sixteen and a mask",
        given(edit, *[("image[]", picture())] * 16, ("mask", picture(mode="RGBA")), n="2"),
        body=images(count=2),
    ),
    Case("POST /images/edits", "refuses seventeen", given(edit, *[("image[]", picture())] * 17), 400),
    Case(
        "POST /images/edits",
        "refuses a mask of another size",
        given(edit, ("image", picture()), ("mask", picture(32, "RGBA"))),
        400,
    ),
    Case("POST /images/edits", "refuses what is no image", given(edit, ("image", b"words")), 400),
]

SPEECH: Final[dict[str, tuple[str, bytes]]] = {
    "mp3": ("audio/mpeg", b""),
    "opus": ("audio/opus", b"OggS"),
    "aac": ("audio/aac", b"\xff\xf1"),
    "flac": ("audio/flac", b"fLaC"),
    "wav": ("audio/wav", b"RIFF"),
    "pcm": ("audio/pcm", b""),
}


def speak(w: Wire, **asked: object) -> httpx.Response:
    """Asks for speech."""
    return w.post("/audio/speech", json={"model": "gpt-4o-mini-tts", "input": "hello", "voice": "alloy", **asked})


AUDIO: Final = [
    *(
        Case(
            "POST /audio/speech",
            f"speaks {format_}",
            given(speak, response_format=format_),
            begins=begins,
            media=media,
        )
        for format_, (media, begins) in SPEECH.items()
    ),
    Case("POST /audio/speech", "speaks MP3 if nothing is said", speak, begins=b"", media="audio/mpeg"),
    Case("POST /audio/speech", "takes a voice by id", given(speak, voice={"id": "v"}), begins=b"", media="audio/mpeg"),
    *(
        Case(
            "POST /audio/speech", f"takes the speed {speed}", given(speak, speed=speed), begins=b"", media="audio/mpeg"
        )
        for speed in (0.25, 4)
    ),
    *(
        Case("POST /audio/speech", f"refuses {name}", given(speak, **{field: value}), 400)
        for name, (field, value) in {
            "4,097 characters": ("input", "x" * 4_097),
            "no text": ("input", ""),
            "another format": ("response_format", "ogg"),
            "a speed too low": ("speed", 0.2),
            "a speed too high": ("speed", 4.5),
        }.items()
    ),
]

VIDEO: Final[dict[str, Shape]] = {
    "id": re.compile("video_.+"),
    "object": "video",
    "created_at": unix_time,
    "completed_at": (unix_time, None),
    "error": ({"code": said, "message": said}, None),
    "expires_at": (unix_time, None),
    "model": said,
    "progress": int,
    "prompt": said,
    "remixed_from_video_id": (re.compile("video_.+"), None),
    "seconds": re.compile(r"\d+"),
    "size": re.compile(r"\d+x\d+"),
    "status": ("queued", "in_progress", "completed", "failed"),
}
DONE: Final[dict[str, Shape]] = {**VIDEO, "status": "completed", "progress": 100, "expires_at": unix_time}


def post_video(w: Wire, **asked: object) -> httpx.Response:
    """Asks for a video, as JSON."""
    return w.post("/videos", json={"prompt": "a fox", "size": SIZE, **asked})


def form_video(w: Wire, **fields: str) -> httpx.Response:
    """Asks for a video, in a form with a picture to begin with."""
    asked = {"prompt": "a fox", "model": "sora-2", "seconds": "8", "size": "720x1280", **fields}
    return w.post("/videos", data=asked, files={"input_reference": ("a.png", picture())})


def video(w: Wire, *, share: float = 1.0, **asked: object) -> str:
    """The id of a video after a share of its time."""
    made = str(ok(post_video(w, **asked))["id"])
    w.simulator.advance(DEFAULT_VIDEO_S * share)
    return made


def look(w: Wire, share: float, **asked: object) -> httpx.Response:
    """A video after a share of its time."""
    return w.get(f"/videos/{video(w, share=share, **asked)}")


def content(w: Wire, share: float = 1.0, variant: str = "video", **headers: str) -> httpx.Response:
    """What a video has, after a share of its time."""
    made = video(w, share=share)
    return w.with_headers("GET", f"/videos/{made}/content", headers, params={"variant": variant})


def late(w: Wire) -> httpx.Response:
    """What a video has when its time is over."""
    made = video(w)
    shown: Any = ok(w.get(f"/videos/{made}"))
    w.simulator.advance(shown["expires_at"] - shown["completed_at"])
    return w.get(f"/videos/{made}/content")


def follow_up(w: Wire, route: str, share: float = 1.0, **asked: object) -> httpx.Response:
    """An edit or an extension of a video after a share of its time."""
    return w.post(f"/videos/{route}", json={"prompt": "more", "video": {"id": video(w, share=share)}, **asked})


def remix(w: Wire, share: float = 1.0, **asked: object) -> httpx.Response:
    """A remix of a video after a share of its time."""
    return w.post(f"/videos/{video(w, share=share)}/remix", json={"prompt": "more", **asked})


HINT: Final = {"openai-poll-after-ms": r"\d+"}

VIDEOS: Final = [
    Case("POST /videos", "takes JSON", post_video, body={**VIDEO, "status": "queued", "seconds": "4"}, head=HINT),
    Case("POST /videos", "takes a form", form_video, body={**VIDEO, "seconds": "8", "size": "720x1280"}, head=HINT),
    *(
        Case(
            "POST /videos", f"takes {field} {value}", given(post_video, **{field: value}), body={**VIDEO, field: value}
        )
        for field, value in (("seconds", "12"), ("size", "1280x720"), ("size", "1024x1792"), ("model", "sora-2-pro"))
    ),
    *(
        Case("POST /videos", f"refuses {field} {value!r}", given(post_video, **{field: value}), 400)
        for field, value in (("seconds", "5"), ("seconds", 4), ("size", "wide"), ("prompt", ""))
    ),
    Case("GET /videos", "lists", lambda w: w.get("/videos", limit=1, order="desc"), body=page(VIDEO)),
    Case("GET /videos", "refuses an unknown order", lambda w: w.get("/videos", order="up"), 400),
    *(
        Case(
            "GET /videos/{id}",
            f"is {status} in its turn",
            given(look, share),
            body={**VIDEO, "status": status, "progress": progress, "expires_at": None},
            head=HINT,
        )
        for status, share, progress in (("queued", 0.05, 0), ("in_progress", 0.5, 50))
    ),
    Case("GET /videos/{id}", "is completed", given(look, 1), body=DONE, head=HINT),
    Case(
        "GET /videos/{id}",
        "fails with an error",
        given(look, 1, prompt="!block"),
        body={**VIDEO, "status": "failed", "completed_at": None, "error": {"code": said, "message": said}},
    ),
    Case("GET /videos/{id}", "knows no other", lambda w: w.get("/videos/video_none"), 404),
    Case(
        "DELETE /videos/{id}",
        "deletes a video",
        lambda w: w.delete(f"/videos/{video(w)}"),
        body={"id": re.compile("video_.+"), "object": "video.deleted", "deleted": True},
    ),
    Case("DELETE /videos/{id}", "knows no other", lambda w: w.delete("/videos/video_none"), 404),
    *(
        Case("GET /videos/{id}/content", f"gives the {name}", given(content, 1.0, name), begins=begins, media=media)
        for name, media, begins in (
            ("video", "video/mp4", b""),
            ("thumbnail", "image/webp", b"RIFF"),
            ("spritesheet", "image/jpeg", b"\xff\xd8\xff"),
        )
    ),
    Case(
        "GET /videos/{id}/content",
        "gives a range",
        given(content, range="bytes=4-7"),
        206,
        content=b"ftyp",
        media="video/mp4",
    ),
    Case("GET /videos/{id}/content", "knows no other variant", given(content, 1.0, "sound"), 400),
    Case("GET /videos/{id}/content", "has nothing before the end (400: ours)", given(content, 0.5), 400),
    Case("GET /videos/{id}/content", "has nothing after its time (404: ours)", late, 404),
    Case("GET /videos/{id}/content", "knows no other", lambda w: w.get("/videos/video_none/content"), 404),
    Case(
        "POST /videos/{id}/remix",
        "makes another of one",
        remix,
        body={**VIDEO, "remixed_from_video_id": re.compile("video_.+"), "seconds": "4"},
    ),
    Case("POST /videos/{id}/remix", "needs one that is completed", given(remix, 0.5), 400),
    Case("POST /videos/{id}/remix", "takes a prompt alone", given(remix, seconds="4"), 400),
    Case(
        "POST /videos/{id}/remix",
        "knows no other",
        lambda w: w.post("/videos/video_none/remix", json={"prompt": "more"}),
        404,
    ),
    Case("POST /videos/edits", "makes another of one", given(follow_up, "edits"), body={**VIDEO, "seconds": "4"}),
    Case("POST /videos/edits", "needs one that is completed", given(follow_up, "edits", 0.5), 400),
    *(
        Case(
            "POST /videos/extensions",
            f"adds {seconds} seconds",
            given(follow_up, "extensions", seconds=seconds),
            body={**VIDEO, "seconds": f"{4 + int(seconds)}"},
        )
        for seconds in ("4", "8", "12", "16", "20")
    ),
    Case("POST /videos/extensions", "needs to know how many", given(follow_up, "extensions"), 400),
    Case("POST /videos/extensions", "adds no more than 20", given(follow_up, "extensions", seconds="24"), 400),
]

MEDIA: Final = [*IMAGES, *AUDIO, *VIDEOS]

MEDIA_PAGES: Final = [
    Pages(
        route="GET /videos",
        make=video,
        page=page(VIDEO),
        ids=ids,
        following=following,
        limit="limit",
        usual=20,
        most=100,
        nowhere=[{"after": "video_none"}],
        remove=lambda w, id_: w.delete(f"/videos/{id_}"),
    ),
    Pages(
        route="GET /videos",
        make=video,
        page=page(VIDEO),
        ids=ids,
        following=following,
        limit="limit",
        usual=20,
        most=100,
        nowhere=[{"order": "up"}],
        params={"order": "asc"},
        newest_first=False,
    ),
]
