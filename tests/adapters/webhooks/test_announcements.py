"""What webhooks say: which batch each type of each provider is about."""

from __future__ import annotations

import json

import pytest

from perdure.adapters.webhooks.announcements import read_announcement
from perdure.events.errors import InvalidWebhook


def body(type_: object, data: object, **more: object) -> bytes:
    return json.dumps({"object": "event", "id": "evt_1", "type": type_, "created_at": 1, "data": data, **more}).encode()


@pytest.mark.parametrize(
    ("provider", "word", "batch", "names"),
    [
        *(("openai", word, {"id": "batch_1"}, ["batch_1"]) for word in ("completed", "failed", "expired", "cancelled")),
        *(("google", word, {"id": "xyz"}, ["xyz", "batches/xyz"]) for word in ("succeeded", "failed", "expired")),
        ("google", "succeeded", {"name": "batches/xyz", "id": "xyz"}, ["batches/xyz", "xyz"]),
        ("google", "succeeded", {"name": "batches/xyz", "user_metadata": {"job": "j"}}, ["batches/xyz"]),
    ],
)
def test_each_type_that_is_about_a_batch(provider: str, word: str, batch: object, names: list[str]) -> None:
    said = read_announcement(provider, body(f"batch.{word}", batch))
    assert (said.type, list(said.batches)) == (f"batch.{word}", names)


@pytest.mark.parametrize(
    ("provider", "type_"),
    [
        ("openai", "response.completed"),
        ("openai", "batch.succeeded"),
        ("openai", "video.failed"),
        ("google", "batch.cancelled"),
        ("google", "interaction.completed"),
        ("google", ""),
    ],
)
def test_other_types_are_let_pass_whatever_they_hold(provider: str, type_: str) -> None:
    for data in ({"id": "batch_1"}, None, [1], "text"):
        said = read_announcement(provider, body(type_, data))
        assert (said.type, list(said.batches)) == (type_, [])


@pytest.mark.parametrize(
    "data",
    [None, {}, [], "batch_1", {"id": 7}, {"id": None}, {"id": ""}, {"id": "b" * 513}, {"batch": {"id": "batch_1"}}],
    ids=["null", "empty", "list", "text", "number", "null id", "empty id", "long id", "elsewhere"],
)
def test_an_announcement_that_names_no_batch_is_refused(data: object) -> None:
    with pytest.raises(InvalidWebhook) as caught:
        read_announcement("openai", body("batch.completed", data))
    assert caught.value.reason == "body"


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b'{"data":{}}', b'{"type":7}', b'{"type":"batch.completed"}', b"\xff", b"[" * 100_000],
)
def test_a_body_that_cannot_be_read_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidWebhook):
        read_announcement("openai", raw)
