"""Large files: through the store to each provider, in memory that does not grow with them. The simulator is a process
of its own.
"""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from typing import Final

import pytest
import trio

import perdure
from perdure.adapters.testing.aim import aimed
from tests.adapters.simulator.process import running
from tests.secrets import unique_key

pytestmark = pytest.mark.trio

MEBIBYTE: Final = 1 << 20
MOST_BYTES: Final = 8 * MEBIBYTE
"""What an upload may hold: some blocks of a megabyte on their way in or out."""

SIZES: Final = {"openai": 192, "anthropic": 192, "google": 192, "xai": 40}
"""How large the file is, in MiB: many times what may be held; at xAI about the most that it takes."""

PATIENCE_S: Final = 240.0


def sparse(path: Path, size_bytes: int) -> str:
    """A file of zeros with something at both ends that takes no room on the disk; its digest."""
    with path.open("wb") as file:
        file.write(b"%PDF-1.7")
        file.truncate(size_bytes)
        file.seek(size_bytes - 4)
        file.write(b"%EOF")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize("provider", SIZES)
async def test_w56_a_large_file_is_streamed_from_its_path_to_the_provider(tmp_path: Path, provider: str) -> None:
    size_bytes = SIZES[provider] * MEBIBYTE
    source = tmp_path / "large.pdf"
    digest = sparse(source, size_bytes)
    with running() as simulator, trio.fail_after(PATIENCE_S):
        secret = perdure.ProviderConfig(credentials={"default": perdure.Secret(unique_key())})
        config = aimed(perdure.Config(providers={provider: secret}), simulator.url)
        async with perdure.open(tmp_path / "log.db", config=config) as service:
            small = await service.files.upload(b"%PDF-1.7 small")
            await service.files.ensure(small, provider=provider)  # what is made once is there
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                file = await service.files.upload(source)
                _, stored = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                await service.files.ensure(file, provider=provider)
                _, sent = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert max(stored, sent) - before < MOST_BYTES
            assert (await service.files.info(file)).size_bytes == size_bytes
        bought = simulator.http.get("/_sim/purchases", params={"provider": provider}).json()["purchases"]
        assert [purchase["payload"] for purchase in bought][-1] == digest, "every byte of it has arrived"
