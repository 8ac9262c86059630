"""Google's files and resumable uploads, simulated."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

import httpx
import pytest

from perdure.adapters.simulator import GOOGLE_PREFIX
from perdure.adapters.simulator.faults import CutRequest, FailProcessing
from tests.adapters.simulator.google_bench import GRANULE, PROCESSING_S, google_bench, upload_headers
from tests.secrets import wrong_key

pytestmark = pytest.mark.trio

HOURS_48 = 48 * 3_600
LEAKING = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The client does not close the body that it could not send to its end (httpx 0.28)."""


async def test_a_file_is_shown_as_google_shows_it() -> None:
    async with google_bench() as b:
        data = b"x" * 100
        file = await b.upload(data, name="files/my-id", displayName="notes")
        digest = b64encode(hashlib.sha256(data).digest()).decode()
        assert file == {
            "name": "files/my-id",
            "displayName": "notes",
            "mimeType": "application/pdf",
            "sizeBytes": "100",
            "createTime": "2026-11-18T11:06:40.000000Z",
            "updateTime": "2026-11-18T11:06:40.000000Z",
            "expirationTime": "2026-11-20T11:06:40.000000Z",
            "sha256Hash": digest,
            "uri": f"{b.http.base_url}".rstrip("/") + f"{GOOGLE_PREFIX}/v1/files/my-id",
            "state": "ACTIVE",
            "source": "UPLOADED",
        }
        for version in ("v1beta", "v1alpha"):
            assert (await b.ok("GET", f"/{version}/files/my-id"))["name"] == "files/my-id"
        await b.error(404, "NOT_FOUND", "GET", "/v2/files/my-id")
        (purchase,) = b.simulator.account.purchases(provider="google")
        assert (purchase.kind, purchase.identity) == ("file", "notes")
        assert purchase.payload == hashlib.sha256(data).hexdigest()


async def test_a_name_is_given_where_none_was_chosen() -> None:
    async with google_bench() as b:
        first, second = await b.upload(b"x"), await b.upload(b"y")
        assert first["name"] != second["name"]
        assert re.fullmatch(r"files/[a-z0-9]{12}", first["name"])


@pytest.mark.parametrize("name", ["files/-a", "files/a-", "files/A", "files/" + "a" * 41, "my-id", "files/a_b"])
async def test_a_name_that_no_file_may_have_is_refused(name: str) -> None:
    async with google_bench() as b:
        headers = {"x-goog-upload-protocol": "resumable", **upload_headers("start")}
        body = {"file": {"mimeType": "text/plain", "name": name}}
        error = await b.error(400, "INVALID_ARGUMENT", "POST", "/upload/v1/files", headers=headers, json=body)
        assert error["details"][0]["fieldViolations"][0]["field"] == "file.name"


async def test_a_name_is_taken_once_and_free_again_when_the_file_is_gone() -> None:
    async with google_bench() as b:
        await b.upload(b"x", name="files/a")
        headers = {"x-goog-upload-protocol": "resumable", **upload_headers("start")}
        body = {"file": {"mimeType": "text/plain", "name": "files/a"}}
        await b.error(409, "ALREADY_EXISTS", "POST", "/upload/v1/files", headers=headers, json=body)
        await b.ok("DELETE", "/v1/files/a")
        await b.error(403, "PERMISSION_DENIED", "DELETE", "/v1/files/a")
        second = await b.upload(b"y", name="files/a")
        b.simulator.clock.advance(HOURS_48)
        await b.error(403, "PERMISSION_DENIED", "GET", "/v1/files/a")
        await b.upload(b"z", name="files/a")
        assert second["sha256Hash"] != (await b.ok("GET", "/v1/files/a"))["sha256Hash"]


async def test_two_uploads_under_one_name_make_one_file() -> None:
    async with google_bench() as b:
        first, second = await b.start(1, name="files/a"), await b.start(1, name="files/a")
        assert (await b.send(first, "upload, finalize", b"x", 0)).status_code == 200
        answer = await b.send(second, "upload, finalize", b"x", 0)
        assert (answer.status_code, answer.json()["error"]["status"]) == (409, "ALREADY_EXISTS")
        assert len(b.simulator.account.purchases()) == 1


async def test_files_are_listed_newest_first_over_pages_and_without_the_expired() -> None:
    async with google_bench() as b:
        assert await b.ok("GET", "/v1/files") == {}
        await b.upload(b"old", name="files/old")
        b.simulator.clock.advance(HOURS_48)
        for n in range(5):
            await b.upload(b"x", name=f"files/n{n}")
        names: list[str] = []
        token = ""
        while True:
            page = await b.ok("GET", "/v1/files", params={"pageSize": 2, "pageToken": token})
            names += [file["name"] for file in page["files"]]
            token = page.get("nextPageToken", "")
            if not token:
                break
        assert names == [f"files/n{n}" for n in (4, 3, 2, 1, 0)]
        await b.error(400, "INVALID_ARGUMENT", "GET", "/v1/files", params={"pageToken": "x"})
        await b.error(400, "INVALID_ARGUMENT", "GET", "/v1/files", params={"pageSize": 101})


