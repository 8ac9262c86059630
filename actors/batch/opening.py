"""What a batch or a single request is opened with: checks of what callers say, and the command that opens a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, get_args

from msgspec import Struct

from perdure.actors.batch.ports import BatchProvider
from perdure.actors.purchase import SECOND_US
from perdure.events.batch import OpenBatch
from perdure.events.errors import InvalidRequest, UnknownProvider
from perdure.events.purchase import OnUncertain
from perdure.events.texts import check_text

LONGEST_DEADLINE_S = 10 * 365 * 86_400.0
LONGEST_NAME = 256
"""Characters in the name of a credential, a tenant or a principal."""
MOST_RESUBMISSIONS = 100
"""How often the unfinished lines of a batch may be bought again at most."""
MOST_TAGS, LONGEST_TAG = 64, 1_024
"""Tags of one operation, and characters in the name or the value of one: they are kept in its row and listed."""

P = TypeVar("P")


class Polling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a provider is asked how a batch is doing, in seconds.

    `first_s`: None means the provider's own hint, else a table by batch size (30 s below 10 lines to 10 minutes from
    1,000 on). `every_s`: the interval after that; a provider's own hint wins over the default 30 s, not over a number
    that you give.
    """

    first_s: float | None = None
    every_s: float | None = None


SHORTEST_POLL_S, LONGEST_POLL_S = 0.01, 86_400.0
"""The bounds of what `Polling` may say, in seconds: a hundredth, so that no loop goes round without a pause, and a
provider's whole window."""

EVERY_S = 30.0
"""The default interval between polls (the seed's; media contract, section 4.3)."""


class Gathering(Struct, frozen=True, kw_only=True):
    """The window of a batch whose lines come one by one: see `OpenBatch`. `minimum` 0: it is batched in any case."""

    close_after_us: int
    max_lines: int
    max_bytes: int
    minimum: int = 0


def open_command(
    adapter: BatchProvider,
    *,
    endpoint: str,
    model: str,
    credential: str,
    on_uncertain: OnUncertain,
    polling: Polling,
    deadline_us: int = 0,
    resubmit: int = 0,
    tags: Mapping[str, str] | None = None,
    window: Gathering | None = None,
) -> OpenBatch:
    """The command that opens a batch at a provider; with a `window` its lines come one by one."""
    limits = adapter.limits(endpoint or adapter.endpoints[0])
    every_s = EVERY_S if polling.every_s is None else polling.every_s
    return OpenBatch(
        provider=adapter.name,
        endpoint=endpoint,
        model=model,
        credential=credential,
        max_lines=limits.max_lines if window is None else window.max_lines,
        max_bytes=limits.max_bytes if window is None else window.max_bytes,
        window_us=int(adapter.window_s * SECOND_US),
        settle_us=int(adapter.settle_s * SECOND_US),
        every_us=int(every_s * SECOND_US),
        searchable=adapter.searchable,
        first_poll_us=0 if polling.first_s is None else max(1, int(polling.first_s * SECOND_US)),
        hint=polling.every_s is None,
        on_uncertain=on_uncertain,
        deadline_us=deadline_us,
        close_after_us=0 if window is None else window.close_after_us,
        minimum=0 if window is None else window.minimum,
        tags=tags or {},
        resubmit=resubmit,
    )


def known_provider(providers: Mapping[str, P], name: str) -> P:
    """The provider that is called `name`. Raises `UnknownProvider`."""
    provider = providers.get(name)
    if provider is None:
        raise UnknownProvider(
            f"no provider is called {name!r}: one of {', '.join(sorted(providers))}", field="provider", value=name
        )
    return provider


def check_on_uncertain(on_uncertain: OnUncertain) -> None:
    """Raises `InvalidRequest` for a policy that there is not."""
    if on_uncertain not in get_args(OnUncertain):
        raise InvalidRequest(
            f"on_uncertain is {on_uncertain!r}: one of {', '.join(get_args(OnUncertain))}",
            field="on_uncertain",
            value=on_uncertain,
        )


def check_resubmit(resubmit: int) -> None:
    """Raises `InvalidRequest` for what is no number of times, or too many."""
    if type(resubmit) is not int or not 0 <= resubmit <= MOST_RESUBMISSIONS:
        raise InvalidRequest(
            f"resubmit is {resubmit!r}: how often, from 0 to {MOST_RESUBMISSIONS}",
            field="resubmit",
            limit=MOST_RESUBMISSIONS,
            value=resubmit,
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises `InvalidRequest` for tags that are not a mapping of text to text, or too much of it."""
    for name, value in tags.items():
        check_text(name, "tags", longest=LONGEST_TAG)
        check_text(value, f"tags.{name}", longest=LONGEST_TAG, shortest=0)
    if len(tags) > MOST_TAGS:
        raise InvalidRequest(f"there are {len(tags)} tags: at most {MOST_TAGS}", field="tags", limit=MOST_TAGS)


def check_polling(polling: Polling) -> None:
    """Raises `InvalidRequest` for waits that would ask the provider without a pause, or never."""
    for name, value, least in (("first_s", polling.first_s, 0.0), ("every_s", polling.every_s, SHORTEST_POLL_S)):
        if value is not None and not least <= value < LONGEST_POLL_S:
            raise InvalidRequest(
                f"polling.{name} is {value}: give seconds from {least:g} to {LONGEST_POLL_S:g}",
                field=f"polling.{name}",
                limit=least,
                value=value,
            )


def check_deadline(deadline_s: float | None) -> None:
    """Raises `InvalidRequest` for a deadline that is over, or ten years away."""
    if deadline_s is not None and not 0 < deadline_s < LONGEST_DEADLINE_S:
        raise InvalidRequest(
            f"deadline_s is {deadline_s}: give seconds from now, above zero", field="deadline_s", value=deadline_s
        )


def deadline_us(deadline_s: float | None) -> int:
    """A deadline as commands have it: 0 for none, else at least a microsecond."""
    return 0 if deadline_s is None else max(1, int(deadline_s * SECOND_US))
