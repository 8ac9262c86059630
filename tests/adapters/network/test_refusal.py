"""Error bodies and statuses. Pure."""

from __future__ import annotations

import json

import pytest

from perdure.adapters.network.refusal import kind_of, parse_fault, proves_refusal, provider_code


def body(**error: object) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        pytest.param(400, body(message="too many tokens", code="invalid_value"), "invalid_request", id="word token"),
        pytest.param(
            400, body(message="Unknown parameter: max_tokens", code="unsupported_parameter"), "unsupported", id="code"
        ),
        pytest.param(
            400,
            body(message="This model's maximum context length is 8192 tokens", code=None),
            "context_overflow",
            id="wording last",
        ),
        pytest.param(
            400, body(message="model does not exist", code="content_filter"), "content_filter", id="code beats wording"
        ),
        pytest.param(429, body(message="slow", type="insufficient_quota", code=None), "quota_exceeded", id="type"),
        pytest.param(
            404, body(type="not_found_error", message="model: claude-9"), "model_not_found", id="Anthropic's model"
        ),
        pytest.param(404, body(type="not_found_error", message="no such batch"), "not_found", id="Anthropic's batch"),
        pytest.param(
            400,
            body(type="invalid_request_error", message="x", details={"error_code": "enforced_spend_limit_reached"}),
            "quota_exceeded",
            id="Anthropic's detail",
        ),
        pytest.param(
            400,
            body(code=400, status="INVALID_ARGUMENT", message="bad key", details=[{"reason": "API_KEY_INVALID"}]),
            "auth",
            id="Google's bad key",
        ),
        pytest.param(
            404,
            body(code=404, status="NOT_FOUND", message="models/x is not found for API version v1"),
            "model_not_found",
            id="Google's model",
        ),
        pytest.param(503, body(code=503, status="UNAVAILABLE", message="x"), "server_error", id="Google's overload"),
        pytest.param(409, body(code=409, status="ALREADY_EXISTS", message="x"), "conflict", id="Google's conflict"),
        pytest.param(400, b'{"code": "Client specified", "error": "text"}', "invalid_request", id="xAI's second shape"),
        pytest.param(500, body(message="x", code="model_not_found"), "server_error", id="a 500 stays one"),
        pytest.param(403, b"", "auth", id="status alone"),
    ],
)
def test_w69_codes_before_status_before_wording(status: int, error: bytes, kind: str) -> None:
    """The provider's codes decide, then the status, and the wording only where both say nothing."""
    assert kind_of(status, parse_fault(error)) == kind


@pytest.mark.parametrize(
    "error", [b"", b"<html>", b"[]", b"{}", b"3", b'{"ok": true}', b"\xff\xfe", b'{"error": '], ids=repr
)
def test_w69_foreign_bodies_are_no_fault(error: bytes) -> None:
    """What is not a provider's error body is none."""
    assert parse_fault(error) is None


def test_w69_fault_has_message_codes_and_wait() -> None:
    """Message, codes from the most telling on, and Google's `RetryInfo`."""
    error = body(
        code=429,
        status="RESOURCE_EXHAUSTED",
        message="later",
        details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}],
    )
    fault = parse_fault(error)
    assert fault is not None
    assert (fault.message, fault.codes, fault.retry_after_s) == ("later", ("RESOURCE_EXHAUSTED", "429"), 34)
    assert provider_code(parse_fault(body(message="x", type="t", code="c"))) == "c"


def test_w60_only_the_tables_statuses_prove_a_refusal() -> None:
    """Over all statuses: what proves that nothing was accepted, with the provider's body and without."""
    fault = parse_fault(body(message="no"))
    proven = {status for status in range(300, 600) if proves_refusal(status, fault)}
    assert proven == (set(range(400, 500)) - {408, 499}) | {503, 529}
    assert {status for status in range(300, 600) if proves_refusal(status, None)} == {401, 429}
