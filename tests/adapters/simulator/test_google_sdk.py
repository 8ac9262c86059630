"""Google's own SDK, unmodified, against the simulator.

Installed is generation 3, which asks for `v1`. Generation 1 (1.75) sends the same requests to `v1beta`; it was run
beside this by hand, for both cannot be installed at once.
"""

from __future__ import annotations

import hashlib
import io
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from perdure.adapters.simulator import GOOGLE_PREFIX
from perdure.testing import LoopbackSimulator, faults, loopback_simulator
from tests.secrets import unique_key, wrong_key

CHUNK = 8 << 20
NOISE = Random(7).randbytes(CHUNK + 100_000)


@pytest.fixture
def simulator() -> Iterator[LoopbackSimulator]:
    """A simulator on a port."""
    with loopback_simulator() as served:
        yield served


class Client:
    """The SDK with a key, told where the simulator is, and a version where its own default is not meant."""

    def __init__(self, simulator: LoopbackSimulator, version: str | None = None, key: str | None = None) -> None:
        options = types.HttpOptions(base_url=simulator.url + GOOGLE_PREFIX, api_version=version)
        self._sdk = genai.Client(api_key=key or unique_key(), http_options=options)  # closes when it is forgotten
        self.files = self._sdk.files
        self.batches = self._sdk.batches

    def ask(self, model: str, *contents: Any, **config: Any) -> types.GenerateContentResponse:
        """What a model answers. The SDK's own types for contents name a library that is not installed here."""
        models: Any = self._sdk.models
        answer = models.generate_content(
            model=model, contents=list(contents), config=types.GenerateContentConfig(**config)
        )
        assert isinstance(answer, types.GenerateContentResponse)
        return answer


@pytest.mark.parametrize("version", [None, "v1beta", "v1alpha"])
def test_a_file_goes_up_in_chunks_is_asked_about_and_deleted(simulator: LoopbackSimulator, version: str | None) -> None:
    sdk = Client(simulator, version)
    config = types.UploadFileConfig(name="my-id", display_name="notes", mime_type="application/pdf")
    file = sdk.files.upload(file=io.BytesIO(NOISE), config=config)
    assert (file.name, file.display_name, file.size_bytes) == ("files/my-id", "notes", len(NOISE))
    assert file.state == types.FileState.ACTIVE
    assert file.sha256_hash == b64encode(hashlib.sha256(NOISE).digest()).decode()
    assert file.create_time is not None
    assert file.expiration_time is not None
    assert (file.expiration_time - file.create_time).total_seconds() == 48 * 3_600
    asked = f"/{version or 'v1'}/files"
    commands = [
        one.headers["x-goog-upload-command"] for one in simulator.requests(f"POST {GOOGLE_PREFIX}/upload{asked}")
    ]
    assert commands == ["start", "upload", "upload, finalize"]
    assert sdk.files.get(name="my-id") == file
    sdk.files.delete(name="my-id")
    with pytest.raises(errors.ClientError) as gone:
        sdk.files.get(name="my-id")
    assert (gone.value.code, gone.value.status) == (403, "PERMISSION_DENIED")


