"""What a provider says that its answer cost."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw

from perdure.adapters.openai_compatible.reading import read_body
from perdure.adapters.reading import reported_cost
from perdure.events.requests import Answer, LineError


@pytest.mark.parametrize(
    ("ticks", "dollars", "expected"),
    [
        (b"37756000", b"", 37_756_000),
        (b"", b"0.00014", 1_400_000),
        (b"", b"0.1", 1_000_000_000),
        (b"0", b"", 0),
        (b"", b"", None),
        (b"null", b"null", None),
    ],
)
def test_c4_ticks_and_dollars_are_read_exactly(ticks: bytes, dollars: bytes, expected: int | None) -> None:
    assert reported_cost(Raw(ticks), Raw(dollars)) == expected


@pytest.mark.parametrize("said", ['"0.5"', "true", "-1", "{}", "[]", '"free"', "1e300", "99999999999999999999999"])
def test_c16_what_is_no_number_is_ignored(said: str) -> None:
    assert reported_cost(Raw(said.encode()), Raw(b"")) is None
    assert reported_cost(Raw(b""), Raw(said.encode())) is None


def test_c16_an_answer_does_not_fail_for_an_odd_price() -> None:
    body: dict[str, object] = {
        "output": [],
        "status": "completed",
        "service_tier": "default",
        "usage": {"input_tokens": 3, "cost_in_usd_ticks": "many", "cost": None},
    }
    answer = read_body(json.dumps(body).encode())
    assert isinstance(answer, Answer)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.cost_ticks) == (3, None)
    assert answer.usage.service_tier == "default"


def test_a_failed_response_keeps_the_usage_that_it_was_paid_for() -> None:
    body = {"status": "failed", "error": {"code": "server_error"}, "usage": {"input_tokens": 3, "output_tokens": 0}}
    error = read_body(json.dumps(body).encode())
    assert isinstance(error, LineError)
    assert error.usage is not None
    assert error.usage.input_tokens == 3
