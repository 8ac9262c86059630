"""Writes docs/defaults.md from the configuration's structs and the network engine's defaults.

python tools/write_defaults.py            writes the page
python tools/write_defaults.py --check    ends with 1 when the page is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from perdure.actors.batch.asks import CANCEL_PATIENCE_US, OVERDUE_MARGIN_US
from perdure.actors.batch.opening import EVERY_S
from perdure.actors.batch.state import FIRST_POLLS_US, LONGEST_FIRST_POLL_US
from perdure.actors.purchase import BLOCKED_RETRY_US, SECOND_US
from perdure.actors.runtime.supervision import FIRST_WAIT_US, LIMIT, LONGEST_WAIT_US
from perdure.adapters.composition import ACCOUNTS
from perdure.adapters.config import ENVIRONMENT_PREFIX, Config
from perdure.adapters.network.config import DEFAULT_QUEUES
from perdure.adapters.network.retry import RetryPolicy

PAGE = Path(__file__).resolve().parent.parent / "docs/defaults.md"

_OPENING = """\
# Defaults

Every setting and its default. Written by `make docs` from the code. What is set wins in this order: an option or an
argument, a `PERDURE_…` variable, `perdure.toml` beside you, your own file (`perdure config path` names both), the
default. What each setting means stands with the struct of the same name in `adapters/config.py`.
"""


def settings(struct: type, path: str = "") -> Iterator[tuple[str, str, str]]:
    """The dotted name, default and variable of every setting below `struct`."""
    for field in msgspec.structs.fields(struct):
        name = f"{path}{field.name}"
        default: Any = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        if isinstance(default, msgspec.Struct):
            yield from settings(type(default), f"{name}.")
        elif isinstance(default, Mapping) and name != "providers":
            yield name, "empty", ""  # tables have no variable
        elif isinstance(default, Mapping):
            yield name, "empty: each provider's own", f"{ENVIRONMENT_PREFIX}<PROVIDER>_BASE_URL"
        else:
            variable = ENVIRONMENT_PREFIX + name.upper().replace(".", "_")
            yield name, "not set" if default is None or default == () else str(default), variable


def page() -> str:
    """The whole page."""
    lines = [_OPENING, "| setting | default | variable |", "| --- | --- | --- |"]
    for name, default, variable in settings(Config):
        lines.append(f"| `{name}` | {default} | {f'`{variable}`' if variable else 'none'} |")
    lines += ["", "## Providers", "", "| provider | base URL | key from |", "| --- | --- | --- |"]
    for name, account in sorted(ACCOUNTS.items()):
        variables = ", else ".join(f"`{variable}`" for variable in account.key_variables)
        lines.append(f"| {name} | `{account.base_url}` | {variables} |")
    lines += ["", "## Batches", "", "| what | seconds |", "| --- | --- |"]
    lines += [f"| first poll below {bound:,} lines | {wait // SECOND_US} |" for bound, wait in FIRST_POLLS_US]
    lines += [
        f"| first poll of larger batches | {LONGEST_FIRST_POLL_US // SECOND_US} |",
        f"| interval between polls | {EVERY_S:g} |",
        f"| a blocked operation tries again by itself after | {BLOCKED_RETRY_US // SECOND_US} |",
        f"| overdue, and cancelled there, after the provider's window and | {OVERDUE_MARGIN_US // SECOND_US} |",
        f"| given up after a cancel that does not end | {CANCEL_PATIENCE_US // SECOND_US} |",
        "",
        "A provider's own hint for the next poll wins over these, a number that you set wins over the hint.",
        "",
        "## Failures of our own code",
        "",
        "| what | value |",
        "| --- | --- |",
        f"| failures of one effect before its actor is parked | {LIMIT} |",
        f"| first wait, doubled each time (s) | {FIRST_WAIT_US / SECOND_US:g} |",
        f"| longest wait (s) | {LONGEST_WAIT_US / SECOND_US:g} |",
        "",
        "## Network",
        "",
        "By provider and traffic class; `any` is what no other row says. Limits that a provider reports are learnt.",
        "",
        "| provider | traffic | requests at a time | waiting at most |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {provider or 'any'} | {traffic or 'any'} | {queue.concurrency} | {queue.max_waiting:,} |"
        for (provider, traffic), queue in DEFAULT_QUEUES.items()
    ]
    lines += ["", "| retry | default |", "| --- | --- |"]
    lines += [f"| `{name}` | {value} |" for name, value in _flat(RetryPolicy())]
    return "\n".join(lines) + "\n"


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The dotted names and values of everything in a struct or a mapping."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _flat(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, Any]", value).items():
            yield from _flat(inner, f"{path}.{name}")
    else:
        yield path.removeprefix("."), str(value)


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else "docs/defaults.md is out of date")
    PAGE.write_text(text, encoding="utf-8")
