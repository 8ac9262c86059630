"""How commands of perdure are made: the options that all of them have, and modules that load only when named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar, cast

import click

from perdure.adapters.cli.terminal import COLORS, FORMATS, TIME_STYLES, Terminal

HELP_COLUMNS = 80
TABLE_OR_LINES = "table on a terminal, jsonl in a pipe"

Function = TypeVar("Function", bound=Callable[..., Any])
CONTEXT: Mapping[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": HELP_COLUMNS,
    "show_default": True,
}


def common_parameters() -> list[click.Parameter]:
    """The options of every command."""
    return [
        click.Option(["--color"], type=click.Choice(COLORS), default="auto", help="When to use colour."),
        click.Option(["-q", "--quiet"], is_flag=True, help="Say nothing on standard error but errors."),
        click.Option(["-v", "--verbose"], is_flag=True, help="Show perdure's own log on standard error."),
    ]


def result_parameters(unasked: str) -> list[click.Parameter]:
    """The options of every command that has results to show; `unasked` says how it writes them by default."""
    return [
        click.Option(
            ["-f", "--format", "format_"],
            type=click.Choice(FORMATS),
            help=f"How to write results.  [default: {unasked}]",
            show_default=False,
        ),
        click.Option(
            ["--time", "time_style"],
            type=click.Choice(TIME_STYLES),
            help="How tables show times.  [default: relative on a terminal, iso in a pipe]",
            show_default=False,
        ),
    ]


class Command(click.Command):
    """A command with the common options. Its callback is handed the `Terminal` first."""

    def __init__(
        self, *arguments: Any, results: bool = False, unasked: str = TABLE_OR_LINES, **attributes: Any
    ) -> None:
        attributes["context_settings"] = {**CONTEXT, **(attributes.get("context_settings") or {})}
        attributes["params"] = [
            *(attributes.get("params") or []),
            *(result_parameters(unasked) if results else []),
            *common_parameters(),
        ]
        super().__init__(*arguments, **attributes)

    def invoke(self, ctx: click.Context) -> Any:
        """Takes the common options off the parameters, into the terminal, and runs the command."""
        terminal = ctx.ensure_object(Terminal)
        terminal.color = ctx.params.pop("color")
        terminal.quiet = ctx.params.pop("quiet")
        terminal.verbose = ctx.params.pop("verbose")
        if "format_" in ctx.params:
            terminal.format = ctx.params.pop("format_")
            terminal.time = ctx.params.pop("time_style")
        terminal.start_logging()
        callback = cast("Callable[..., Any]", self.callback)
        return ctx.invoke(callback, terminal, **ctx.params)


class Group(click.Group):
    """A noun. Its verbs are loaded from `{name: "module:attribute"}` when they are named."""

    def __init__(self, *arguments: Any, verbs: Mapping[str, str] | None = None, **attributes: Any) -> None:
        attributes["context_settings"] = {**CONTEXT, **(attributes.get("context_settings") or {})}
        super().__init__(*arguments, **attributes)
        self._verbs = dict(verbs or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which they were given."""
        return [*self._verbs, *(name for name in self.commands if name not in self._verbs)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, loaded now if need be."""
        place = self._verbs.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        return cast("click.Command", getattr(import_module(f"perdure.adapters.cli.{module}"), attribute))


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """A decorator that makes a `Command`; `results=True` adds the options about results, `unasked` their default."""

    def decorate(function: Callable[..., Any]) -> Command:
        return click.command(name, cls=Command, **attributes)(function)

    return decorate


def group(name: str, verbs: Mapping[str, str], help_: str) -> Group:
    """A noun with its verbs."""
    return Group(name, verbs=verbs, help=help_)