def test_a_path_is_uploaded_under_a_name_of_googles(simulator: LoopbackSimulator, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("some words")
    sdk = Client(simulator)
    file = sdk.files.upload(file=path)
    assert file.name is not None
    assert (file.mime_type, file.size_bytes) == ("text/plain", 10)


def test_files_are_listed_over_all_pages(simulator: LoopbackSimulator) -> None:
    sdk = Client(simulator)
    for n in range(5):
        sdk.files.upload(file=io.BytesIO(b"x"), config=types.UploadFileConfig(name=f"n{n}", mime_type="text/plain"))
    listed = [file.name for file in sdk.files.list(config=types.ListFilesConfig(page_size=2))]
    assert listed == [f"files/n{n}" for n in (4, 3, 2, 1, 0)]


def inlined(*texts: str) -> Any:
    """Requests for a batch, with the keys `k0`, `k1` and so on."""
    return [
        types.InlinedRequest(
            contents=[types.Content(role="user", parts=[types.Part(text=text)])],
            metadata={"key": f"k{n}"},
            config=types.GenerateContentConfig(system_instruction="be brief", max_output_tokens=50),
        )
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize("version", [None, "v1beta"])
def test_a_batch_of_requests_in_the_call_is_answered_in_place(
    simulator: LoopbackSimulator, version: str | None
) -> None:
    sdk = Client(simulator, version)
    config = types.CreateBatchJobConfig(display_name="job")
    made = sdk.batches.create(model="gemini-x", src=inlined("one", "two"), config=config)
    assert made.name is not None
    assert (made.display_name, made.model, made.state) == ("job", "models/gemini-x", types.JobState.JOB_STATE_PENDING)
    assert not made.done
    simulator.advance(60)
    ended = sdk.batches.get(name=made.name)
    assert (ended.state, ended.done) == (types.JobState.JOB_STATE_SUCCEEDED, True)
    assert ended.create_time is not None
    assert ended.end_time is not None
    assert ended.dest is not None
    responses = ended.dest.inlined_responses or []
    texts = [one.response.text for one in responses if one.response is not None and one.response.text is not None]
    assert [text.partition("] ")[2] for text in texts] == ["one", "two"]
    assert [one.metadata for one in responses] == [{"key": "k0"}, {"key": "k1"}]


def test_a_batch_over_a_file_is_answered_in_a_file(simulator: LoopbackSimulator, tmp_path: Path) -> None:
    sdk = Client(simulator)
    request = '{"contents":[{"parts":[{"text":"hello"}]}]}'
    source = io.BytesIO(f'{{"key":"a","request":{request}}}\n{{"key":"b","request":{{}}}}\n'.encode())
    file = sdk.files.upload(file=source, config=types.UploadFileConfig(mime_type="jsonl"))
    assert file.name is not None
    made = sdk.batches.create(model="gemini-x", src=file.name)
    assert made.name is not None
    simulator.advance(60)
    ended = sdk.batches.get(name=made.name)
    assert ended.dest is not None
    assert ended.dest.file_name is not None
    lines = sdk.files.download(file=ended.dest.file_name).splitlines()
    assert [line[:10] for line in lines] == [b'{"key":"a"', b'{"key":"b"']
    assert b'"code":3' in lines[1]
    (written,) = [one for one in sdk.files.list() if one.source == types.FileSource.GENERATED]
    assert written.download_uri is not None


def test_batches_are_listed_cancelled_and_deleted(simulator: LoopbackSimulator) -> None:
    sdk = Client(simulator)
    simulator.faults.arm(faults.Stuck(count=None))  # time is real here
    config = types.CreateBatchJobConfig(display_name="job")
    made = [sdk.batches.create(model="m", src=inlined("x"), config=config) for _ in range(5)]
    names = [one.name for one in sdk.batches.list(config=types.ListBatchJobsConfig(page_size=2))]
    assert names == [one.name for one in reversed(made)]
    name = made[0].name
    assert name is not None
    sdk.batches.cancel(name=name)
    simulator.advance(60)
    assert sdk.batches.get(name=name).state == types.JobState.JOB_STATE_CANCELLED
    sdk.batches.delete(name=name)
    with pytest.raises(errors.ClientError) as gone:
        sdk.batches.get(name=name)
    assert (gone.value.code, gone.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as refused:
        sdk.batches.create(model="m", src="files/nowhere")
    assert (refused.value.code, refused.value.status) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("version", [None, "v1beta"])
def test_a_model_answers_to_words_and_files(simulator: LoopbackSimulator, version: str | None) -> None:
    sdk = Client(simulator, version)
    config = types.UploadFileConfig(mime_type="video/mp4")
    film = sdk.files.upload(file=io.BytesIO(b"film"), config=config)
    assert film.name is not None
    assert film.state == types.FileState.PROCESSING
    with pytest.raises(errors.ClientError) as early:
        sdk.ask("gemini-x", "what?", film)
    assert (early.value.code, early.value.status) == (400, "FAILED_PRECONDITION")
    simulator.advance(60)
    assert sdk.files.get(name=film.name).state == types.FileState.ACTIVE
    image = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
    said = sdk.ask(
        "gemini-x", "what?", film, image, system_instruction="be brief", temperature=0.5, max_output_tokens=50
    )
    assert said.text is not None
    assert said.text.endswith("what?")
    assert said.model_version == "gemini-x"
    assert said.usage_metadata is not None
    assert said.usage_metadata.total_token_count
    assert said.candidates is not None
    assert said.candidates[0].finish_reason == types.FinishReason.STOP


def test_a_blocked_prompt_says_why(simulator: LoopbackSimulator) -> None:
    said = Client(simulator).ask("m", "!block it")
    assert said.prompt_feedback is not None
    assert said.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
    assert said.text is None


def test_errors_are_the_sdks_own(simulator: LoopbackSimulator) -> None:
    sdk = Client(simulator)
    config = types.UploadFileConfig(name="a", mime_type="text/plain")
    sdk.files.upload(file=io.BytesIO(b"x"), config=config)
    with pytest.raises(errors.ClientError) as taken:
        sdk.files.upload(file=io.BytesIO(b"x"), config=config)
    assert (taken.value.code, taken.value.status) == (409, "ALREADY_EXISTS")
    with pytest.raises(errors.ClientError) as missing:
        sdk.ask("nope", "x")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")
    stranger = Client(simulator, key=wrong_key())
    with pytest.raises(errors.ClientError) as refused:
        stranger.files.get(name="a")
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")
    assert "API key not valid" in str(refused.value.message)
