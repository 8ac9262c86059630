"""Messages in, new messages out: every part with every kind of source, and what is said of what was left out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from perdure.actors.resolving import ProviderFacts, RemoteCopy, Resolution, resolve
from perdure.actors.resolving.parts import FilePart, part_for
from perdure.events.errors import (
    BlobLost,
    DiskFull,
    FileDeleted,
    FileExpired,
    InvalidRequest,
    InvalidSource,
    PerdureError,
    ProviderError,
)
from perdure.events.file_warnings import FileInlined, FileNotFound, FileSkipped, FileTypeCorrected
from perdure.events.messages import (
    Audio,
    DataUrl,
    Document,
    FileReference,
    Image,
    Inline,
    Message,
    Part,
    ProviderRef,
    Text,
    Url,
    Video,
)
from perdure.events.sealed import plain
from tests.actors.resolving.files import MemoryFiles
from tests.actors.sources.samples import PDF, PNG, SAMPLES

PROVIDER = ProviderFacts(
    provider="openai",
    references=["application/pdf", "image/*", "audio/*", "video/*"],
    max_bytes=1_000_000,
    inline=["*/*"],
    max_inline_bytes=200_000,
    urls=["image/*"],
)

LARGE_PNG = PNG + bytes(100_000)
LARGE_PDF = PDF + bytes(300_000)


def _data_url(data: bytes) -> DataUrl:
    return DataUrl("data:image/png;base64," + base64.b64encode(data).decode())


async def _resolved(parts: Sequence[Part], files: MemoryFiles, provider: ProviderFacts = PROVIDER) -> Resolution:
    return await resolve([Message("user", parts)], provider, files, now=0)


async def _one(part: Part, files: MemoryFiles | None = None, provider: ProviderFacts = PROVIDER) -> Part:
    """What becomes of one part, of which nobody need be warned."""
    resolution = await _resolved([part], files or MemoryFiles(), provider)
    assert resolution.warnings == ()
    (message,) = resolution.messages
    (resolved,) = message.parts
    return resolved


# ---------------------------------------------------------------- each source


@pytest.mark.trio
async def test_words_stay_and_so_do_roles() -> None:
    messages = [Message("user", [Text("What is this?")]), Message("assistant", (Text("A fjord."),))]
    resolution = await resolve(messages, PROVIDER, MemoryFiles(), now=0)
    assert resolution == Resolution(
        (Message("user", (Text("What is this?"),)), Message("assistant", (Text("A fjord."),))), (), {}
    )


@pytest.mark.trio
async def test_f6_a_file_of_ours_becomes_a_reference_of_the_provider() -> None:
    files = MemoryFiles()
    known = files.put(LARGE_PNG, "image/png", "fjord.png")
    resolution = await _resolved([Image(FileReference(known.id))], files)
    reference = ProviderRef("openai", f"remote-{known.id}", "image/png", "fjord.png")
    assert resolution.messages == (Message("user", (Image(reference),)),)
    assert resolution.files == {f"remote-{known.id}": known.id}
    assert files.uploads == [(known.id, "openai")]


@pytest.mark.trio
async def test_f6_a_copy_that_is_there_is_used_again() -> None:
    files = MemoryFiles()
    known = files.put(LARGE_PNG, "image/png", "fjord.png", copy=RemoteCopy("file-7"))
    assert await _one(Image(FileReference(known.id)), files) == Image(
        ProviderRef("openai", "file-7", "image/png", "fjord.png")
    )
    assert files.uploads == []


@pytest.mark.trio
async def test_a_small_file_of_ours_is_inline() -> None:
    files = MemoryFiles()
    known = files.put(PNG, "image/png", "fjord.png")
    assert await _one(Image(FileReference(known.id)), files) == Image(Inline(PNG, "image/png"))


@pytest.mark.trio
async def test_small_bytes_stay_inline_and_become_no_file() -> None:
    files = MemoryFiles()
    assert await _one(Image(Inline(PNG, "image/png")), files) == Image(Inline(PNG, "image/png"))
    assert await _one(Image(_data_url(PNG)), files) == Image(Inline(PNG, "image/png"))
    assert (files.taken, files.known) == (0, {})


@pytest.mark.trio
async def test_large_bytes_are_uploaded() -> None:
    files = MemoryFiles()
    part = await _one(Document(Inline(LARGE_PDF, "application/pdf"), "tide tables.pdf"), files)
    (id,) = files.known
    reference = ProviderRef("openai", f"remote-{id}", "application/pdf", "tide tables.pdf")
    assert part == Document(reference, "tide tables.pdf")


@pytest.mark.trio
async def test_an_address_is_told_to_who_fetches_it() -> None:
    url = Url("https://example.com/fjord.png?size=2")
    assert await _one(Image(url)) == Image(structs.replace(url, mime_type="image/png"))


@pytest.mark.trio
async def test_w48_an_address_is_fetched_for_who_does_not_where_that_is_allowed() -> None:
    files = MemoryFiles(fetches_urls=True)
    files.web["https://example.com/large.pdf"] = LARGE_PDF
    files.web["https://example.com/small.pdf"] = PDF
    large = await _one(Document(Url("https://example.com/large.pdf")), files)
    assert isinstance(large, Document)
    assert isinstance(large.source, ProviderRef)
    small = await _one(Document(Url("https://example.com/small.pdf")), files)
    assert small == Document(Inline(PDF, "application/pdf"), "web.pdf")


@pytest.mark.trio
async def test_w48_an_address_that_may_not_be_fetched_is_skipped_with_a_reason() -> None:
    resolution = await _resolved([Document(Url("https://example.com/large.pdf"))], MemoryFiles())
    text = "openai fetches no such address, and here it is not allowed"
    assert resolution.messages[0].parts == (Text(f"[File large.pdf skipped: {text}]"),)
    assert resolution.warnings == (
        FileSkipped(place="content[0].parts[0]", filename=plain("large.pdf"), reason="not_fetched", text=plain(text)),
    )


@pytest.mark.trio
async def test_w48_an_address_that_is_refused_is_skipped_and_the_model_hears_nothing_of_our_network() -> None:
    resolution = await _resolved([Document(Url("https://inside/a.pdf"))], MemoryFiles(fetches_urls=True))
    assert resolution.messages[0].parts == (Text("[File a.pdf skipped: its address could not be read]"),)
    (warning,) = resolution.warnings
    assert isinstance(warning, FileSkipped)
    assert "10.1.2.3" in str(warning.text.open())


@pytest.mark.trio
async def test_a_reference_of_the_provider_stays_as_it_is() -> None:
    reference = ProviderRef("openai", "file-7", "image/png")
    assert await _one(Image(reference)) == Image(reference)


@pytest.mark.trio
async def test_a_reference_of_another_provider_is_refused_by_name() -> None:
    part = Image(ProviderRef("google", "files/7", "image/png"))
    with pytest.raises(InvalidRequest, match="is a file at google, which openai cannot read") as caught:
        await _resolved([Text("Look:"), part], MemoryFiles())
    assert caught.value.field == "content[0].parts[1].source"


@pytest.mark.trio
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (DataUrl("data:image/png;base64,YW*j"), "data_url"),
        (DataUrl("image.png"), "data_url"),
        (DataUrl("data:image/png;base64,"), "empty"),
        (Inline(b"", "image/png"), "empty"),
    ],
)
async def test_bytes_that_cannot_be_read_are_refused_by_place(source: DataUrl | Inline, reason: str) -> None:
    with pytest.raises(InvalidSource, match=r"content\[0\].parts\[0\]") as caught:
        await _resolved([Image(source)], MemoryFiles())
    assert (caught.value.reason, caught.value.field) == (reason, "content[0].parts[0].source")


# ---------------------------------------------------------------- what is left out, and what failed


@pytest.mark.trio
@pytest.mark.parametrize(
    ("data", "mime_type", "reason", "text"),
    [
        (SAMPLES["application/zip"], "application/zip", "unsupported_type", "openai takes no application/zip"),
        (PDF + bytes(1_000_000), "application/pdf", "too_large", "it has 1000022 bytes and openai takes 1000000"),
    ],
)
async def test_f11_a_skipped_file_leaves_words_and_a_warning(
    data: bytes, mime_type: str, reason: str, text: str
) -> None:
    provider = structs.replace(PROVIDER, inline=["text/plain"])
    files = MemoryFiles()
    known = files.put(data, mime_type, "tides.bin")
    for part in (Document(FileReference(known.id)), Document(Inline(data, mime_type), "tides.bin")):
        resolution = await _resolved([Text("Read:"), part], files, provider)
        assert resolution.messages[0].parts == (Text("Read:"), Text(f"[File tides.bin skipped: {text}]"))
        (warning,) = resolution.warnings
        assert msgspec.to_builtins(warning) == {
            "event": "FileSkipped",
            "place": "content[0].parts[1]",
            "filename": {"p": "tides.bin"},
            "reason": reason,
            "text": {"p": text},
        }
    assert files.uploads == []


@pytest.mark.trio
@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (None, "unknown", "there is no such file"),
        (FileExpired("expired"), "expired", "it has expired"),
        (FileDeleted("deleted"), "deleted", "it was deleted"),
    ],
)
async def test_f7_a_file_that_is_not_there_leaves_words_and_a_warning(error: Any, reason: Any, text: str) -> None:
    files = MemoryFiles()
    if error is not None:
        files.gone["file_1"] = error
    resolution = await _resolved([Image(FileReference("file_1"))], files)
    assert resolution.messages[0].parts == (Text(f"[File file_1 skipped: {text}]"),)
    assert resolution.warnings == (FileNotFound(place="content[0].parts[0]", id="file_1", reason=reason),)


@pytest.mark.trio
@pytest.mark.parametrize("error", [BlobLost("damaged", id="0"), DiskFull("full")])
async def test_trouble_of_our_own_store_is_not_taken_for_absence(error: PerdureError) -> None:
    files = MemoryFiles()
    files.gone["file_1"] = error
    with pytest.raises((BlobLost, DiskFull)):
        await _resolved([Image(FileReference("file_1"))], files)


@pytest.mark.trio
async def test_w46_a_failed_upload_falls_back_to_inline_where_that_fits() -> None:
    files = MemoryFiles()
    files.trouble = ProviderError("503: overloaded", status=503)
    known = files.put(LARGE_PNG, "image/png", "fjord.png")
    for source in (FileReference(known.id), Inline(LARGE_PNG, "image/png")):
        resolution = await _resolved([Image(source)], files)
        assert resolution.messages[0].parts == (Image(Inline(LARGE_PNG, "image/png")),)
        assert resolution.warnings == (
            FileInlined(place="content[0].parts[0]", filename=plain("fjord.png"), cause=plain("503: overloaded")),
        )


@pytest.mark.trio
async def test_w46_a_failed_upload_of_what_does_not_fit_inline_is_its_own_error() -> None:
    files = MemoryFiles()
    files.trouble = ProviderError("503: overloaded", status=503)
    with pytest.raises(ProviderError, match="overloaded"):
        await _resolved([Document(Inline(LARGE_PDF, "application/pdf"))], files)


@pytest.mark.trio
async def test_w46_trouble_of_our_own_store_is_no_reason_to_go_on_inline() -> None:
    files = MemoryFiles()
    files.trouble = DiskFull("full")
    with pytest.raises(DiskFull):
        await _resolved([Image(Inline(LARGE_PNG, "image/png"))], files)


@pytest.mark.trio
async def test_a_wrong_type_is_corrected_and_noted() -> None:
    resolution = await _resolved([Image(Inline(PNG, "image/jpeg"))], MemoryFiles())
    assert resolution.messages[0].parts == (Image(Inline(PNG, "image/png")),)
    assert resolution.warnings == (
        FileTypeCorrected(
            place="content[0].parts[0]",
            filename=plain("file.png"),
            declared="image/jpeg",
            mime_type="image/png",
        ),
    )


# ---------------------------------------------------------------- the kind of part


@pytest.mark.parametrize(
    ("mime_type", "kind"),
    [
        ("application/pdf", Document),
        ("text/plain", Document),
        ("text/csv", Document),
        ("audio/wav", Audio),
        ("video/mp4", Video),
        ("image/png", Image),
    ],
)
@pytest.mark.parametrize("part", [Image, Document, Audio, Video])
def test_f16_the_type_decides_what_part_it_is(mime_type: str, kind: type, part: Callable[..., FilePart]) -> None:
    source = Inline(b"x", mime_type)
    assert type(part_for(source, mime_type, part(source), "a")) is kind


@pytest.mark.parametrize("part", [Image, Document, Audio, Video])
def test_f16_a_type_that_tells_nothing_leaves_the_part_what_it_was(part: Callable[..., FilePart]) -> None:
    source = Url("https://example.com/a")
    for mime_type in ("", "application/octet-stream"):
        assert type(part_for(source, mime_type, part(source), "")) is part


@pytest.mark.trio
async def test_f16_a_document_given_as_an_image_becomes_a_document() -> None:
    assert await _one(Image(Inline(PDF, "application/pdf"))) == Document(Inline(PDF, "application/pdf"), "file.pdf")
    assert await _one(Document(Inline(PNG, "image/png"), "a.png")) == Image(Inline(PNG, "image/png"))


# ---------------------------------------------------------------- laws


@pytest.mark.trio
async def test_w53_the_same_content_twice_in_one_call_is_one_upload() -> None:
    files = MemoryFiles()
    known = files.put(LARGE_PNG, "image/png", "fjord.png")
    parts = [
        Image(Inline(LARGE_PNG, "image/png")),
        Image(Inline(bytes(bytearray(LARGE_PNG)), "image/png")),
        Image(_data_url(LARGE_PNG)),
        Image(FileReference(known.id)),
    ]
    messages = [Message("user", parts), Message("user", parts)]
    resolution = await resolve(messages, PROVIDER, files, now=0)
    assert files.uploads == [(known.id, "openai")]
    assert files.taken == 1
    references = {part for message in resolution.messages for part in message.parts}
    assert references == {Image(ProviderRef("openai", f"remote-{known.id}", "image/png", "fjord.png"))}


@pytest.mark.trio
async def test_w53_the_same_content_in_a_later_call_is_not_uploaded_again() -> None:
    files = MemoryFiles()
    first = await _one(Image(Inline(LARGE_PNG, "image/png")), files)
    assert await _one(Image(Inline(LARGE_PNG, "image/png")), files) == first
    assert len(files.uploads) == 1


@pytest.mark.trio
async def test_many_sources_are_settled_side_by_side() -> None:
    waiting = 0
    all_there = trio.Event()

    class Patient(MemoryFiles):
        async def ensure(self, id: str, provider: str) -> str:
            nonlocal waiting
            waiting += 1
            if waiting == 3:
                all_there.set()
            await all_there.wait()
            return await super().ensure(id, provider)

    files = Patient()
    with trio.fail_after(5):
        await _resolved([Image(Inline(LARGE_PNG + bytes([number]), "image/png")) for number in range(3)], files)
    assert len(files.uploads) == 3


@pytest.mark.trio
async def test_of_several_failures_the_first_parts_is_raised_and_not_as_a_group() -> None:
    files = MemoryFiles()
    files.gone = {"file_1": DiskFull("first"), "file_2": DiskFull("second")}
    with pytest.raises(DiskFull, match="first"):
        await _resolved([Image(FileReference("file_1")), Image(FileReference("file_2"))], files)


_DATA = st.sampled_from([PNG, PDF, LARGE_PNG, SAMPLES["application/zip"], b"words"])
_MIME = st.sampled_from(["image/png", "application/pdf", "text/plain", "", "application/octet-stream"])
_SOURCES = st.one_of(
    st.builds(Inline, _DATA, _MIME),
    st.builds(_data_url, _DATA),
    st.builds(Url, st.sampled_from(["https://example.com/a.png", "https://example.com/b"]), st.none() | _MIME),
    st.builds(ProviderRef, st.just("openai"), st.just("file-7"), _MIME),
    st.builds(FileReference, st.sampled_from(["file_none", "file_small", "file_large"])),
)
_PARTS = st.one_of(
    st.builds(Text, st.text(max_size=5)),
    st.builds(Image, _SOURCES),
    st.builds(Document, _SOURCES, st.none() | st.text(max_size=5)),
    st.builds(Audio, _SOURCES),
    st.builds(Video, _SOURCES),
)
_MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["user", "assistant"]), st.lists(_PARTS, max_size=4)), max_size=3
)


def _files(fetches: bool, broken: bool) -> MemoryFiles:
    files = MemoryFiles(fetches_urls=fetches)
    files.known["file_small"] = structs.replace(files.put(PNG, "image/png"), id="file_small")
    files.known["file_large"] = structs.replace(files.put(LARGE_PNG, "image/png"), id="file_large")
    files.data |= {"file_small": PNG, "file_large": LARGE_PNG}
    files.trouble = ProviderError("broken") if broken else None
    return files


@given(_MESSAGES, st.booleans(), st.booleans())
def test_w45_the_callers_messages_never_change_and_the_new_ones_can_be_told(
    messages: list[Message], fetches: bool, broken: bool
) -> None:
    before = msgspec.msgpack.encode(messages)
    identities = [(id(message), id(message.parts), [id(part) for part in message.parts]) for message in messages]

    async def run() -> Resolution:
        return await resolve(messages, PROVIDER, _files(fetches, broken), now=0)

    resolution = trio.run(run)
    assert msgspec.msgpack.encode(messages) == before
    assert [(id(message), id(message.parts), [id(part) for part in message.parts]) for message in messages] == (
        identities
    )
    assert [message.role for message in resolution.messages] == [message.role for message in messages]
    for old, new in zip(messages, resolution.messages, strict=True):
        assert new.parts is not old.parts
        assert len(new.parts) == len(old.parts)
        for part in new.parts:
            if not isinstance(part, Text):
                assert isinstance(part.source, Inline | Url | ProviderRef)
    left = [part for message in resolution.messages for part in message.parts if isinstance(part, Text)]
    told = [warning for warning in resolution.warnings if isinstance(warning, FileSkipped | FileNotFound)]
    assert len(left) == len(told) + sum(isinstance(part, Text) for message in messages for part in message.parts)
