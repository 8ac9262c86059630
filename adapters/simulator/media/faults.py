"""What can be told to go wrong with images, speech and videos: the next ones, or a video that exists.

JSON objects with the tag `fault`, read as strictly as those in `faults.py` beside this folder, which arms them.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

from perdure.adapters.simulator.media.operations import Arrange, Complaint, Mishap

MediaKind = Literal["image", "audio", "video"]

Count: TypeAlias = Annotated[int, Meta(ge=1)] | None
"""How many of them; null: all until the faults are cleared."""


class MediaFault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault"):
    """For the next `count` purchases of its kind; `operation`: at once for the video with this id."""

    count: Count = 1
    operation: str = ""


class FailVideo(MediaFault, frozen=True, kw_only=True, tag="fail_video"):
    """Ends as failed half-way, with this error."""

    code: str = "video_generation_failed"
    message: str = "This video was made to fail."


class StuckVideo(MediaFault, frozen=True, kw_only=True, tag="stuck_video"):
    """Stays at this share of its time for ever."""

    done: Annotated[float, Meta(ge=0, lt=1)] = 0.5


class ExpiredDownload(MediaFault, frozen=True, kw_only=True, tag="expired_download"):
    """Its bytes are gone as soon as it is completed."""


class EmptyOutput(MediaFault, frozen=True, kw_only=True, tag="empty_output"):
    """Ends well, and there is nothing: no picture in the answer, a recording of no bytes, no video to fetch.

    `kind`: only for images, audio or video; null: whatever comes next.
    """

    kind: MediaKind | None = None


class WrongBytes(MediaFault, frozen=True, kw_only=True, tag="wrong_bytes"):
    """Gives `content` as text under the usual type instead of what was made; "" for no bytes. `kind` as above."""

    content: str = "<html>This is no media.</html>"
    kind: MediaKind | None = None


AnyMediaFault: TypeAlias = FailVideo | StuckVideo | ExpiredDownload | EmptyOutput | WrongBytes


def is_for(fault: AnyMediaFault, kind: MediaKind) -> bool:
    """Whether a fault strikes purchases of a kind."""
    if isinstance(fault, EmptyOutput | WrongBytes):
        return fault.kind in (None, kind)
    return kind == "video"


def add_media_fault(to: Mishap, fault: AnyMediaFault) -> Mishap:
    """A mishap with one more fault."""
    match fault:
        case FailVideo():
            return replace(to, fails=Complaint(fault.code, fault.message))
        case StuckVideo():
            return replace(to, stuck_at=fault.done)
        case ExpiredDownload():
            return replace(to, expired=True)
        case EmptyOutput():
            return replace(to, empty=True)
        case WrongBytes():
            return replace(to, wrong=fault.content)


def mishap_arranger(fault: AnyMediaFault) -> Arrange:
    """Adds one fault to a video that exists."""
    return lambda mishap: add_media_fault(mishap, fault)
