"""Ranges of file content (RFC 9110, section 14)."""

from __future__ import annotations

import pytest

from perdure.adapters.simulator.download import wanted_range
from tests.adapters.simulator.bench import bench


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", None),
        ("bytes=0-0", range(1)),
        ("bytes=4-", range(4, 10)),
        ("bytes=4-99", range(4, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-30", range(10)),
        ("Bytes=2-3", range(2, 4)),
        ("bytes=10-", range(10, 10)),
        ("bytes=-0", range(10, 10)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
    ],
)
def test_which_bytes_a_header_asks_for(header: str, wanted: range | None) -> None:
    found = wanted_range(header, 10)
    assert found == wanted
    assert found is None or (found.start, len(found)) == (wanted.start if wanted else found.start, len(wanted or ()))


@pytest.mark.trio
async def test_content_comes_whole_or_in_ranges() -> None:
    async with bench() as b:
        file = await b.upload(b"0123456789", filename="a.txt", purpose="user_data")
        path = f"/files/{file['id']}/content"
        whole = await b.call("GET", path)
        assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, b"0123456789", "bytes")
        part = await b.call("GET", path, headers={"range": "bytes=3-5"})
        assert (part.status_code, part.content) == (206, b"345")
        assert part.headers["content-range"] == "bytes 3-5/10"
        assert part.headers["content-length"] == "3"
        beyond = await b.call("GET", path, headers={"range": "bytes=10-"})
        assert (beyond.status_code, beyond.content, beyond.headers["content-range"]) == (416, b"", "bytes */10")
        several = await b.call("GET", path, headers={"range": "bytes=0-1,3-4"})
        assert (several.status_code, several.content) == (200, b"0123456789")
