"""Anthropic's file routes: success, every error, both kinds of paging, expiry, keys and versions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest

from tests.adapters.simulator.anthropic_bench import BETA, OLD_VERSION, anthropic_bench
from tests.adapters.simulator.bench import T0
from tests.secrets import unique_key, wrong_key

pytestmark = pytest.mark.trio

DAY_S = 86_400


async def test_a_file_is_stored_shown_and_deleted() -> None:
    async with anthropic_bench() as b:
        made = await b.upload(b"some words", filename="notes.txt")
        assert made == {
            "id": made["id"],
            "type": "file",
            "filename": "notes.txt",
            "mime_type": "text/plain",
            "size_bytes": 10,
            "created_at": "2026-11-18T11:06:40Z",
            "expires_at": None,
            "downloadable": False,
        }
        assert made["id"].startswith("file_")
        assert await b.ok("GET", f"/v1/files/{made['id']}") == made
        deleted = await b.ok("DELETE", f"/v1/files/{made['id']}")
        assert deleted == {"id": made["id"], "type": "file_deleted"}
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            await b.error(404, "not_found_error", method, f"/v1/files/{made['id']}{path}")


async def test_a_file_is_on_the_account_with_its_name_and_its_digest() -> None:
    async with anthropic_bench() as b:
        made = await b.upload(b"words", filename="mark-1.txt")
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.provider, purchase.kind, purchase.id) == ("anthropic", "file", made["id"])
        assert (purchase.identity, purchase.units, purchase.at) == ("mark-1.txt", 1, T0)
        assert purchase.payload == hashlib.sha256(b"words").hexdigest()


async def test_what_was_uploaded_cannot_be_downloaded() -> None:
    async with anthropic_bench() as b:
        made = await b.upload()
        error = await b.error(400, "invalid_request_error", "GET", f"/v1/files/{made['id']}/content")
        assert error["details"] == {"error_code": "file_not_downloadable"}


async def test_only_the_last_component_of_a_name_is_kept_and_no_name_is_replaced() -> None:
    async with anthropic_bench() as b:
        assert (await b.upload(filename="a/b/c.txt"))["filename"] == "c.txt"
        assert (await b.upload(filename="a/", mime_type="application/pdf"))["filename"] == "unnamed.pdf"


async def test_w55_the_list_is_newest_first_and_goes_on_by_its_pages() -> None:
    async with anthropic_bench() as b:
        names = [(await b.upload(filename=f"{n}.txt"))["id"] for n in range(5)]
        assert await b.ok("GET", "/v1/files") == {
            "data": [await b.ok("GET", f"/v1/files/{name}") for name in names[::-1]],
            "next_page": None,
        }
        seen: list[str] = []
        query = {"limit": "2"}
        while True:
            page = await b.ok("GET", "/v1/files", params=query)
            assert set(page) == {"data", "next_page"}
            seen += [file["id"] for file in page["data"]]
            if page["next_page"] is None:
                break
            assert page["next_page"].startswith("page_")
            await b.ok("DELETE", f"/v1/files/{seen[-1]}")  # a page goes on behind what is gone, too
            query = {"limit": "2", "page": page["next_page"]}
        assert seen == names[::-1]


async def test_with_the_beta_the_list_has_its_old_form_and_goes_both_ways() -> None:
    async with anthropic_bench() as b:
        names = [(await b.upload(filename=f"{n}.txt"))["id"] for n in range(5)]
        first = await b.ok("GET", "/v1/files", params={"limit": "2"}, headers=BETA)
        assert [file["id"] for file in first["data"]] == [names[4], names[3]]
        assert (first["first_id"], first["last_id"], first["has_more"]) == (names[4], names[3], True)
        older = await b.ok("GET", "/v1/files", params={"limit": "9", "after_id": names[3]}, headers=BETA)
        assert [file["id"] for file in older["data"]] == names[2::-1]
        assert older["has_more"] is False
        newer = await b.ok("GET", "/v1/files", params={"limit": "2", "before_id": names[1]}, headers=BETA)
        assert [file["id"] for file in newer["data"]] == [names[3], names[2]]
        assert newer["has_more"] is True
        both = {"after_id": names[0], "before_id": names[1]}
        await b.error(400, "invalid_request_error", "GET", "/v1/files", params=both, headers=BETA)


async def test_files_can_be_listed_by_their_ids() -> None:
    async with anthropic_bench() as b:
        names = [(await b.upload(filename=f"{n}.txt"))["id"] for n in range(3)]
        listed = await b.ok("GET", "/v1/files", params={"ids": [names[0], names[2], "file_unknown"]})
        assert {file["id"] for file in listed["data"]} == {names[0], names[2]}
        assert listed["next_page"] is None


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "many"},
        {"page": "file_1"},
        {"page": "page_file_1"},
        {"ids": ["a"], "limit": "5"},
        {"ids": [f"file_{n}" for n in range(101)]},
    ],
    ids=str,
)
async def test_wrong_paging_is_refused(query: Mapping[str, str | list[str]]) -> None:
    async with anthropic_bench() as b:
        await b.error(400, "invalid_request_error", "GET", "/v1/files", params=query)


async def test_a_file_lives_as_long_as_asked_for_and_can_then_still_be_read_about() -> None:
    async with anthropic_bench() as b:
        made = await b.upload(expires_in_seconds="3600")
        assert made["expires_at"] == "2026-11-18T12:06:40Z"
        b.simulator.clock.advance(3_599)
        await b.error(400, "invalid_request_error", "GET", f"/v1/files/{made['id']}/content")
        b.simulator.clock.advance(1)
        error = await b.error(404, "not_found_error", "GET", f"/v1/files/{made['id']}/content")
        assert error["details"] == {"error_code": "file_expired"}
        assert await b.ok("GET", f"/v1/files/{made['id']}") == made


async def test_a_file_expires_when_told_to() -> None:
    async with anthropic_bench() as b:
        made = await b.upload()
        await b.bench.arm("expire_file", file=made["id"])
        await b.error(404, "not_found_error", "GET", f"/v1/files/{made['id']}/content")
        assert (await b.ok("GET", f"/v1/files/{made['id']}"))["expires_at"] == "2026-11-18T11:06:40Z"


@pytest.mark.parametrize("life", ["3599", "7776001", "soon", "-1", ""])
async def test_a_life_out_of_bounds_is_refused(life: str) -> None:
    async with anthropic_bench() as b:
        form = {"file": ("a.txt", b"x", "text/plain")}
        options = {"data": {"expires_in_seconds": life}, "files": form}
        await b.error(400, "invalid_request_error", "POST", "/v1/files", **options)
        assert b.simulator.account.purchases() == []


async def test_what_is_no_form_with_a_file_is_refused() -> None:
    async with anthropic_bench() as b:
        await b.error(400, "invalid_request_error", "POST", "/v1/files", content=b"{}")
        await b.error(400, "invalid_request_error", "POST", "/v1/files", files={"other": ("a", b"x")})
        await b.error(404, "not_found_error", "GET", "/v1/nothing")
        await b.error(405, "invalid_request_error", "PUT", "/v1/files")


async def test_either_header_carries_the_key_and_the_first_one_counts() -> None:
    async with anthropic_bench() as b:
        good, bad = unique_key(), wrong_key()
        carried: list[tuple[dict[str, str], int]] = [
            ({"x-api-key": good, "authorization": ""}, 200),
            ({"authorization": f"Bearer {good}"}, 200),
            ({"x-api-key": good, "authorization": f"Bearer {bad}"}, 200),
            ({"x-api-key": bad, "authorization": f"Bearer {good}"}, 401),
            ({"authorization": f"Bearer {bad}"}, 401),
            ({"authorization": ""}, 401),
        ]
        for headers, status in carried:
            answer = await b.call("GET", "/v1/files", headers=headers)
            assert answer.status_code == status
            if status == 401:
                assert answer.json()["error"]["type"] == "authentication_error"


async def test_the_version_is_mandatory() -> None:
    async with anthropic_bench() as b:
        await b.ok("GET", "/v1/files", version=OLD_VERSION)
        for version in (None, "2024-01-01"):
            error = await b.error(400, "invalid_request_error", "GET", "/v1/files", version=version)
            assert "anthropic-version" in error["message"]


async def test_faults_and_rates_speak_as_anthropic_does() -> None:
    async with anthropic_bench() as b:
        await b.bench.arm("status", route="GET /anthropic/v1/files", status=529)
        await b.error(529, "overloaded_error", "GET", "/v1/files")
        await b.bench.arm("rate", route="* /anthropic/**", per_s=1)
        passed = await b.call("GET", "/v1/files")
        assert passed.headers["anthropic-ratelimit-requests-limit"] == "1"
        assert passed.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert passed.headers["anthropic-ratelimit-requests-reset"] == "2026-11-18T11:06:41Z"
        await b.error(429, "rate_limit_error", "GET", "/v1/files")
        refused = await b.call("GET", "/v1/files")
        assert refused.headers["retry-after"] == "1"
        assert "x-ratelimit-limit-requests" not in refused.headers
