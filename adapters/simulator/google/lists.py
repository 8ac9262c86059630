"""Pages of Google's lists: `pageSize`, `pageToken` and `nextPageToken`."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from msgspec import Struct
from starlette.requests import Request

from perdure.adapters.simulator.google.errors import invalid
from perdure.adapters.simulator.storage import Page, Tables

DEFAULT_PAGE: Final = 10
MAX_PAGE: Final = 100
"""How many objects are on a page, unless fewer are asked for, and at most (`contracts/providers.md` section 3.1, which
says it of files)."""


class PageQuery(Struct, frozen=True):
    """Which page is asked for. `token` stands for the last object of the page before, "" for the first page."""

    size: int
    token: str

    def read(self, tables: Tables, kind: str, now: float) -> Page:
        """Reads the page, the newest first. Raises `ApiError` 400 for a token that stands for nothing."""
        after = None
        if self.token:
            after = tables.place(kind, _last_id(self.token))
            if after is None:
                raise invalid("The page token is not valid.", "page_token")
        return tables.page(kind, now=now, limit=self.size, newest_first=True, after=after)


def page_query(request: Request) -> PageQuery:
    """Reads the parameters. Raises `ApiError` 400 for a size that no page has."""
    said = request.query_params.get("pageSize")
    if not said or said == "0":
        size = DEFAULT_PAGE
    elif not said.isdecimal() or int(said) > MAX_PAGE:
        raise invalid(f"'pageSize' is a number up to {MAX_PAGE}, not '{said}'.", "page_size")
    else:
        size = int(said)
    return PageQuery(size, request.query_params.get("pageToken", ""))


def token_behind(id_: str) -> str:
    """The token for the page behind the object with this id."""
    return urlsafe_b64encode(id_.encode()).decode()


def _last_id(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode("ascii")).decode("ascii")
    except ValueError:
        return ""
