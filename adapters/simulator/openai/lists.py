"""Pages of lists: the parameters `after`, `limit` and `order`, and the answer `{"object": "list", …}`."""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct, json
from starlette.requests import Request
from starlette.responses import Response

from perdure.adapters.simulator.openai.errors import invalid
from perdure.adapters.simulator.storage import Page, Tables


class Listing(Struct, frozen=True):
    """The body of a list answer. `first_id` and `last_id` are null for an empty page."""

    data: list[Raw]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


class PageQuery(Struct, frozen=True):
    """Which page is asked for. `after` is the id of the last object of the page before, empty for the first page."""

    after: str
    limit: int
    newest_first: bool

    def read(self, tables: Tables, kind: str, now: float, *, tag: str | None = None, noun: str = "") -> Page:
        """Reads the page. Raises `ApiError` 400 when `after` names nothing of this kind, which errors call `noun`."""
        after = None
        if self.after:
            after = tables.place(kind, self.after)
            if after is None:
                raise invalid(f"'after' names no {noun or kind}: '{self.after}'.", "after")
        return tables.page(kind, now=now, limit=self.limit, newest_first=self.newest_first, after=after, tag=tag)


def page_query(request: Request, *, limit: int, max_limit: int, with_order: bool) -> PageQuery:
    """Reads the paging parameters. Lists start with the newest, if nothing else is asked for.

    `limit` is the default and `max_limit` the bound. Raises `ApiError` 400 for a limit that is no number or out of
    bounds, and for an unknown order.
    """
    text = request.query_params.get("limit", str(limit))
    try:
        asked = int(text)
    except ValueError:
        raise invalid(f"'limit' must be a whole number, not '{text}'.", "limit", "invalid_type") from None
    if not 1 <= asked <= max_limit:
        raise invalid(f"'limit' must be between 1 and {max_limit}, not {asked}.", "limit", "integer_out_of_range")
    order = request.query_params.get("order", "desc") if with_order else "desc"
    if order not in ("asc", "desc"):
        raise invalid(f"'order' must be 'asc' or 'desc', not '{order}'.", "order")
    return PageQuery(request.query_params.get("after", ""), asked, order == "desc")


def list_response(items: list[tuple[str, bytes]], *, has_more: bool) -> Response:
    """The answer for one page of (id, JSON) pairs."""
    first, last = (items[0][0], items[-1][0]) if items else (None, None)
    return json_response(Listing([Raw(doc) for _, doc in items], first, last, has_more))


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer with a JSON body."""
    return Response(json.encode(value), status, headers, media_type="application/json")
