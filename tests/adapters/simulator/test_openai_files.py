"""OpenAI's file routes: success, every error, paging, expiry."""

from __future__ import annotations

import hashlib

import pytest

from tests.adapters.simulator.bench import T0, bench, key
from tests.secrets import unique_key, wrong_key

pytestmark = pytest.mark.trio


async def test_a_file_is_stored_shown_read_back_and_deleted() -> None:
    async with bench() as b:
        made = await b.upload(b"some bytes\0\xff", filename="a.bin", purpose="user_data")
        assert made == {
            "id": made["id"],
            "object": "file",
            "bytes": 12,
            "created_at": int(T0),
            "filename": "a.bin",
            "purpose": "user_data",
            "status": "processed",
            "status_details": None,
            "expires_at": None,
        }
        assert made["id"].startswith("file-")
        assert await b.ok("GET", f"/files/{made['id']}") == made
        content = await b.call("GET", f"/files/{made['id']}/content")
        assert content.content == b"some bytes\0\xff"
        assert content.headers["content-type"] == "application/octet-stream"
        assert content.headers["content-length"] == "12"
        deleted = await b.ok("DELETE", f"/files/{made['id']}")
        assert deleted == {"id": made["id"], "object": "file", "deleted": True}
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            error = await b.error(404, method, f"/files/{made['id']}{path}")
            assert error["param"] == "id"


async def test_a_file_is_on_the_account_with_its_name_and_its_digest() -> None:
    async with bench() as b:
        made = await b.upload(b"{}\n", filename="mark-1.jsonl")
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.provider, purchase.kind, purchase.id) == ("openai", "file", made["id"])
        assert (purchase.identity, purchase.units, purchase.at) == ("mark-1.jsonl", 1, T0)
        assert purchase.payload == hashlib.sha256(b"{}\n").hexdigest()


async def test_the_list_is_newest_first_and_pages_both_ways() -> None:
    async with bench() as b:
        names = [(await b.upload(b"x", filename=f"{n}.txt", purpose="user_data"))["id"] for n in range(5)]
        everything = await b.ok("GET", "/files")
        assert everything["object"] == "list"
        assert [file["id"] for file in everything["data"]] == names[::-1]
        assert (everything["first_id"], everything["last_id"]) == (names[4], names[0])
        assert everything["has_more"] is False
        seen: list[str] = []
        after: dict[str, str] = {}
        while True:
            page = await b.ok("GET", "/files", params={"limit": "2", "order": "asc", **after})
            seen += [file["id"] for file in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert seen == names


async def test_the_list_goes_on_behind_a_file_that_was_deleted_meanwhile() -> None:
    async with bench() as b:
        names = [(await b.upload(b"x", filename=f"{n}.txt", purpose="user_data"))["id"] for n in range(3)]
        await b.ok("DELETE", f"/files/{names[1]}")
        page = await b.ok("GET", "/files", params={"after": names[1]})
        assert [file["id"] for file in page["data"]] == [names[0]]


async def test_the_list_can_be_of_one_purpose_and_empty() -> None:
    async with bench() as b:
        await b.upload(b"x", filename="a.txt", purpose="user_data")
        batch_file = await b.upload(b"{}\n")
        page = await b.ok("GET", "/files", params={"purpose": "batch"})
        assert [file["id"] for file in page["data"]] == [batch_file["id"]]
        empty = await b.ok("GET", "/files", params={"purpose": "evals"})
        assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ({"limit": "0"}, "limit", "integer_out_of_range"),
        ({"limit": "10001"}, "limit", "integer_out_of_range"),
        ({"limit": "many"}, "limit", "invalid_type"),
        ({"order": "up"}, "order", "invalid_value"),
        ({"after": "file-unknown"}, "after", "invalid_value"),
    ],
)
async def test_a_wrong_page_is_refused(query: dict[str, str], param: str, code: str) -> None:
    async with bench() as b:
        error = await b.error(400, "GET", "/files", params=query)
        assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")


@pytest.mark.parametrize(
    ("fields", "filename", "param", "code"),
    [
        ({}, "a.jsonl", "purpose", "missing_required_parameter"),
        ({"purpose": "fun"}, "a.jsonl", "purpose", "invalid_value"),
        ({"purpose": "batch_output"}, "a.jsonl", "purpose", "invalid_value"),
        ({"purpose": "batch"}, "a.txt", "file", "invalid_file_format"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, "a.jsonl", "expires_after[anchor]", "invalid_value"),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
            "a.jsonl",
            "expires_after[seconds]",
            "integer_out_of_range",
        ),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"},
            "a.jsonl",
            "expires_after[seconds]",
            "invalid_type",
        ),
    ],
)
async def test_a_wrong_file_is_refused_and_leaves_nothing(
    fields: dict[str, str], filename: str, param: str, code: str
) -> None:
    async with bench() as b:
        error = await b.error(400, "POST", "/files", data=fields, files={"file": (filename, b"{}\n")})
        assert (error["param"], error["code"]) == (param, code)
        assert b.simulator.account.purchases() == []
        assert (await b.ok("GET", "/files"))["data"] == []


