"""Messages with parts at OpenAI's simulated endpoints, live and in a batch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.adapters.simulator.bench import BATCH_S, Bench, bench, jsonl

pytestmark = pytest.mark.trio

PNG = "data:image/png;base64,iVBORw=="
PDF = "data:application/pdf;base64,JVBERg=="
ADDRESS = "https://example.org/a"
FILE = "the file"
"""Stands for the id of a file that is there."""


def _body(path: str, part: object) -> dict[str, object]:
    field = "input" if path == "/responses" else "messages"
    return {"model": "m", field: [{"role": "user", "content": [part]}]}


def _text(path: str, body: Any) -> str:
    text: str = (
        body["output"][0]["content"][0]["text"] if path == "/responses" else body["choices"][0]["message"]["content"]
    )
    return text.split("] ", 1)[1]


async def _file(b: Bench) -> str:
    id_: str = (await b.upload(b"words", filename="a.txt", purpose="user_data"))["id"]
    return id_


@pytest.mark.parametrize(
    ("path", "part", "said"),
    [
        ("/responses", {"type": "input_text", "text": "hello"}, "hello"),
        ("/responses", {"type": "output_text", "text": "hello"}, "hello"),
        ("/responses", {"type": "input_image", "detail": "auto", "image_url": PNG}, "[image]"),
        ("/responses", {"type": "input_image", "image_url": ADDRESS}, "[image]"),
        ("/responses", {"type": "input_image", "file_id": FILE}, "[image]"),
        ("/responses", {"type": "input_file", "file_data": PDF, "filename": "a.pdf"}, "[file a.pdf]"),
        ("/responses", {"type": "input_file", "file_url": ADDRESS}, f"[file {ADDRESS}]"),
        ("/responses", {"type": "input_file", "file_id": FILE}, "[file the file]"),
        ("/chat/completions", {"type": "text", "text": "hello"}, "hello"),
        ("/chat/completions", {"type": "image_url", "image_url": {"url": PNG}}, "[image]"),
        ("/chat/completions", {"type": "file", "file": {"file_id": FILE}}, "[file the file]"),
        ("/chat/completions", {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}, "[file a.pdf]"),
        ("/chat/completions", {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav"}}, "[audio]"),
    ],
)
async def test_a_part_is_read(path: str, part: dict[str, object], said: str) -> None:
    async with bench() as b:
        id_ = await _file(b)
        body = json.loads(json.dumps(_body(path, part)).replace(FILE, id_))
        assert _text(path, await b.ok("POST", path, json=body)) == said.replace(FILE, id_)


@pytest.mark.parametrize(
    ("path", "part", "param"),
    [
        ("/responses", {"text": "hello"}, "type"),
        ("/responses", {"type": "text", "text": "hello"}, "type"),
        ("/responses", {"type": "input_text"}, "text"),
        ("/responses", {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav"}}, "type"),
        ("/responses", {"type": "input_image"}, ""),
        ("/responses", {"type": "input_image", "image_url": PNG, "file_id": "file-1"}, ""),
        ("/responses", {"type": "input_image", "image_url": {"url": PNG}}, "image_url"),
        ("/responses", {"type": "input_image", "image_url": "ftp://a"}, "image_url"),
        ("/responses", {"type": "input_file", "file_data": PDF}, "filename"),
        ("/responses", {"type": "input_file", "file_data": "JVBERg==", "filename": "a.pdf"}, "file_data"),
        ("/responses", {"type": "input_file", "file_data": "data:a/b;base64,%", "filename": "a"}, "file_data"),
        ("/chat/completions", {"type": "input_text", "text": "hello"}, "type"),
        ("/chat/completions", {"type": "image_url", "image_url": PNG}, "image_url"),
        ("/chat/completions", {"type": "file"}, "file"),
        ("/chat/completions", {"type": "input_audio"}, "input_audio"),
        ("/chat/completions", {"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}}, "data"),
    ],
)
async def test_a_part_that_an_endpoint_does_not_take_is_refused_and_not_bought(
    path: str, part: dict[str, object], param: str
) -> None:
    async with bench() as b:
        error = await b.error(400, "POST", path, json=_body(path, part))
        assert error["param"].endswith(param)
        assert error["param"].startswith(("input[0].content[0]", "messages[0].content[0]"))
        assert b.simulator.account.purchases() == []


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/responses", {"type": "input_file", "file_id": "file-unknown"}),
        ("/responses", {"type": "input_image", "file_id": "file-unknown"}),
        ("/chat/completions", {"type": "file", "file": {"file_id": "file-unknown"}}),
    ],
)
async def test_a_file_that_is_not_there_is_404(path: str, part: dict[str, object]) -> None:
    async with bench() as b:
        assert "file-unknown" in (await b.error(404, "POST", path, json=_body(path, part)))["message"]


async def test_a_file_that_was_deleted_is_404() -> None:
    async with bench() as b:
        id_ = await _file(b)
        await b.ok("DELETE", f"/files/{id_}")
        await b.error(404, "POST", "/responses", json=_body("/responses", {"type": "input_file", "file_id": id_}))


async def test_the_lines_of_a_batch_name_files_too() -> None:
    async with bench() as b:
        known = await _file(b)
        parts = [{"type": "input_file", "file_id": id_} for id_ in (known, "file-unknown")]
        made = await b.batch(jsonl(_body("/responses", part) for part in parts))
        ended = await b.look(made["id"], after_s=BATCH_S)
        (answered,) = await b.lines(ended["output_file_id"])
        (failed,) = await b.lines(ended["error_file_id"])
        assert _text("/responses", answered["response"]["body"]) == f"[file {known}]"
        assert failed["response"]["status_code"] == 404
