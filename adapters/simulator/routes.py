"""Routes: which methods they claim, and patterns, by which a fault says which requests it is for.

A pattern is `METHOD /path`, where the method may be `*`, a `*` in a segment of the path stands for any characters
within it, `{name}` for at least one, and a last segment `**` for any rest: `GET /openai/v1/files/*/content`,
`* /openai/**`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from starlette.routing import Route

_FORM = re.compile(r"(\*|[A-Z]+) (/[^\s?#]*)")
_HOLE = re.compile(r"(\{[^/{}]*\}|\*)")


def without_head(routes: Sequence[Route]) -> Sequence[Route]:
    """The routes, which answer to the methods they name and no others.

    Starlette answers HEAD wherever it answers GET; no provider is known to.
    """
    for route in routes:
        if route.methods is not None:
            route.methods.discard("HEAD")
    return routes


class RoutePattern:
    """A pattern. Raises `ValueError` when `text` is not of the form."""

    def __init__(self, text: str) -> None:
        form = _FORM.fullmatch(text)
        if form is None:
            raise ValueError(f"a route is 'METHOD /path', such as 'POST /openai/v1/batches', not {text!r}")
        self.text = text
        self._method = form[1]
        self._segments = form[2].split("/")[1:]
        if any("**" in segment for segment in self._segments[:-1]):
            raise ValueError(f"'**' may only be the last segment of a route: {text!r}")
        self._any_rest = self._segments[-1] == "**"
        if self._any_rest:
            self._segments.pop()
        self._expressions = [re.compile(_expression(segment)) for segment in self._segments]

    def matches(self, method: str, path: str) -> bool:
        """Whether a request is meant."""
        return self._method in ("*", method) and self._fits(path.split("/")[1:])

    def could_match(self, routes: Iterable[tuple[str, str]]) -> bool:
        """Whether some request to one of the routes (method, path with `{name}` for what varies) is meant."""
        return any(self._method in ("*", method) and self._fits(path.split("/")[1:]) for method, path in routes)

    def _fits(self, segments: list[str]) -> bool:
        wanted = len(self._expressions)
        if len(segments) < wanted or (len(segments) > wanted and not self._any_rest):
            return False
        return all(
            expression.fullmatch(segment) or ("{" in segment and re.fullmatch(_expression(segment), own))
            for expression, own, segment in zip(self._expressions, self._segments, segments, strict=False)
        )


def _expression(segment: str) -> str:
    pieces = _HOLE.split(segment)  # what is between holes, and each hole, in turn
    return "".join(re.escape(piece) if n % 2 == 0 else ".*" if piece == "*" else ".+" for n, piece in enumerate(pieces))