async def test_a_form_without_a_file_or_that_is_none_is_refused() -> None:
    async with bench() as b:
        error = await b.error(400, "POST", "/files", files={"purpose": (None, b"batch")})
        assert (error["param"], error["code"]) == ("file", "missing_required_parameter")
        await b.error(400, "POST", "/files", json={"purpose": "batch"})
        headers = {"content-type": "multipart/form-data; boundary=xyz"}
        await b.error(400, "POST", "/files", content=b"this has no such boundary", headers=headers)
        await b.error(400, "POST", "/files", content=b"--xyz\r\ncontent-disposition: form-da", headers=headers)
        await b.error(400, "POST", "/files", content=b"--xyz\r\n\r\nno name\r\n--xyz--\r\n", headers=headers)


async def test_the_file_may_come_before_its_purpose() -> None:
    async with bench() as b:
        body = (
            b'--xyz\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\n\r\n'
            b'--xyz\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--xyz--\r\n'
        )
        made = await b.ok("POST", "/files", content=body, headers={"content-type": "multipart/form-data; boundary=xyz"})
        assert (made["bytes"], made["purpose"]) == (3, "batch")


async def test_a_file_for_a_batch_lives_thirty_days_and_another_as_long_as_it_was_told() -> None:
    async with bench() as b:
        usual = await b.upload(b"{}\n")
        assert usual["expires_at"] == int(T0) + 30 * 86_400
        short = await b.ok(
            "POST",
            "/files",
            data={"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"},
            files={"file": ("b.jsonl", b"{}\n")},
        )
        assert short["expires_at"] == int(T0) + 3600
        b.simulator.clock.advance(3600)
        await b.error(404, "GET", f"/files/{short['id']}")
        await b.error(404, "GET", f"/files/{short['id']}/content")
        assert [file["id"] for file in (await b.ok("GET", "/files"))["data"]] == [usual["id"]]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, None),
        (key("bad-key"), "invalid_api_key"),
        (key(wrong_key()), "invalid_api_key"),
        ({"authorization": f"Basic {unique_key()}"}, None),
    ],
    ids=["none", "bad", "unique and bad", "another scheme"],
)
async def test_a_missing_or_bad_key_is_refused_on_every_route(headers: dict[str, str], code: str | None) -> None:
    async with bench() as b:
        del b.http.headers["authorization"]
        for method, path in (
            ("GET", "/files"),
            ("POST", "/files"),
            ("POST", "/uploads"),
            ("GET", "/batches"),
            ("POST", "/batches"),
            ("GET", "/models"),
            ("POST", "/responses"),
            ("POST", "/chat/completions"),
            ("POST", "/embeddings"),
        ):
            error = await b.error(401, method, path, headers=headers)
            assert error["code"] == code


async def test_what_is_not_there_is_refused_in_the_providers_form() -> None:
    async with bench() as b:
        assert (await b.error(404, "GET", "/fine_tuning/jobs"))["code"] == "unknown_url"
        assert (await b.error(405, "PUT", "/files"))["code"] == "method_not_supported"


async def test_every_answer_carries_the_providers_headers() -> None:
    async with bench() as b:
        answers = [await b.call("GET", "/files"), await b.call("GET", "/files/file-unknown")]
        for answer in answers:
            assert answer.headers["openai-version"] == "2020-10-01"
            assert int(answer.headers["openai-processing-ms"]) >= 0
        assert len({answer.headers["x-request-id"] for answer in answers}) == 2


async def test_a_file_expires_when_told_to() -> None:
    async with bench() as b:
        made = await b.upload(b"x", filename="a.txt", purpose="user_data")
        await b.arm("expire_file", file=made["id"])
        await b.error(404, "GET", f"/files/{made['id']}")
        assert (await b.ok("GET", "/files"))["data"] == []
        refused = await b.http.post("/_sim/faults", json={"fault": "expire_file", "file": made["id"]})
        assert refused.status_code == 400
        assert "'file'" in refused.json()["error"]["message"]
        assert (await b.control("GET", "/faults"))["armed"] == []
