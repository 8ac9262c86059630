"""Standard Webhooks signatures: real ones are believed, and nothing else, whatever bytes come."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.webhooks.announcements import BATCH_TYPES, read_announcement
from perdure.adapters.webhooks.signatures import MAX_BODY_BYTES, MAX_SIGNATURES, signer, verified_id
from perdure.events.errors import InvalidRequest, InvalidWebhook
from tests.secrets import unique_key

NOW = 1_795_190_000
KEY = unique_key().encode()
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(unique_key().encode()).decode()
BODY = '{"object":"event","id":"evt_1","type":"batch.completed","data":{"id":"batch_1"},"note":"fjærland"}'.encode()


def sign(body: bytes = BODY, *, id_: str = "wh_1", at: int = NOW, key: bytes = KEY) -> str:
    """A signature as the standard describes it, made without the library."""
    made = hmac.new(key, f"{id_}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(made).decode()


def headers(signature: str | None = None, *, id_: str = "wh_1", at: object = NOW) -> dict[str, str]:
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(at),
        "webhook-signature": sign(id_=id_) if signature is None else signature,
    }


def judged(given: dict[str, str], body: bytes = BODY, *secrets: str, now_s: float = NOW) -> str:
    return verified_id([signer(secret) for secret in secrets or (SECRET,)], given, body, now_s=now_s)


@pytest.mark.parametrize(
    "given",
    [
        headers(),
        {name.title(): value for name, value in headers().items()},
        headers(f"{sign(key=b'old')} {sign()}"),
        headers(f"v1a,xyz v2,abc, nonsense {sign()}"),
        headers(f"{sign()} "),
        {**headers(), "content-type": "application/json"},
    ],
    ids=["plain", "in capitals", "one of two", "among nonsense", "a space behind", "more headers"],
)
def test_a_webhook_that_was_signed_is_believed(given: dict[str, str]) -> None:
    assert judged(given) == "wh_1"


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), SECRET.rstrip("=")])
def test_a_secret_may_come_without_its_prefix_or_padding(secret: str) -> None:
    assert judged(headers(), BODY, secret) == "wh_1"


def test_a_secret_can_be_rotated() -> None:
    assert judged(headers(), BODY, OTHER, SECRET) == "wh_1"
    with pytest.raises(InvalidWebhook):
        judged(headers(), BODY, OTHER)


@pytest.mark.parametrize(("apart_s", "believed"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_a_timestamp_is_believed_for_five_minutes_either_way(apart_s: int, believed: bool) -> None:
    if believed:
        assert judged(headers(), now_s=NOW + apart_s) == "wh_1"
        return
    with pytest.raises(InvalidWebhook, match="clock") as caught:
        judged(headers(), now_s=NOW + apart_s)
    assert caught.value.reason == "timestamp"


FORGED: dict[str, tuple[dict[str, str], bytes, str]] = {
    "another body": (headers(), BODY + b" ", "signature"),
    "another id": ({**headers(), "webhook-id": "wh_2"}, BODY, "signature"),
    "another time": ({**headers(), "webhook-timestamp": str(NOW + 1)}, BODY, "signature"),
    "another key": (headers(sign(key=b"x")), BODY, "signature"),
    "no version": (headers(sign().removeprefix("v1,")), BODY, "signature"),
    "another version": (headers("v2," + sign().removeprefix("v1,")), BODY, "signature"),
    "no base64": (headers("v1,&&&"), BODY, "signature"),
    "many commas": (headers("v1,a,b,c"), BODY, "signature"),
    "no ASCII": (headers("v1,æøå"), BODY, "signature"),
    "a lone surrogate in a header": ({**headers(), "webhook-id": "\udce6"}, BODY, "headers"),
    "a space": (headers(" "), BODY, "signature"),
    "behind too many": (headers("v1,x " * MAX_SIGNATURES + sign()), BODY, "signature"),
    "no headers": ({}, BODY, "headers"),
    "no signature": ({**headers(), "webhook-signature": ""}, BODY, "headers"),
    "no id": ({**headers(), "webhook-id": ""}, BODY, "headers"),
    "a long id": (headers(id_="w" * 257), BODY, "headers"),
    "an id of two lines": (headers(id_="a\nb"), BODY, "headers"),
    "no time": ({**headers(), "webhook-timestamp": ""}, BODY, "headers"),
    "a word for a time": (headers(at="noon"), BODY, "headers"),
    "a fraction": (headers(at="1795190000.5"), BODY, "headers"),
    "not a number": (headers(at="nan"), BODY, "headers"),
    "a negative time": (headers(at="-1795190000"), BODY, "headers"),
    "an endless time": (headers(at="9" * 5_000), BODY, "headers"),
    "digits of another script": (headers(at="١٧٩٥١٩٠٠٠٠"), BODY, "headers"),
    "a time long ago": (headers(at=0), BODY, "timestamp"),
    "a body that is no text": (headers(sign(b"\xff\xfe")), b"\xff\xfe", "body"),
    "a body without end": (headers(), b"x" * (MAX_BODY_BYTES + 1), "too_large"),
}


@pytest.mark.parametrize(("given", "body", "reason"), FORGED.values(), ids=FORGED)
def test_all_else_is_refused_with_a_reason(given: dict[str, str], body: bytes, reason: str) -> None:
    with pytest.raises(InvalidWebhook) as caught:
        judged(given, body)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("the webhook is refused: ")


@pytest.mark.parametrize("secret", ["", "whsec_", "æ", "whsec_æ"])
def test_a_secret_that_is_none_is_our_own_fault_and_is_not_shown(secret: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        signer(secret)
    assert caught.value.field == "webhook_secrets"
    assert not secret.removeprefix("whsec_") or secret not in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "Webhook-Id"]),
        st.text(max_size=40) | st.sampled_from([str(NOW), sign(), "wh_1", "v1,"]),
    ),
    st.binary(max_size=60) | st.just(BODY),
)
def test_no_bytes_make_anything_but_a_refusal(given: dict[str, str], body: bytes) -> None:
    try:
        believed = judged(given, body)
    except InvalidWebhook:
        return
    assert (believed, body) == ("wh_1", BODY)


@given(st.sampled_from(sorted(BATCH_TYPES)), st.binary(max_size=80))
def test_no_signed_bytes_make_anything_but_a_refusal(provider: str, body: bytes) -> None:
    with suppress(InvalidWebhook):
        assert read_announcement(provider, body).type in json.loads(body)["type"]
