"""Route patterns: which requests a fault is for."""

from __future__ import annotations

import pytest

from perdure.adapters.simulator.routes import RoutePattern

ROUTES = [("GET", "/v1/files/{id}"), ("POST", "/v1/files"), ("POST", "/{version}/models/{model}:ask")]


@pytest.mark.parametrize(
    ("pattern", "method", "path", "matches"),
    [
        ("POST /v1/files", "POST", "/v1/files", True),
        ("POST /v1/files", "GET", "/v1/files", False),
        ("* /v1/files", "GET", "/v1/files", True),
        ("GET /v1/files/*", "GET", "/v1/files/file-1", True),
        ("GET /v1/files/*", "GET", "/v1/files/file-1/content", False),
        ("GET /v1/files/file-*", "GET", "/v1/files/upload-1", False),
        ("GET /v1/files/{id}/content", "GET", "/v1/files/file-1/content", True),
        ("GET /v1/**", "GET", "/v1/files/file-1/content", True),
        ("GET /v1/**", "GET", "/v2/files", False),
        ("GET /v1.files", "GET", "/v1xfiles", False),
        ("POST /{version}/models/{model}:ask", "POST", "/v1/models/m:ask", True),
        ("POST /{version}/models/{model}:ask", "POST", "/v1/models/m:tell", False),
        ("POST /v1/models/*:ask", "POST", "/v1/models/m:ask", True),
    ],
)
def test_a_pattern_matches(pattern: str, method: str, path: str, matches: bool) -> None:
    assert RoutePattern(pattern).matches(method, path) is matches


@pytest.mark.parametrize(
    "text", ["", "POST", "/v1/files", "post /v1/files", "POST v1/files", "POST /a/**/b", "GET /a b"]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="route"):
        RoutePattern(text)


@pytest.mark.parametrize(
    ("pattern", "possible"),
    [
        ("GET /v1/files/file-1", True),
        ("* /v1/*", True),
        ("DELETE /v1/files", False),
        ("GET /v1/file/x", False),
        ("GET /v1/files/x/y", False),
        ("POST /v1/models/m:ask", True),
        ("POST /{version}/models/{model}:ask", True),
        ("POST /v1/models/*:ask", True),
        ("POST /v1/models/m:tell", False),
    ],
)
def test_a_pattern_for_no_route_is_told_apart(pattern: str, possible: bool) -> None:
    assert RoutePattern(pattern).could_match(ROUTES) is possible
