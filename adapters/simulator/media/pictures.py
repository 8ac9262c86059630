"""Pictures with the prompt drawn in: PNG, JPEG and WebP, by Pillow.

Behind the text are blocks in colours that the seed and the whole prompt decide, so that two prompts which begin alike,
or which are too long to be drawn, give two pictures all the same.
"""

from __future__ import annotations

import io
import textwrap
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from msgspec import Struct

from perdure.adapters.simulator.ids import digest

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

PictureFormat = Literal["png", "jpeg", "webp"]

MAX_SOURCE_PIXELS: Final = 1 << 26
"""The largest picture that is read, in pixels: 64 Mi, some 256 MB unpacked. A guard of the simulator's own."""

_BLOCKS: Final = 4
_FONT_SHARE: Final = 14
_MIN_FONT: Final = 8


class NotAPicture(Exception):
    """Bytes are no picture that can be read, or one that is too large; the message says which."""


class Measured(Struct, frozen=True):
    """What a picture is: the format as Pillow names it (`PNG`), and its size in pixels."""

    format: str
    width: int
    height: int


class Picture(Struct, frozen=True, kw_only=True):
    """A picture that can be made.

    `width` and `height` are in pixels. `compression` (0 to 100) is the quality of JPEG and WebP. `transparent`: nothing
    is behind the text. `under` is a picture to draw upon, as bytes, and `mask` one whose transparent parts alone are
    drawn upon. `salt` makes another picture of the same prompt.
    """

    seed: int
    prompt: str
    width: int
    height: int
    format: PictureFormat = "png"
    compression: int = 90
    transparent: bool = False
    salt: str = ""
    under: bytes = b""
    mask: bytes = b""

    def make(self) -> bytes:
        """The bytes. Blocks. Raises `NotAPicture` for `under` and `mask` that are none."""
        return encode(self.paint(), self.format, self.compression)

    def paint(self) -> Image:
        """The picture as Pillow has it, in RGB or RGBA."""
        from PIL import Image, ImageChops

        drawn = self._draw()
        if not self.under:
            return drawn
        below = scaled(open_picture(self.under).convert("RGB"), self.width, self.height)
        if not self.mask:
            return Image.blend(below, drawn.convert("RGB"), 0.5)
        kept = scaled(open_picture(self.mask).convert("RGBA").getchannel("A"), self.width, self.height)
        below.paste(drawn.convert("RGB"), mask=ImageChops.invert(kept))
        return below

    def _draw(self) -> Image:
        from PIL import Image, ImageDraw

        size = (self.width, self.height)
        told_apart = bytes.fromhex(digest(self.seed, "picture", self.prompt, self.salt))
        if self.transparent:
            image = Image.new("RGBA", size, (0, 0, 0, 0))
        else:
            # A tiny picture that is blown up: one call of the library for the whole of the pattern.
            shades = bytes(32 + told_apart[n % len(told_apart)] // 2 for n in range(_BLOCKS * _BLOCKS * 3))
            blocks = Image.frombytes("RGB", (_BLOCKS, _BLOCKS), shades)
            image = scaled(blocks, self.width, self.height, sharp=True)
        ink = tuple(160 + value % 96 for value in told_apart[:3])
        font = _font(max(_MIN_FONT, min(size) // _FONT_SHARE))
        ImageDraw.Draw(image).multiline_text(
            (self.width // 20, self.height // 20), _wrapped(self.prompt, self.width, self.height), fill=ink, font=font
        )
        return image


class _Scalable(Protocol):
    """What the library's own types leave open."""

    def resize(self, size: tuple[int, int], resample: int | None) -> Image: ...


def scaled(image: Image, width: int, height: int, *, sharp: bool = False) -> Image:
    """A picture in another size, in pixels. `sharp`: with the edges of its pixels."""
    from PIL.Image import Resampling

    how = Resampling.NEAREST if sharp else Resampling.BICUBIC
    return cast("_Scalable", image).resize((width, height), how)


def encode(image: Image, format_: PictureFormat, compression: int) -> bytes:
    """A picture's bytes in a format."""
    out = io.BytesIO()
    if format_ == "png":
        image.save(out, "PNG", compress_level=1)
    elif format_ == "jpeg":
        image.convert("RGB").save(out, "JPEG", quality=min(max(compression, 1), 95))
    else:
        image.save(out, "WEBP", quality=compression, method=0)
    return out.getvalue()


def open_picture(data: bytes) -> Image:
    """A picture, of which only the head has been read. Raises `NotAPicture`."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
        if image.width * image.height > MAX_SOURCE_PIXELS:
            raise NotAPicture(f"it has more than {MAX_SOURCE_PIXELS} pixels")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NotAPicture("it is no PNG, JPEG or WebP") from error
    return image


def measure_picture(data: bytes) -> Measured:
    """What a picture is, after all of it was read. Raises `NotAPicture` for one that is not whole, too."""
    image = open_picture(data)
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise NotAPicture("it is damaged") from error
    return Measured(image.format or "", image.width, image.height)


@lru_cache(maxsize=64)
def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _wrapped(prompt: str, width: int, height: int) -> str:
    """As much of a prompt as there is room for, in lines."""
    size = max(_MIN_FONT, min(width, height) // _FONT_SHARE)
    columns, rows = max(1, width * 3 // (size * 2)), max(1, height * 3 // (size * 4))
    plain = "".join(character if character.isprintable() else " " for character in prompt[: columns * rows * 2])
    return "\n".join(textwrap.wrap(plain, columns)[:rows])
