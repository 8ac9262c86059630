"""The default strategy line by line, and which of two neighbouring lines wins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from perdure.actors.resolving import (
    Decision,
    DefaultFileStrategy,
    FileFacts,
    InlineIt,
    NativeUrl,
    ProviderFacts,
    Refer,
    RemoteCopy,
    Reupload,
    Skip,
    UploadIt,
)

SECOND = 1_000_000
NOW = 1_000_000 * SECOND
MARGIN = 600 * SECOND

URL = "https://example.com/a.pdf"

PROVIDER = ProviderFacts(
    provider="openai",
    references=["application/pdf", "image/*"],
    max_bytes=1_000_000,
    inline=["application/pdf", "image/*", "text/plain"],
    max_inline_bytes=200_000,
    urls=["application/pdf"],
)

LIVE = RemoteCopy("file-1")
EXPIRED = RemoteCopy("file-1", expires_at=NOW - 1)

PDF = FileFacts(filename="a.pdf", mime_type="application/pdf", size_bytes=100_000)


def _decide(file: FileFacts = PDF, provider: ProviderFacts = PROVIDER, now: int = NOW, **changes: object) -> Decision:
    return DefaultFileStrategy().decide(structs.replace(file, **changes), provider, now)


def _skipped(decision: Decision) -> str:
    assert isinstance(decision, Skip)
    return decision.reason


# ---------------------------------------------------------------- line by line


def test_f10_an_unsupported_type_is_skipped_by_name() -> None:
    assert _decide(mime_type="application/zip") == Skip("unsupported_type", "openai takes no application/zip")


def test_f10_what_is_too_large_is_skipped_with_both_figures() -> None:
    assert _decide(size_bytes=1_000_001) == Skip("too_large", "it has 1000001 bytes and openai takes 1000000")
    assert _decide(size_bytes=1_000_000) == UploadIt()


def test_f10_a_live_copy_is_referred_to() -> None:
    assert _decide(copy=LIVE) == Refer("file-1")


def test_f10_an_address_is_told_to_a_provider_that_fetches_it_itself() -> None:
    assert _decide(url=URL, size_bytes=None) == NativeUrl(URL)


@pytest.mark.parametrize(("size_bytes", "decision"), [(1, InlineIt()), (49_999, InlineIt()), (50_000, UploadIt())])
def test_f10_small_files_are_inline(size_bytes: int, decision: Decision) -> None:
    assert _decide(size_bytes=size_bytes) == decision


def test_f10_a_copy_that_is_gone_is_uploaded_again() -> None:
    assert _decide(copy=EXPIRED) == Reupload()
    assert _decide(copy=RemoteCopy("file-1", usable=False)) == Reupload()


def test_f10_anything_else_is_uploaded() -> None:
    assert _decide() == UploadIt()


# ---------------------------------------------------------------- each neighbouring pair


def test_f10_unsupported_beats_too_large() -> None:
    assert _skipped(_decide(mime_type="application/zip", size_bytes=10_000_000)) == "unsupported_type"


def test_f10_too_large_beats_a_live_copy() -> None:
    assert _skipped(_decide(size_bytes=10_000_000, copy=LIVE)) == "too_large"


def test_f10_a_live_copy_beats_an_address() -> None:
    assert _decide(copy=LIVE, url=URL) == Refer("file-1")


def test_f10_an_address_beats_inline() -> None:
    assert _decide(url=URL, size_bytes=10, fetchable=True) == NativeUrl(URL)


def test_f10_w49_inline_beats_uploading_again() -> None:
    assert _decide(copy=EXPIRED, size_bytes=10) == InlineIt()


def test_f10_a_copy_that_is_gone_is_told_from_one_that_never_was() -> None:
    assert _decide(copy=EXPIRED) == Reupload()
    assert _decide(copy=None) == UploadIt()


def test_f10_a_live_copy_beats_inline() -> None:
    assert _decide(copy=LIVE, size_bytes=10) == Refer("file-1")


def test_f10_an_address_beats_uploading_again() -> None:
    assert _decide(copy=EXPIRED, url=URL) == NativeUrl(URL)


# ---------------------------------------------------------------- what the order does not say


def test_w47_an_unknown_size_is_neither_small_nor_too_large() -> None:
    assert _decide(size_bytes=None) == UploadIt()
    assert _decide(size_bytes=None, copy=EXPIRED) == Reupload()
    assert _decide(size_bytes=None, copy=LIVE) == Refer("file-1")


def test_w48_an_address_that_nobody_may_fetch_is_skipped() -> None:
    address = structs.replace(PDF, url=URL, size_bytes=None)
    provider = structs.replace(PROVIDER, urls=[])
    assert _skipped(_decide(address, provider)) == "not_fetched"
    assert _decide(address, provider, fetchable=True) == UploadIt()


def test_w50_types_are_matched_exactly_or_by_a_declared_wildcard() -> None:
    assert _decide(mime_type="image/png") == UploadIt()
    assert _skipped(_decide(mime_type="application/json")) == "unsupported_type"
    assert _skipped(_decide(mime_type="text/csv")) == "unsupported_type"


def test_an_unknown_type_is_not_unsupported() -> None:
    assert _decide(mime_type="", url=URL, size_bytes=None) == NativeUrl(URL)


def test_what_cannot_be_named_is_inline_up_to_what_fits_there() -> None:
    assert _decide(mime_type="text/plain", size_bytes=200_000) == InlineIt()
    assert _skipped(_decide(mime_type="text/plain", size_bytes=200_001)) == "too_large"
    assert _decide(mime_type="text/plain", copy=LIVE) == InlineIt()


def test_what_cannot_be_inline_is_uploaded_however_small() -> None:
    assert _decide(provider=structs.replace(PROVIDER, inline=[]), size_bytes=1) == UploadIt()


def test_what_can_only_be_addressed_has_no_limit() -> None:
    only = structs.replace(PROVIDER, references=[], inline=[])
    assert _decide(provider=only, url=URL, size_bytes=10**12) == NativeUrl(URL)
    assert _skipped(_decide(provider=only)) == "unsupported_type"


@pytest.mark.parametrize(
    ("expires_at", "live"),
    [(None, True), (NOW + MARGIN + 1, True), (NOW + MARGIN, False), (NOW + 1, False), (NOW - 1, False)],
)
def test_w54_a_copy_counts_as_gone_a_margin_before_it_expires(expires_at: int | None, live: bool) -> None:
    decision = _decide(copy=RemoteCopy("file-1", expires_at))
    assert decision == (Refer("file-1") if live else Reupload())


_FILES = st.builds(
    FileFacts,
    filename=st.just("a"),
    mime_type=st.sampled_from(["", "application/pdf", "application/zip", "image/png", "text/plain"]),
    size_bytes=st.none() | st.integers(1, 2_000_000),
    url=st.sampled_from(["", URL]),
    fetchable=st.booleans(),
    copy=st.none()
    | st.builds(RemoteCopy, st.just("file-1"), st.none() | st.integers(0, 2 * NOW), usable=st.booleans()),
)


@given(_FILES, st.integers(0, 2 * NOW))
def test_w51_the_decision_depends_on_the_facts_and_the_time_alone(file: FileFacts, now: int) -> None:
    before = structs.asdict(file)
    first = _decide(file, now=now)
    assert _decide(structs.replace(file), now=now) == first
    assert structs.asdict(file) == before


@given(_FILES, st.integers(0, 2 * NOW), st.integers(0, 2 * NOW))
def test_w54_a_copy_that_has_gone_never_comes_back_with_time(file: FileFacts, one: int, other: int) -> None:
    if not isinstance(_decide(file, now=min(one, other)), Refer):
        assert not isinstance(_decide(file, now=max(one, other)), Refer)


@given(_FILES)
def test_what_is_decided_can_be_done(file: FileFacts) -> None:
    match _decide(file):
        case NativeUrl(url=url):
            assert url == file.url != ""
        case InlineIt():
            assert file.size_bytes is None or file.size_bytes <= PROVIDER.max_inline_bytes
            assert not file.url or file.fetchable
        case UploadIt() | Reupload():
            assert file.size_bytes is None or file.size_bytes <= PROVIDER.max_bytes
            assert not file.url or file.fetchable
        case Refer() | Skip():
            pass
