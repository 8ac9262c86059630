"""Encoding requests where the model stands in the path."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from perdure.actors.encoding import digest_of, encode_request
from perdure.events.errors import InvalidRequest
from perdure.events.requests import Prompt, RawRequest

ENDPOINTS = ("/v1/models/{model}:ask", "/v1/plain")


class PathNamed:
    """A provider whose first endpoint has the model in its path."""

    name = "named"

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """The content alone."""
        return RawRequest(endpoint.replace("{model}", prompt.model), {"say": prompt.content})

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """From the path, or the body's own."""
        if endpoint == "/v1/plain":
            return str(body["model"] or "")
        return endpoint.rpartition("/")[2].removesuffix(":ask")


def test_the_path_names_the_model_and_is_what_is_recorded() -> None:
    encoded = encode_request(PathNamed(), Prompt("x", model="m-1"), endpoints=ENDPOINTS, endpoint=None)
    assert (encoded.endpoint, encoded.model, encoded.body) == ("/v1/models/m-1:ask", "m-1", b'{"say":"x"}')
    raw = RawRequest("/v1/models/m-2:ask", {"say": "x"})
    other = encode_request(PathNamed(), raw, endpoints=ENDPOINTS, endpoint=None)
    assert (other.model, other.body) == ("m-2", encoded.body)
    assert digest_of("named", other) != digest_of("named", encoded), "another model is another request"


def test_beside_it_an_endpoint_may_have_the_model_in_the_body() -> None:
    raw = RawRequest("/v1/plain", {"model": "m-3"})
    assert encode_request(PathNamed(), raw, endpoints=ENDPOINTS, endpoint=None).model == "m-3"
    with pytest.raises(InvalidRequest, match="names no model"):
        encode_request(PathNamed(), RawRequest("/v1/plain", {}), endpoints=ENDPOINTS, endpoint=None)


@pytest.mark.parametrize(
    "url",
    [
        "/v1/models/{model}:tell",
        "/v1/models/:ask",
        "/v1/models/a/b:ask",
        "/v1/models/m:ask?x=1",
        "/v1/models:ask",
        "/v2/models/m:ask",
        "/v1/plain/m",
    ],
)
def test_a_path_that_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        encode_request(PathNamed(), RawRequest(url, {}), endpoints=ENDPOINTS, endpoint=None)
    assert refused.value.field == "url"
