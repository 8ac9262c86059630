"""Whether a webhook comes from who it says: Standard Webhooks signatures, over any bytes. Pure.

The signature is made by the library `standardwebhooks` and compared here. Its own `verify` reads the wall clock, and
raises whatever its parsing meets (`ValueError`, `binascii.Error`, `UnicodeDecodeError`) beside its own error.

Source: `contracts/providers.md` section 1.7 (20 November 2026); Google's HMAC form is the same (section 3.7).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

from perdure.events.errors import InvalidRequest, InvalidWebhook

TOLERANCE_S: Final = 300
"""How far a timestamp may be from now, either way, in seconds (section 1.7)."""

MAX_BODY_BYTES: Final = 1_000_000
"""The longest body that is looked at. Ours: what is announced is an id and a word."""

MAX_ID: Final = 256
MAX_SIGNATURES: Final = 32
"""Bounds of the headers, in characters and entries. Ours; a rotated secret makes two signatures."""

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

_LONGEST_TIMESTAMP: Final = 12


def signer(secret: str) -> Webhook:
    """What makes signatures with a secret (`whsec_…`). Raises `InvalidRequest`, which does not name it."""
    try:
        return Webhook(secret)
    except Exception as error:  # the library's own error for an empty one is not public, base64 raises several
        raise InvalidRequest(
            "a webhook's secret must be base64, with or without 'whsec_' before it", field="webhook_secrets"
        ) from error


def verified_id(signers: Sequence[Webhook], headers: Mapping[str, str], body: bytes, *, now_s: float) -> str:
    """The id of a webhook that one of the secrets signed at about `now_s` (seconds since 1970).

    Raises `InvalidWebhook`, whatever bytes there are.
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidWebhook(
            f"its body has {len(body)} bytes: a webhook has {MAX_BODY_BYTES} at most", reason="too_large"
        )
    given = _headers(headers)
    signed_at = _timestamp(given[TIMESTAMP], now_s)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidWebhook("its body is no text", reason="body") from error
    shown = [entry.encode() for entry in given[SIGNATURE].split(" ")][:MAX_SIGNATURES]
    for sign in signers:
        expected = sign.sign(given[ID], signed_at, text).encode()
        # All are compared, so that the time taken does not tell which one was near.
        if sum([hmac.compare_digest(expected, entry) for entry in shown]):
            return given[ID]
    raise InvalidWebhook("no signature of it was made with a secret that is known here", reason="signature")


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not given.get(name)]
    if missing:
        raise InvalidWebhook(f"it has no header {', '.join(missing)}", reason="headers")
    if len(given[ID]) > MAX_ID or not given[ID].isascii() or not given[ID].isprintable():
        raise InvalidWebhook(f"its {ID} is not 1 to {MAX_ID} printable ASCII characters", reason="headers")
    return given


def _timestamp(text: str, now_s: float) -> datetime:
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_TIMESTAMP):
        raise InvalidWebhook(f"its {TIMESTAMP} is no number of seconds", reason="headers", value=text)
    if abs(int(text) - now_s) > TOLERANCE_S:
        raise InvalidWebhook(
            f"it was signed more than {TOLERANCE_S} s from now: if it is no replay, look at this machine's clock",
            reason="timestamp",
            limit=TOLERANCE_S,
            value=text,
        )
    return datetime.fromtimestamp(int(text), UTC)
