"""Files that a provider has no more when a prompt names them: uploaded and sent once more, over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx
import pytest

import perdure
from perdure.adapters.composition import ACCOUNTS
from perdure.adapters.simulator import faults
from perdure.adapters.testing.aim import PREFIXES
from tests.actors.file.test_simulator import CONTENT, Rig, rigged

pytestmark = pytest.mark.trio

PATHS: Final = {"openai": "/files/", "xai": "/files/", "anthropic": "/v1/files/", "google": "/v1beta/"}
ASKS: Final = {
    "openai": "POST /openai/v1/responses",
    "anthropic": "POST /anthropic/v1/messages",
    "google": "POST /google/v1/models/{model}",
    "xai": "POST /xai/v1/responses",
}


async def delete_there(rig: Rig, provider: str, remote_id: str) -> None:
    """Deletes a file at its provider behind perdure's back."""
    account = rig.config.providers[provider]
    secret = account.credentials["default"]
    assert isinstance(secret, perdure.Secret)
    async with httpx.AsyncClient() as client:
        url = f"{account.base_url}{PATHS[provider]}{remote_id}"
        answer = await client.delete(url, headers=ACCOUNTS[provider].authorize(secret.value))
        assert answer.status_code == 200


def about(file: perdure.FileReference) -> perdure.Prompt:
    """A question about a file."""
    return perdure.Prompt([perdure.Message("user", (perdure.Text("what is it?"), perdure.Document(file)))], model="m")


@pytest.mark.parametrize("provider", sorted(PREFIXES))
async def test_w54_a_file_that_is_gone_on_use_is_uploaded_and_the_prompt_sent_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        file = await service.files.upload(CONTENT, filename="fjords.pdf")
        first = await service.files.ensure(file, provider=provider)
        await delete_there(rig, provider, first.id)
        answer = await (await service.submit(about(file), provider=provider)).result()
        assert "what is it?" in answer.text
        (copied,) = (await service.files.info(file)).copies
        assert copied.status == "uploaded"
        assert copied.reference != first.reference
        assert len(rig.stored(provider)) == 2
        assert len(rig.simulator.account.purchases(kind="text", provider=provider)) == 1


@pytest.mark.parametrize("provider", sorted(PREFIXES))
async def test_w54_a_refusal_for_another_reason_costs_no_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        file = await service.files.upload(CONTENT, filename="fjords.pdf")
        rig.simulator.faults.arm(faults.AnswerStatus(route=ASKS[provider], status=404))
        handle = await service.submit(about(file), provider=provider)
        with pytest.raises(perdure.OperationFailed):
            await handle.result()
        assert [copied.status for copied in (await service.files.info(file)).copies] == ["uploaded"]
        assert len(rig.stored(provider)) == 1
