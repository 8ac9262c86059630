"""The limits as values, and the application's helpers under a server that is not ours."""

from __future__ import annotations

import pytest

from perdure.adapters.server import Limits, draining, limit_body
from perdure.events.errors import InvalidRequest


@pytest.mark.parametrize("name", Limits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_that_is_not_above_zero_is_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match=f"limits.{name}") as caught:
        Limits(**{name: value})  # type: ignore[arg-type]  # the point is a value that no type stops
    assert caught.value.field == f"limits.{name}"


def test_every_limit_is_explained() -> None:
    assert all(f"`{name}`" in (Limits.__doc__ or "") for name in Limits.__struct_fields__)


def test_the_helpers_do_nothing_under_another_server() -> None:
    scope: dict[str, object] = {"type": "http"}
    limit_body(scope, 10)
    assert not draining(scope).is_set()
    assert scope == {"type": "http"}
