"""xAI's side of the simulator: what differs from OpenAI's."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from perdure.adapters.simulator import XAI_PREFIX
from tests.adapters.simulator.bench import T0, Bench, bench, key
from tests.secrets import wrong_key

pytestmark = pytest.mark.trio

CALLS: list[tuple[str, dict[str, object]]] = [
    ("/responses", {"input": "hello"}),
    ("/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
]


async def call(b: Bench, method: str, path: str, **options: Any) -> httpx.Response:
    return await b.http.request(method, XAI_PREFIX + path, **options)


async def ok(b: Bench, method: str, path: str, **options: Any) -> Any:
    answer = await call(b, method, path, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-trace-id"]
    assert not [name for name in answer.headers if name.startswith("openai-")]
    return answer.json()


async def error(b: Bench, status: int, method: str, path: str, **options: Any) -> Any:
    answer = await call(b, method, path, **options)
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert set(said) == {"code", "error"}
    assert all(isinstance(value, str) and value for value in said.values())
    return said


async def upload(b: Bench, data: bytes = b"words", *, filename: str = "a.txt", **fields: str) -> Any:
    return await ok(b, "POST", "/files", data=fields, files={"file": (filename, data)})


async def test_a_file_is_stored_shown_read_back_and_deleted() -> None:
    async with bench() as b:
        made = await upload(b)
        assert made == {
            "id": made["id"],
            "object": "file",
            "bytes": 5,
            "created_at": int(T0),
            "filename": "a.txt",
            "purpose": "",
            "expires_at": None,
        }
        assert await ok(b, "GET", f"/files/{made['id']}") == made
        content = await call(b, "GET", f"/files/{made['id']}/content", headers={"range": "bytes=1-2"})
        assert (content.status_code, content.content) == (206, b"or")
        (purchase,) = b.simulator.account.purchases(provider="xai")
        assert (purchase.kind, purchase.identity, purchase.id) == ("file", "a.txt", made["id"])
        assert purchase.payload == hashlib.sha256(b"words").hexdigest()
        assert (await ok(b, "DELETE", f"/files/{made['id']}"))["deleted"] is True
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            assert (await error(b, 404, method, f"/files/{made['id']}{path}"))["code"] == "not-found"


async def test_a_file_expires_by_the_clock() -> None:
    async with bench() as b:
        made = await upload(b, expires_after="3600")
        assert made["expires_at"] == int(T0) + 3600
        b.simulator.clock.advance(3599)
        await ok(b, "GET", f"/files/{made['id']}")
        b.simulator.clock.advance(1)
        await error(b, 404, "GET", f"/files/{made['id']}")
        assert (await ok(b, "GET", "/files"))["data"] == []


@pytest.mark.parametrize("seconds", ["3599", "2592001", "soon"])
async def test_a_life_out_of_bounds_is_refused(seconds: str) -> None:
    async with bench() as b:
        said = await error(b, 400, "POST", "/files", data={"expires_after": seconds}, files={"file": ("a", b"x")})
        assert "expires_after" in said["error"]


async def test_a_life_behind_the_file_is_refused() -> None:
    parts = {"file": ("a.txt", b"x"), "expires_after": (None, b"3600")}
    async with bench() as b:
        assert "before the file" in (await error(b, 400, "POST", "/files", files=parts))["error"]


async def test_the_list_goes_on_by_token_or_behind_an_id() -> None:
    async with bench() as b:
        ids = [(await upload(b, filename=f"{n}.txt"))["id"] for n in range(5)][::-1]
        for by in ("pagination_token", "after"):
            seen: list[str] = []
            place: dict[str, str] = {}
            while True:
                page = await ok(b, "GET", "/files", params={"limit": "2", **place})
                seen += [file["id"] for file in page["data"]]
                assert page["has_more"] is (page["pagination_token"] is not None)
                if not page["has_more"]:
                    break
                place = {by: page["pagination_token"] if by == "pagination_token" else seen[-1]}
            assert seen == ids
        assert "limit" in (await error(b, 400, "GET", "/files", params={"limit": "101"}))["error"]


@pytest.mark.parametrize(("path", "body"), CALLS, ids=[path for path, _ in CALLS])
async def test_an_answer_tells_what_it_cost_and_is_on_the_account(path: str, body: dict[str, object]) -> None:
    async with bench() as b:
        said = await ok(b, "POST", path, json={"model": "grok-5", **body}, headers={"x-client-request-id": "mark"})
        assert said["usage"]["cost_in_usd_ticks"] > 0
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.provider, purchase.kind, purchase.identity) == ("xai", "text", "mark")
        at_openai = await b.ok("POST", path, json={"model": "grok-5", **body})
        assert "cost_in_usd_ticks" not in at_openai["usage"]


async def test_the_seed_decides_every_answer() -> None:
    async def play(seed: int) -> list[object]:
        async with bench(seed=seed) as b:
            return [await ok(b, "POST", path, json={"model": "m", **body}) for path, body in CALLS]

    assert await play(1) == await play(1) != await play(2)


async def test_messages_name_xais_files_and_not_openais() -> None:
    async with bench() as b:
        mine = (await upload(b))["id"]
        theirs = (await b.upload(b"words", filename="a.txt", purpose="user_data"))["id"]
        for id_, status in ((mine, 200), (theirs, 404)):
            parts = [{"type": "input_file", "file_id": id_}]
            body = {"model": "m", "input": [{"role": "user", "content": parts}]}
            assert (await call(b, "POST", "/responses", json=body)).status_code == status


async def test_what_is_wrong_is_told_in_xais_words() -> None:
    async with bench() as b:
        assert (await error(b, 404, "POST", "/responses", json={"model": "nope", "input": "a"}))["code"] == "not-found"
        assert (await error(b, 400, "POST", "/chat/completions", json={}))["code"] == "invalid-argument"
        assert (await error(b, 404, "POST", "/embeddings", json={"model": "m", "input": "a"}))["error"]
        await error(b, 404, "POST", "/uploads", json={})
        await error(b, 405, "PUT", "/files")
        for headers in ({"authorization": ""}, key(wrong_key())):
            assert (await error(b, 401, "GET", "/files", headers=headers))["code"] == "unauthenticated"
        assert b.simulator.account.purchases() == []


async def test_models_are_listed() -> None:
    async with bench() as b:
        listed = await ok(b, "GET", "/models")
        assert [model["id"] for model in listed["data"]] == ["grok-5", "grok-5-mini"]
        assert (await ok(b, "GET", "/models/grok-5"))["id"] == "grok-5"
        await error(b, 404, "GET", "/models/nope")


async def test_faults_strike_xais_routes_in_the_other_of_its_two_forms() -> None:
    async with bench() as b:
        await b.arm("status", route="POST /xai/v1/responses", status=503)
        struck = await call(b, "POST", "/responses", json={"model": "m", "input": "a"})
        assert struck.status_code == 503
        assert struck.json()["error"]["type"] == "server_error"
        await b.arm("act_then_drop", route="POST /xai/v1/files")
        with pytest.raises(httpx.TransportError):
            await call(b, "POST", "/files", files={"file": ("a.txt", b"x")})
        assert [purchase.provider for purchase in b.simulator.account.purchases()] == ["xai"]


async def test_files_and_account_are_there_after_a_restart(tmp_path: Any) -> None:
    async with bench(data=tmp_path) as b:
        made = await upload(b)
    async with bench(data=tmp_path) as b:
        assert await ok(b, "GET", f"/files/{made['id']}") == made
        assert (await call(b, "GET", f"/files/{made['id']}/content")).content == b"words"