@pytest.mark.parametrize("mime_type", ["video/mp4", "audio/wav"])
async def test_media_are_processed_for_a_while_and_may_fail(mime_type: str) -> None:
    async with google_bench() as b:
        b.simulator.faults.arm(FailProcessing(message="no frames"))
        bad, good = await b.upload(b"x", mime_type, name="files/bad"), await b.upload(b"x", mime_type)
        assert (bad["state"], good["state"]) == ("PROCESSING", "PROCESSING")
        b.simulator.clock.advance(PROCESSING_S)
        bad, good = await b.ok("GET", "/v1/files/bad"), await b.ok("GET", f"/v1/{good['name']}")
        assert (bad["state"], good["state"]) == ("FAILED", "ACTIVE")
        assert bad["error"] == {"code": 3, "message": "no frames"}


async def test_an_upload_goes_in_chunks_that_are_multiples_of_the_granularity() -> None:
    async with google_bench() as b:
        data = bytes(range(256)) * (2 * GRANULE // 256) + b"rest"
        url = await b.start(len(data))
        assert "upload_id=" in url
        refused = await b.send(url, "upload", data[:1000], 0)
        assert refused.status_code == 400
        assert await b.received(url) == 0
        assert (await b.send(url, "upload", data[:GRANULE], 0)).headers["x-goog-upload-status"] == "active"
        wrong = await b.send(url, "upload", data[:GRANULE], 0)
        assert (wrong.status_code, wrong.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert (await b.send(url, "upload", data[GRANULE : 2 * GRANULE], GRANULE)).status_code == 200
        assert await b.received(url) == 2 * GRANULE
        assert (await b.send(url, "finalize")).status_code == 400, "four bytes are missing"
        done = await b.send(url, "upload, finalize", b"rest", 2 * GRANULE)
        assert done.json()["file"]["sha256Hash"] == b64encode(hashlib.sha256(data).digest()).decode()
        assert (await b.send(url, "query")).headers["x-goog-upload-status"] == "final"
        assert (await b.send(url, "upload, finalize", b"rest", 2 * GRANULE)).status_code == 400


@LEAKING
async def test_what_came_of_a_chunk_that_broke_off_stays_in_whole_granules() -> None:
    async with google_bench() as b:
        data = b"ab" * (2 * GRANULE)
        url = await b.start(len(data))
        b.simulator.faults.arm(
            CutRequest(route=f"POST {GOOGLE_PREFIX}/upload/v1/files", after_bytes=GRANULE + 1000),
        )
        with pytest.raises(httpx.TransportError):
            await b.send(url, "upload, finalize", data, 0)
        assert await b.received(url) == GRANULE
        done = await b.send(url, "upload, finalize", data[GRANULE:], GRANULE)
        assert done.json()["file"]["sha256Hash"] == b64encode(hashlib.sha256(data).digest()).decode()


async def test_an_upload_may_be_cancelled_and_ends_after_a_week() -> None:
    async with google_bench() as b:
        url = await b.start(1)
        assert (await b.send(url, "cancel")).status_code == 200
        assert (await b.send(url, "query")).headers["x-goog-upload-status"] == "final"
        assert (await b.send(url, "upload, finalize", b"x", 0)).status_code == 400
        url = await b.start(1)
        b.simulator.clock.advance(7 * 86_400)
        assert (await b.send(url, "query")).status_code == 404
        assert (await b.send(url + "x", "query")).status_code == 404
        assert b.simulator.account.purchases() == []


async def test_what_is_more_than_announced_or_no_command_is_refused() -> None:
    async with google_bench() as b:
        url = await b.start(3)
        assert (await b.send(url, "upload, finalize", b"four", 0)).status_code == 400
        assert (await b.send(url, "upload, finalize", b"ab", 0)).status_code == 400
        assert (await b.send(url, "sing")).status_code == 400
        await b.error(400, "INVALID_ARGUMENT", "POST", "/upload/v1/files", headers=upload_headers("start"))
        headers = {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-header-content-length": "2000000001",
            **upload_headers("start"),
        }
        await b.error(400, "INVALID_ARGUMENT", "POST", "/upload/v1/files", headers=headers, json={"file": {}})


async def test_keys_are_judged_as_google_judges_them() -> None:
    async with google_bench() as b:
        error = await b.error(400, "INVALID_ARGUMENT", "GET", "/v1/files", headers={"x-goog-api-key": wrong_key()})
        assert "API key not valid" in error["message"]
        assert error["details"][0]["reason"] == "API_KEY_INVALID"
        await b.error(403, "PERMISSION_DENIED", "GET", "/v1/files", headers={"x-goog-api-key": ""})
        await b.ok("GET", "/v1/files", headers={"x-goog-api-key": ""}, params={"key": "any"})


async def test_a_rate_is_answered_with_retry_info() -> None:
    async with google_bench() as b:
        await b.http.post("/_sim/faults", json={"fault": "rate", "route": f"GET {GOOGLE_PREFIX}/v1/files", "per_s": 1})
        await b.ok("GET", "/v1/files")
        error = await b.error(429, "RESOURCE_EXHAUSTED", "GET", "/v1/files")
        assert error["details"][0]["retryDelay"] == "1s"
