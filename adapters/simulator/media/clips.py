"""Films in MP4, by PyAV: each scene shows its prompt, with a bar below that grows while it lasts.

H.264 where the PyAV that is installed can encode it, else MPEG-4 part 2. One thread and no look-ahead, so that the same
film has the same bytes on every machine with the same libraries.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, Literal, cast

from msgspec import Struct

from perdure.adapters.simulator.media.pictures import Picture, encode, scaled

if TYPE_CHECKING:
    from collections.abc import Generator

    from PIL.Image import Image

    from perdure.adapters.simulator.media.pyav import Encoder, Framer, Muxer

FRAMES_PER_S: Final = 8
"""Frames in a second: enough to see that it moves, and few enough that a film of 12 seconds takes well below one."""

MAX_SOURCE_S: Final = 600.0
"""The longest film that is taken as a source, in seconds. A guard of the simulator's own."""

_SHEET_COLUMNS: Final = 4
_SHEET_ROWS: Final = 2
_BAR_SHARE: Final = 16

ClipVariant = Literal["video", "thumbnail", "spritesheet"]


class NotAFilm(Exception):
    """Bytes are no film that can be read, or one that is too long; the message says which."""


class Scene(Struct, frozen=True):
    """A part of a film. `salt` makes another one of the same prompt: the digest of what it was made from, say."""

    prompt: str
    duration_s: float
    salt: str = ""


class Clip(Struct, frozen=True, kw_only=True):
    """A film that can be made. `width` and `height` are in pixels, and even. `variant`: the film, its first frame as
    WebP, or eight of its frames as one JPEG."""

    seed: int
    width: int
    height: int
    scenes: tuple[Scene, ...]
    variant: ClipVariant = "video"

    @property
    def duration_s(self) -> float:
        """How long it is, in seconds: what was asked for, within one frame."""
        return sum(map(_frames, self.scenes)) / FRAMES_PER_S

    def make(self) -> bytes:
        """The bytes. Blocks."""
        if self.variant == "thumbnail":
            return encode(next(self._paint()), "webp", 80)
        if self.variant == "spritesheet":
            return encode(self._sheet(), "jpeg", 80)
        return self._film()

    def _paint(self) -> Generator[Image]:
        from PIL import ImageDraw

        high = max(2, self.height // _BAR_SHARE)
        for scene in self.scenes:
            still = Picture(
                seed=self.seed, prompt=scene.prompt, width=self.width, height=self.height, salt=scene.salt
            ).paint()
            count = _frames(scene)
            for n in range(count):
                frame = still.copy()
                bar = (0, self.height - high, self.width * (n + 1) // count, self.height)
                ImageDraw.Draw(frame).rectangle(bar, fill=(255, 255, 255))
                yield frame

    def _sheet(self) -> Image:
        from PIL import Image

        total = sum(map(_frames, self.scenes))
        shown = _SHEET_COLUMNS * _SHEET_ROWS
        wanted = {n * total // shown: n for n in reversed(range(shown))}
        wide, high = max(1, self.width // _SHEET_COLUMNS), max(1, self.height // _SHEET_COLUMNS)
        sheet = Image.new("RGB", (wide * _SHEET_COLUMNS, high * _SHEET_ROWS))
        for number, frame in enumerate(self._paint()):
            if number in wanted:
                row, column = divmod(wanted[number], _SHEET_COLUMNS)
                sheet.paste(scaled(frame, wide, high), (column * wide, row * high))
        return sheet

    def _film(self) -> bytes:
        import av
        from av.codec import codecs_available
        from av.video.stream import VideoStream

        out = io.BytesIO()
        h264 = "libx264" in codecs_available
        options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "30"} if h264 else {"flags": "+bitexact"}
        with av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as file:
            muxer, framer = cast("Muxer", file), cast("Framer", av.VideoFrame)
            stream = muxer.add_stream("libx264" if h264 else "mpeg4", rate=FRAMES_PER_S, options=options)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
            stream.codec_context.thread_count = 1
            encoder = cast("Encoder", stream)
            for number, image in enumerate(self._paint()):
                frame = framer.from_image(image)
                frame.pts = number
                muxer.mux(encoder.encode(frame))
            muxer.mux(encoder.encode(None))
        return out.getvalue()


class MeasuredFilm(Struct, frozen=True):
    """What a film is: its size in pixels, its length in seconds."""

    width: int
    height: int
    duration_s: float


def measure_film(data: bytes) -> MeasuredFilm:
    """What a film is. Raises `NotAFilm`."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(io.BytesIO(data), "r") as file:
            if not file.streams.video or file.duration is None:
                raise NotAFilm("it has no pictures")
            context = file.streams.video[0].codec_context
            # FFmpeg opens a picture as a film of one frame.
            if (file.format.name.endswith("_pipe")) or file.duration > MAX_SOURCE_S * 1_000_000:
                raise NotAFilm(f"it is a picture, or longer than {MAX_SOURCE_S:g} seconds")
            return MeasuredFilm(context.width, context.height, file.duration / 1_000_000)
    except (FFmpegError, ValueError) as error:
        raise NotAFilm("it is no film") from error


def _frames(scene: Scene) -> int:
    return max(1, round(scene.duration_s * FRAMES_PER_S))
