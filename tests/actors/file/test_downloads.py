"""Files that providers made, fetched into files of ours: at every provider's simulator, over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx
import pytest
import trio

import perdure
from perdure.adapters.simulator import faults
from perdure.adapters.testing.aim import PREFIXES
from tests.actors.file.test_simulator import Rig, content_of, rigged

pytestmark = pytest.mark.trio

CHART: Final = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9_000
PROVIDERS: Final = sorted(PREFIXES)
CONTENT: Final = {
    "openai": "GET /openai/v1/files/{id}/content",
    "anthropic": "GET /anthropic/v1/files/{id}/content",
    "google": "GET /google/{version}/files/{id}:download",
    "xai": "GET /xai/v1/files/{id}/content",
}
CONTAINER: Final = "GET /openai/v1/containers/{container}/files/{id}/content"


async def made(rig: Rig, provider: str, content: bytes = CHART, **said: str) -> str:
    """The id of a file that the provider's tools made."""
    base = rig.config.providers[provider].base_url
    assert base is not None
    query = {"provider": provider, "filename": "chart.png", "type": "image/png", **said}
    async with httpx.AsyncClient(base_url=base.removesuffix(PREFIXES[provider])) as http:
        answer = await http.post("/_sim/files", params=query, content=content)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def ref(provider: str, reference: str, **said: str) -> perdure.ProviderRef:
    return perdure.ProviderRef(provider, reference, **said)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_f15_what_a_provider_made_becomes_a_file_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        id = await made(rig, provider)
        file = await service.files.upload(ref(provider, id))
        assert await content_of(service, file) == CHART
        info = await service.files.info(file)
        assert (info.filename, info.mime_type, info.size_bytes) == ("chart.png", "image/png", len(CHART))
        named = await service.files.upload(ref(provider, id), filename="mine.png")
        assert (await service.files.info(named)).filename == "mine.png"
        seen = [one for one in rig.simulator.traffic.requests() if one.path.endswith(("/content", ":download"))]
        assert len(seen) == 2
        assert rig.stored(provider) == [], "fetching stores nothing there"


async def test_f15_a_file_in_a_container_is_asked_for_by_both_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        id = await made(rig, "openai", container="cntr_1")
        file = await service.files.upload(ref("openai", f"cntr_1/{id}"))
        assert await content_of(service, file) == CHART
        with pytest.raises(perdure.InvalidSource, match="not there") as refused:
            await service.files.upload(ref("openai", f"cntr_2/{id}"))
        assert refused.value.reason == "missing"


@pytest.mark.parametrize(
    "reference", ["https://example.com/file-1", "", "a/b/c", "cntr_1/", "file:1"], ids=lambda text: text or "empty"
)
async def test_f15_no_credential_goes_anywhere_but_to_the_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        with pytest.raises(perdure.InvalidSource) as refused:
            await service.files.upload(ref("openai", reference))
        assert refused.value.field == "source.reference"
        assert rig.simulator.traffic.total == 0


async def test_f15_a_uri_of_googles_is_asked_for_at_the_provider_whatever_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        id = await made(rig, "google")
        uri = f"https://elsewhere.example/v1beta/{id}:download?alt=media"
        file = await service.files.upload(ref("google", uri))
        assert await content_of(service, file) == CHART


async def test_f15_inline_data_needs_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        file = await service.files.upload(perdure.DataUrl("data:text/plain;base64,ZmpvcmRz"))
        assert await content_of(service, file) == b"fjords"
        inline = await service.files.upload(perdure.Inline(CHART, "image/png"))
        assert await content_of(service, inline) == CHART
        assert rig.simulator.traffic.total == 0


@pytest.mark.parametrize("provider", ["anthropic", "google"])
async def test_f15_what_was_uploaded_is_not_given_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        file = await service.files.upload(CHART, filename="chart.png")
        copy = await service.files.ensure(file, provider=provider)
        with pytest.raises(perdure.InvalidSource, match="not given out") as refused:
            await service.files.upload(ref(provider, copy.id))
        assert refused.value.reason == "not_downloadable"
        if provider == "anthropic":
            assert "file_not_downloadable" in str(refused.value.value)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_f15_what_is_not_there_is_said_so_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        with pytest.raises(perdure.InvalidSource, match="file-0") as refused:
            await service.files.upload(ref(provider, "file-0"))
        assert refused.value.reason == "missing"
        assert [info async for info in service.files.list()] == []


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_f15_what_breaks_off_is_gone_on_with_where_it_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        id = await made(rig, provider)
        rig.simulator.faults.arm(faults.Truncate(route=CONTENT[provider], after_bytes=1_500_000))
        file = await service.files.upload(ref(provider, id))
        assert await content_of(service, file) == CHART
        seen = [one for one in rig.simulator.traffic.requests() if one.path.endswith(("/content", ":download"))]
        assert [one.status for one in seen] == [200, 206]


async def test_f15_what_always_breaks_off_is_given_up_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        id = await made(rig, "openai")
        rig.simulator.faults.arm(faults.Truncate(route=CONTENT["openai"], after_bytes=0, count=100))
        with pytest.raises(perdure.ProviderError):
            await service.files.upload(ref("openai", id))
        assert [info async for info in service.files.list()] == []


async def test_f15_what_the_provider_does_not_say_the_reference_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        id = await made(rig, "openai", b"a,b\n1,2\n", filename="", type="")
        file = await service.files.upload(ref("openai", id, mime_type="text/csv", filename="table.csv"))
        info = await service.files.info(file)
        assert (info.filename, info.mime_type) == ("table.csv", "text/csv")


async def test_f15_an_unknown_provider_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        with pytest.raises(perdure.UnknownProvider, match="nowhere"):
            await service.files.upload(ref("nowhere", "file-1"))
        await trio.lowlevel.checkpoint()
