"""Files at every provider's store, through the service as users open it, over real sockets, with an exact account."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
from msgspec import Struct

import perdure
from perdure.actors.remote_files import RemoteFiles
from perdure.adapters import anthropic, composition, google, openai, xai
from perdure.adapters.simulator import Simulator, faults
from perdure.adapters.testing.aim import PREFIXES
from tests.adapters.simulator.bench import assert_keeps_no_key
from tests.secrets import unique_key

pytestmark = pytest.mark.trio

CONTENT: Final = b"%PDF-1.7 " + bytes(range(256)) * 400
PATIENCE_S: Final = 60.0
UPLOADS: Final = {
    "openai": "POST /openai/v1/files",
    "anthropic": "POST /anthropic/v1/files",
    "xai": "POST /xai/v1/files",
}


class Rig(Struct):
    """A simulator and a log to work on."""

    simulator: Simulator
    config: perdure.Config
    path: Path

    def stored(self, provider: str) -> list[str]:
        """The digests of what was ever stored there."""
        return [purchase.payload for purchase in self.simulator.account.purchases(kind="file", provider=provider)]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[perdure.Service]:
        """The service; its log verifies when it is left."""
        async with perdure.open(self.path, config=self.config) as service:
            yield service
            (await service.log.verify()).raise_if_bad()


@asynccontextmanager
async def rigged(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, settle_s: float = 0.1, page_size: int = 1_000
) -> AsyncGenerator[Rig]:
    """A rig whose providers' lists are complete at once; the test ends after a minute in any case."""
    stores: Mapping[str, RemoteFiles] = {
        openai.NAME: openai.OpenAIRemoteFiles(settle_s=settle_s),
        anthropic.NAME: anthropic.AnthropicFiles(settle_s=settle_s, page_size=page_size),
        google.NAME: google.GoogleFiles(),
        xai.NAME: xai.XaiRemoteFiles(settle_s=settle_s),
    }
    monkeypatch.setattr(composition, "remote_files", lambda: stores)
    secret = unique_key()
    with trio.fail_after(PATIENCE_S), Simulator(seed=1) as simulator:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            accounts = {
                name: perdure.ProviderConfig(
                    base_url=bound.url + prefix, credentials={"default": perdure.Secret(secret)}
                )
                for name, prefix in PREFIXES.items()
            }
            limits = perdure.Limits(grace_s=0.0, purchase_grace_s=0.0)
            yield Rig(simulator, perdure.Config(providers=accounts, limits=limits), path / "log.db")
            nursery.cancel_scope.cancel()
        assert_keeps_no_key(simulator)


async def content_of(service: perdure.Service, file: perdure.FileReference) -> bytes:
    """The bytes of a file."""
    async with aclosing(service.files.read(file)) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("provider", sorted(PREFIXES))
async def test_f4_w52_one_file_at_each_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    async with rigged(tmp_path, monkeypatch) as rig:
        async with rig.open() as service:
            file = await service.files.upload(CONTENT, filename="fjords.pdf", key="k")
            first = await service.files.ensure(file, provider=provider)
            assert first.provider == provider
            assert first.reference
        async with rig.open() as service:
            assert await service.files.upload(CONTENT, key="k") == file
            assert await content_of(service, file) == CONTENT
            assert await service.files.ensure(file, provider=provider) == first
            (copy,) = (await service.files.info(file)).copies
            assert (copy.provider, copy.status, copy.reference) == (provider, "uploaded", first.reference)
            await service.files.delete(file, everywhere=True)
            view = await service.get(file.id)
            async with aclosing(view.events()) as events:
                happened = [record.type async for record in events]
            assert "CopyDeleted" in happened
        assert len(rig.stored(provider)) == 1


@pytest.mark.parametrize("provider", sorted(PREFIXES))
async def test_w46_100_callers_make_one_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        file = await service.files.upload(CONTENT, filename="fjords.pdf")
        references: list[str] = []

        async def push() -> None:
            handle = await service.files.push(file, provider=provider)
            references.append((await handle.result()).reference)

        async def ensure() -> None:
            references.append((await service.files.ensure(file, provider=provider)).reference)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(push)
                nursery.start_soon(ensure)
        assert (len(references), len(set(references)), len(rig.stored(provider))) == (100, 1, 1)


@pytest.mark.parametrize("provider", sorted(UPLOADS))
async def test_a_lost_answer_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    async with rigged(tmp_path, monkeypatch) as rig, rig.open() as service:
        rig.simulator.faults.arm(faults.ActThenDrop(route=UPLOADS[provider]))
        file = await service.files.upload(CONTENT, filename="fjords.pdf")
        push = await service.files.push(file, provider=provider)
        await push.result()
        assert "PurchaseUncertain" in [record.type async for record in push.events()]
        assert len(rig.stored(provider)) == 1
        assert hashlib.sha256(await content_of(service, file)).hexdigest() == hashlib.sha256(CONTENT).hexdigest()
