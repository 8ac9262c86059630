"""Addresses of uploads: found whatever a header's letter case, and never told a key that is not theirs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import pytest
import trio

from perdure.actors.fetch import Fetch
from perdure.adapters.google import authorize
from perdure.adapters.network import Endpoint, Engine
from tests.adapters.google.rig import FILES, LANE, Given
from tests.adapters.network.peer import Answer, Peer, Reply, Seen
from tests.secrets import unique_key

pytestmark = pytest.mark.trio

FILE = b'{"file":{"name":"files/a","sizeBytes":"3","state":"ACTIVE"}}'


@asynccontextmanager
async def served(peer: Peer, host: str = "127.0.0.1") -> AsyncGenerator[str]:
    """A peer on a port of its own, by its base URL."""
    async with trio.open_nursery() as nursery:
        serving = partial(trio.serve_tcp, peer.serve, 0, host=host)
        (listener,) = await nursery.start(serving)
        yield f"http://{host}:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def fetching(base_url: str) -> AsyncGenerator[Fetch]:
    """A way to the provider at `base_url`, with a key."""
    endpoint = Endpoint(base_url=base_url, headers=authorize(unique_key()))
    async with trio.open_nursery() as nursery:
        engine = Engine(lambda lane: endpoint, random=Random(7))
        await nursery.start(engine.run)
        yield engine.bind(LANE)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("header", ["X-Goog-Upload-URL", "x-goog-upload-url", "X-GOOG-UPLOAD-URL", "x-GOOG-upload-Url"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["the provider's own host", "another host"])
async def test_f13_the_upload_url_is_found_in_any_letter_case_and_gets_a_key_at_home_only(
    header: str, elsewhere: bool
) -> None:
    store = Peer([Reply(200, FILE, {"X-Goog-Upload-Status": "final"})])
    with trio.fail_after(30):
        async with served(store) as store_url:

            async def answer(seen: Seen) -> Answer:
                if "start" in seen.headers.get("x-goog-upload-command", ""):
                    origin = store_url if elsewhere else f"http://{seen.headers['host']}"
                    return Reply(200, b"", {header: f"{origin}/upload?upload_id=secret"})
                return Reply(200, FILE, {"X-Goog-Upload-Status": "final"})

            provider = Peer(answer)
            async with served(provider) as base_url, fetching(base_url) as fetch:
                given = Given(b"abc")
                stored = await FILES.upload(fetch, given.upload())
    assert (stored.id, stored.size_bytes) == ("files/a", 3)
    assert given.kept == [f"{store_url if elsewhere else base_url}/upload?upload_id=secret"]
    begun, *others = provider.seen
    assert "x-goog-api-key" in begun.headers
    (sent,) = store.seen if elsewhere else others
    assert (sent.method, sent.target, sent.body) == ("POST", "/upload?upload_id=secret", b"abc")
    assert (sent.headers["x-goog-upload-command"], sent.headers["x-goog-upload-offset"]) == ("upload, finalize", "0")
    assert ("x-goog-api-key" in sent.headers) is not elsewhere


async def test_a_granularity_of_googles_own_is_kept_to() -> None:
    sizes: list[int] = []
    granularity = 3 << 20

    async def answer(seen: Seen) -> Answer:
        command = seen.headers["x-goog-upload-command"]
        if command == "start":
            url = f"http://{seen.headers['host']}/upload"
            return Reply(200, b"", {"x-goog-upload-url": url, "x-goog-upload-chunk-granularity": str(granularity)})
        sizes.append(len(seen.body))
        if command == "upload":
            return Reply(200, b"", {"x-goog-upload-status": "active"})
        return Reply(200, FILE, {"x-goog-upload-status": "final"})

    with trio.fail_after(30):
        async with served(Peer(answer)) as base_url, fetching(base_url) as fetch:
            await FILES.upload(fetch, Given(b"x" * (20 << 20)).upload())
    assert sizes == [9 << 20, 9 << 20, 2 << 20]
