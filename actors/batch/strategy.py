"""Strategies: which requests wait for company, for how long, and how many it takes to be worth a batch.

A strategy decides once for each request, by a value that goes into the log with the window it opens; what was decided
holds after a crash too. Defaults are the seed's (media contract, section 4.3).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from perdure.events.errors import InvalidRequest


class Submission(Struct, frozen=True, kw_only=True):
    """What a strategy judges: where a request wants to go, how many wait for the same window, how many requestors live.

    `waiting` counts the requests in the open window of the same group, this one not included. `requestors` are those
    that said so: see `Requestors`.
    """

    provider: str
    endpoint: str
    model: str
    waiting: int
    requestors: int


class Window(Struct, frozen=True, kw_only=True):
    """How a window collects: at most `open_s` seconds from its first request on, and at most `max_lines` requests (or
    what the provider takes, if that is less). With fewer than `minimum` requests when it closes, each goes live."""

    open_s: float
    max_lines: int
    minimum: int


SHORTEST_WINDOW_S: Final = 0.1
LONGEST_WINDOW_S: Final = 30 * 86_400.0
"""How long a window may stay open: long enough that its first line is durable before it closes, and a month."""


def check_window(window: Window) -> Window:
    """`window`, if it takes lines and closes. Raises `InvalidRequest`."""
    if not SHORTEST_WINDOW_S <= window.open_s <= LONGEST_WINDOW_S:
        raise InvalidRequest(
            f"a window is open for {SHORTEST_WINDOW_S} to {LONGEST_WINDOW_S:.0f} seconds, not {window.open_s}",
            field="batching.window_s",
            limit=SHORTEST_WINDOW_S,
            value=window.open_s,
        )
    if window.max_lines < 1:
        raise InvalidRequest(
            f"a window takes at least one request, not {window.max_lines}",
            field="batching.max_lines",
            limit=1,
            value=window.max_lines,
        )
    return window


class BatchStrategy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The default: whoever waits for the window's end and finds company is batched.

    `window_s`: how long a window stays open from its first request on, in seconds. `minimum`: how many requests it must
    hold when it closes to be sent as a batch; with `via="batch"` one is enough. `max_lines`: how many close it at once.
    Subclass it and override `window` for a rule of your own.
    """

    window_s: float = 10.0
    minimum: int = 3
    max_lines: int = 50_000

    def window(self, submission: Submission) -> Window | None:
        """The window that a request with `via="auto"` waits in; None sends it live at once."""
        return Window(open_s=self.window_s, max_lines=self.max_lines, minimum=self.minimum)


class MarkedRequestors(BatchStrategy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The seed's rule: requests wait for each other once `minimum` requestors live, whatever else is waiting.

    Requestors are counted by `service.requestors`, not by what they send.
    """

    def window(self, submission: Submission) -> Window | None:
        """A window, for as long as enough requestors live."""
        if submission.requestors < self.minimum:
            return None
        return Window(open_s=self.window_s, max_lines=self.max_lines, minimum=1)


class Requestor:
    """One who will send requests that may be batched; an agent that acts `instead_of` its client stands for both."""

    def __init__(self, instead_of: Requestor | None) -> None:
        self.instead_of = instead_of


class Requestors:
    """Knows who will send requests that may be batched. The count follows from who lives; nothing is added up."""

    def __init__(self) -> None:
        self._living: set[Requestor] = set()

    @property
    def count(self) -> int:
        """How many live now; a client for whom an agent acts counts once, and by itself again when the agent ends."""
        return len(self._living - {requestor.instead_of for requestor in self._living})

    @contextmanager
    def requestor(self, *, instead_of: Requestor | None = None) -> Generator[Requestor]:
        """A requestor that lives while the block runs."""
        mine = Requestor(instead_of)
        self._living.add(mine)
        try:
            yield mine
        finally:
            self._living.discard(mine)
