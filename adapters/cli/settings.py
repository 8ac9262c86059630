"""`perdure config`: what is set, and where that was said. Secrets are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from perdure.adapters.cli.command import command, group
from perdure.adapters.cli.output import Column, show
from perdure.adapters.cli.terminal import Terminal

MASK = "(hidden)"


@command("show", results=True)
def show_(terminal: Terminal) -> int:
    """Show every setting, its value, and where it comes from.

    An option beats the environment (PERDURE_POLLING_EVERY_S=5), which beats perdure.toml here, which beats your own
    file, which beats the default. Secrets are hidden; for a key that stands in a variable, the variable is named.

    \b
    Example:
      perdure config show --format table
    """
    from perdure.adapters.composition import ACCOUNTS
    from perdure.adapters.config import Config, layers

    effective: dict[str, tuple[Any, str]] = {}
    for provider, account in ACCOUNTS.items():
        effective[f"providers.{provider}.base_url"] = (account.base_url, "default")
        variables = " or ".join(account.key_variables)
        effective[f"providers.{provider}.credentials.default.variable"] = (variables, "default")
    config = Config.load()
    for name, value in _leaves(msgspec.to_builtins(config)).items():
        if value is not None or name not in effective:
            effective[name] = (value, "default")
    for place, values in layers():
        for name in _leaves(values):
            if name in effective:
                effective[name] = (effective[name][0], place)
    rows = [
        {"name": name, "value": MASK if _is_secret(name) else value, "from": place}
        for name, (value, place) in sorted(effective.items())
    ]
    show(terminal, rows, [Column("name"), Column("value"), Column("from")])
    return 0


@command("path", results=True)
def path(terminal: Terminal) -> int:
    """Show the files that settings are read from.

    The more important comes last. They need not exist.

    \b
    Example:
      perdure config path
    """
    from perdure.adapters.config import config_files

    rows = [{"path": str(file), "exists": file.is_file()} for file in config_files()]
    show(terminal, rows, [Column("path"), Column("exists")])
    return 0


def _leaves(tree: Mapping[str, Any], name: str = "") -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for field, value in tree.items():
        place = f"{name}.{field}" if name else field
        if isinstance(value, Mapping):
            found.update(_leaves(cast("Mapping[str, Any]", value), place))
        else:
            found[place] = value
    return found


def _is_secret(name: str) -> bool:
    """Whether a setting is the value of a credential."""
    parts = name.split(".")
    return len(parts) == 5 and parts[0] == "providers" and parts[2] == "credentials" and parts[4] == "value"


config = group(
    "config",
    {"show": "settings:show_", "path": "settings:path"},
    """Show what is set, and where that was said.

    Settings come from options, the environment, perdure.toml and your own file.

    \b
    Example:
      perdure config show --format table
    """,
)
