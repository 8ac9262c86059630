"""The ways in which a file goes to the four providers, with limits so small that a few bytes take all of them."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from perdure.actors.remote_files import RemoteFiles
from perdure.adapters import anthropic, google, openai, xai
from perdure.adapters.simulator import ANTHROPIC_PREFIX, GOOGLE_PREFIX, OPENAI_PREFIX, XAI_PREFIX

CHUNK_BYTES: Final = 256 << 10
"""A chunk of Google's: the smallest that it takes."""

PART_BYTES: Final = 40_000
"""A part of OpenAI's. What has two and a half times that goes there in one request."""


class Way(Struct, frozen=True):
    """A way to a provider. `content` goes to the route `sends`, in pieces of `chunk_bytes` (0: in one); it becomes a
    file by the request to the route `makes` that `before` others to that route came before, and goes by `deletes`."""

    provider: str
    sends: str
    makes: str
    deletes: str
    content: bytes
    before: int = 0
    filename: str = "fjords.pdf"
    chunk_bytes: int = 0


def document(size: int) -> bytes:
    """A document of which no two pieces are alike."""
    head = b"%PDF-1.7 "
    return head + Random(size).randbytes(size - len(head))


def _plain(provider: str, base: str) -> Way:
    """A way in which a file goes in one request."""
    place = f"{base}/files"
    return Way(provider, f"POST {place}", f"POST {place}", f"DELETE {place}/*", document(90_000))


_FILM: Final = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + Random(1).randbytes(90_000)
_IN_CHUNKS: Final = Way(
    "google",
    f"POST {GOOGLE_PREFIX}/upload/v1/files",
    f"POST {GOOGLE_PREFIX}/upload/v1/files",
    f"DELETE {GOOGLE_PREFIX}/v1/files/*",
    document(2 * CHUNK_BYTES + 1_000),
    before=3,
    chunk_bytes=CHUNK_BYTES,
)

WAYS: Final[Mapping[str, Way]] = {
    "openai": _plain("openai", OPENAI_PREFIX),
    "openai-parts": Way(
        "openai",
        f"POST {OPENAI_PREFIX}/uploads/*/parts",
        f"POST {OPENAI_PREFIX}/uploads/*/complete",
        f"DELETE {OPENAI_PREFIX}/files/*",
        document(3 * PART_BYTES + 1_000),
        chunk_bytes=PART_BYTES,
    ),
    "anthropic": _plain("anthropic", f"{ANTHROPIC_PREFIX}/v1"),
    "google": _IN_CHUNKS,
    "google-film": replace(_IN_CHUNKS, content=_FILM, before=1, filename="fjords.mp4"),
    "xai": _plain("xai", XAI_PREFIX),
}
"""Every way there is, by name. A film is processed before it may be used."""

RESUMABLE: Final = ("google", "openai-parts")
"""Those that go on where they broke off, and have several pieces."""


def small_stores(*, chunk_bytes: int = CHUNK_BYTES, part_bytes: int = PART_BYTES) -> Mapping[str, RemoteFiles]:
    """The stores with pieces of these sizes, and with lists that lag a tenth of a second at most."""
    return {
        openai.NAME: openai.OpenAIRemoteFiles(settle_s=0.1, max_plain_bytes=part_bytes * 5 // 2, part_bytes=part_bytes),
        anthropic.NAME: anthropic.AnthropicFiles(settle_s=0.1),
        google.NAME: google.GoogleFiles(chunk_bytes=chunk_bytes),
        xai.NAME: xai.XaiRemoteFiles(settle_s=0.1),
    }
