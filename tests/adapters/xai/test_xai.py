"""xAI's adapter without a network: key, bodies, answers, pages, and its two forms of errors."""

from __future__ import annotations

import json

import pytest

from perdure import Audio, Document, Image, Inline, Message, Prompt, ProviderRef, Text
from perdure.actors.fetch import Unknown
from perdure.actors.live import LiveProvider
from perdure.actors.remote_files import RemoteFiles
from perdure.adapters.openai_compatible.answers import error_of
from perdure.adapters.openai_compatible.wire import FileObject, Page
from perdure.adapters.xai import KEY_VARIABLE, XaiLive, XaiRemoteFiles, authorize
from perdure.adapters.xai.remote_files import behind
from perdure.events.errors import InvalidRequest, Unsupported
from perdure.events.requests import Answer
from tests.adapters.openai.fake import FakeFetch, file, page, reply
from tests.adapters.openai_compatible.rig import Stored
from tests.secrets import assert_no_key, unique_key

LIVE: LiveProvider = XaiLive()
FILES: RemoteFiles = XaiRemoteFiles()


def test_the_key_goes_into_a_header() -> None:
    key = unique_key("xai-")
    assert authorize(f"{key}\n") == {"authorization": f"Bearer {key}"}
    with pytest.raises(InvalidRequest, match=KEY_VARIABLE) as caught:
        authorize(f"{key} two")
    assert_no_key("the refusal", str(caught.value))


def test_what_its_file_store_says_of_itself() -> None:
    assert (FILES.name, FILES.searchable, FILES.max_bytes) == ("xai", True, 48_000_000)
    assert FILES.accepts == ("text/plain", "text/markdown", "text/csv", "application/json", "application/pdf")


def test_responses_are_the_default_and_there_are_no_embeddings() -> None:
    assert LIVE.live_endpoints == ("/v1/responses", "/v1/chat/completions")
    assert LIVE.render(Prompt("a", model="m"), LIVE.live_endpoints[0]).body == {"model": "m", "input": "a"}
    with pytest.raises(Unsupported, match="xai has no place for a prompt in '/v1/embeddings'"):
        LIVE.render(Prompt("a", model="m"), "/v1/embeddings")


def test_messages_name_files_at_xai_and_nowhere_else() -> None:
    def prompt(provider: str) -> Prompt:
        named = Document(ProviderRef(provider, "file_1", "application/pdf"))
        return Prompt([Message("user", (Text("Read it."), named))], model="m")

    body = LIVE.render(prompt("xai"), "/v1/responses").body
    assert json.loads(json.dumps(body))["input"][0]["content"][1] == {"type": "input_file", "file_id": "file_1"}
    with pytest.raises(InvalidRequest, match="a file at openai, of which xai knows nothing"):
        LIVE.render(prompt("openai"), "/v1/responses")
    with pytest.raises(Unsupported, match="xai's /v1/responses takes no audio"):
        LIVE.render(Prompt([Message("user", (Audio(Inline(b"", "audio/wav")),))], model="m"), "/v1/responses")
    image = Message("user", (Image(ProviderRef("xai", "file_1", "image/png")),))
    with pytest.raises(Unsupported, match="takes no image given as ProviderRef"):
        LIVE.render(Prompt([image], model="m"), "/v1/chat/completions")


def test_the_cost_that_xai_reports_stays_in_raw() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost_in_usd_ticks": 37_500_000}
    body = {"choices": [{"message": {"content": "Geiranger"}, "finish_reason": "stop"}], "usage": usage}
    said = LIVE.read("/v1/chat/completions", json.dumps(body).encode())
    assert isinstance(said, Answer)
    assert (said.text, said.body()["usage"]["cost_in_usd_ticks"]) == ("Geiranger", 37_500_000)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"code": "not-found", "error": "There is none."}, "not-found", "There is none."),
        ({"error": {"message": "Wait.", "type": "t", "code": "slow", "param": None}}, "slow", "Wait."),
        ({"error": "Wait."}, None, "Wait."),
    ],
    ids=["flat", "nested", "without a code"],
)
def test_both_forms_of_errors_are_read(body: object, code: str | None, message: str) -> None:
    said = error_of(json.dumps(body).encode())
    assert (said.code, said.message) == (code, message)


LAST = FileObject(id="file_2")


@pytest.mark.parametrize(
    ("shown", "asked"),
    [
        (Page([LAST], pagination_token="t"), {"pagination_token": "t"}),
        (Page([LAST], has_more=True, pagination_token="t"), {"pagination_token": "t"}),
        (Page([LAST], has_more=True), {"after": "file_2"}),
        (Page([LAST], has_more=False), None),
        (Page([LAST], pagination_token=""), None),
        (Page([LAST]), None),
    ],
    ids=["by token", "by token first", "behind the last", "no more", "an empty token", "nothing said"],
)
def test_w55_what_is_asked_for_the_next_page(shown: Page[FileObject], asked: dict[str, str] | None) -> None:
    assert behind(shown) == asked


@pytest.mark.trio
async def test_a_file_that_expires_says_when() -> None:
    stored = await FILES.upload(FakeFetch(reply(file("file_1", expires_at=1_795_193_600))), Stored(b"abc").upload())
    assert stored.expires_at == 1_795_193_600_000_000


@pytest.mark.trio
async def test_an_upload_whose_answer_cannot_be_read_is_unknown() -> None:
    with pytest.raises(Unknown):
        await FILES.upload(FakeFetch(reply({"code": "c", "error": "e"})), Stored(b"abc").upload())


@pytest.mark.trio
async def test_all_of_a_files_that_failed_is_told() -> None:
    fetch = FakeFetch(page([file("file_1", status="error", status_details="unreadable"), file("file_2")]))
    failed, ready = [found async for found in FILES.listing(fetch)]
    assert (failed.readiness, failed.error, ready.readiness) == ("failed", "unreadable", "ready")
