"""What is used of PyAV and has holes in the library's own types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import av
    from PIL.Image import Image


class Muxer(Protocol):
    """A file that is written (`av.container.OutputContainer`)."""

    def add_stream(self, codec_name: str, rate: int, *, options: Mapping[str, str], **more: str) -> object:
        """A stream by the name of its encoder."""
        ...

    def mux(self, packets: object) -> None:
        """Writes what an encoder gave."""
        ...


class Encoder(Protocol):
    """A stream that is encoded (`av.stream.Stream`)."""

    def encode(self, frame: av.VideoFrame | av.AudioFrame | None) -> object:
        """The packets of a frame; None: of all that is still held back."""
        ...


class Framer(Protocol):
    """What makes a frame of a picture (`av.VideoFrame`)."""

    def from_image(self, image: Image) -> av.VideoFrame:
        """The frame."""
        ...
