"""OpenAI's uploads in parts."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.adapters.simulator.bench import T0, Bench, bench

pytestmark = pytest.mark.trio


async def begin(b: Bench, size: int, **fields: object) -> Any:
    body = {"bytes": size, "filename": "big.bin", "mime_type": "application/octet-stream", "purpose": "user_data"}
    return await b.ok("POST", "/uploads", json={**body, **fields})


async def add(b: Bench, upload: Any, data: bytes) -> Any:
    return await b.ok("POST", f"/uploads/{upload['id']}/parts", files={"data": ("blob", data)})


async def test_parts_become_a_file_in_the_order_that_is_named() -> None:
    async with bench() as b:
        upload = await begin(b, 6)
        assert upload == {
            "id": upload["id"],
            "object": "upload",
            "bytes": 6,
            "created_at": int(T0),
            "filename": "big.bin",
            "purpose": "user_data",
            "status": "pending",
            "expires_at": int(T0) + 3600,
            "file": None,
        }
        second = await add(b, upload, b"def")
        first = await add(b, upload, b"abc")
        assert first == {
            "id": first["id"],
            "object": "upload.part",
            "created_at": int(T0),
            "upload_id": upload["id"],
        }
        md5 = hashlib.md5(b"abcdef").hexdigest()
        body = {"part_ids": [first["id"], second["id"]], "md5": md5}
        done = await b.ok("POST", f"/uploads/{upload['id']}/complete", json=body)
        assert done["status"] == "completed"
        assert done["file"]["bytes"] == 6
        assert (await b.call("GET", f"/files/{done['file']['id']}/content")).content == b"abcdef"
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.kind, purchase.id, purchase.identity) == ("file", done["file"]["id"], "big.bin")


async def test_a_completed_upload_takes_nothing_more() -> None:
    async with bench() as b:
        upload = await begin(b, 1)
        part = await add(b, upload, b"x")
        await b.ok("POST", f"/uploads/{upload['id']}/complete", json={"part_ids": [part["id"]]})
        for path, body in (("/complete", {"part_ids": [part["id"]]}), ("/cancel", None)):
            error = await b.error(400, "POST", f"/uploads/{upload['id']}{path}", json=body)
            assert error["code"] == "invalid_upload_status"
        await b.error(400, "POST", f"/uploads/{upload['id']}/parts", files={"data": ("blob", b"y")})


async def test_a_cancelled_upload_is_over() -> None:
    async with bench() as b:
        upload = await begin(b, 1)
        await add(b, upload, b"x")
        assert (await b.ok("POST", f"/uploads/{upload['id']}/cancel"))["status"] == "cancelled"
        error = await b.error(400, "POST", f"/uploads/{upload['id']}/complete", json={"part_ids": []})
        assert "cancelled" in error["message"]
        assert b.simulator.account.purchases() == []


async def test_an_upload_is_over_after_an_hour() -> None:
    async with bench() as b:
        upload = await begin(b, 1)
        b.simulator.clock.advance(3600)
        error = await b.error(400, "POST", f"/uploads/{upload['id']}/parts", files={"data": ("blob", b"x")})
        assert "expired" in error["message"]


async def test_what_does_not_add_up_is_refused_and_can_be_tried_again() -> None:
    async with bench() as b:
        upload, other = await begin(b, 2), await begin(b, 2)
        part, strange = await add(b, upload, b"xy"), await add(b, other, b"zz")
        path = f"/uploads/{upload['id']}/complete"
        for ids in ([], [part["id"], part["id"]], [strange["id"]], ["part_unknown"]):
            assert (await b.error(400, "POST", path, json={"part_ids": ids}))["param"] == "part_ids"
        assert (await b.error(400, "POST", path, json={"part_ids": [part["id"]], "md5": "0"}))["param"] == "md5"
        assert (await b.ok("POST", path, json={"part_ids": [part["id"]]}))["status"] == "completed"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": 8_000_000_001}, "bytes"),
        ({"bytes": "9"}, "bytes"),
        ({"purpose": "fun"}, "purpose"),
        ({"purpose": "batch"}, "file"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds"),
        ({"color": "red"}, "color"),
    ],
)
async def test_a_wrong_upload_is_refused(fields: dict[str, object], param: str) -> None:
    body = {"bytes": 9, "filename": "a.bin", "mime_type": "text/plain", "purpose": "user_data", **fields}
    async with bench() as b:
        assert (await b.error(400, "POST", "/uploads", json=body))["param"] == param


async def test_an_unknown_upload_and_a_form_without_data_are_refused() -> None:
    async with bench() as b:
        await b.error(404, "POST", "/uploads/upload_unknown/parts", files={"data": ("blob", b"x")})
        await b.error(404, "POST", "/uploads/upload_unknown/complete", json={"part_ids": []})
        await b.error(404, "POST", "/uploads/upload_unknown/cancel")
        upload = await begin(b, 1)
        error = await b.error(400, "POST", f"/uploads/{upload['id']}/parts", files={"other": ("blob", b"x")})
        assert error["param"] == "data"
