"""Options that several commands share, and the values they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from perdure.events.durations import parse_duration
from perdure.events.errors import InvalidRequest

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_DB = "./perdure.db"


class Duration(click.ParamType[float]):
    """A length of time: seconds, or a number with one of the units ms, s, m, h, d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        try:
            return parse_duration(value)
        except InvalidRequest:
            self.fail(
                f"{value!r} is no length of time: give seconds, or a number with ms, s, m, h or d, up to 366d",
                param,
                ctx,
            )


class OperationStatus(click.ParamType[str]):
    """How an operation stands."""

    name = "status"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """One of `perdure.actors.views.Status`."""
        from perdure.actors.views import Status

        known = get_args(Status)
        if value not in known:
            self.fail(f"{value!r} is no status: use one of {', '.join(known)}", param, ctx)
        return str(value)


class Tag(click.ParamType[tuple[str, str]]):
    """A `name=value` pair."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The pair."""
        if isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType] - click hands converted values back
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail("a tag is NAME=VALUE", param, ctx)
        return name, text


def db_option(function: Function) -> Function:
    """`--db`: which log."""
    return click.option(
        "--db",
        envvar="PERDURE_DB",
        default=DEFAULT_DB,
        metavar="FILE",
        help="The log: a path, or sqlite:///PATH. Also PERDURE_DB.",
    )(function)


def lock_option(function: Function) -> Function:
    """`--wait-for-lock`: for commands that write the log."""
    return click.option(
        "--wait-for-lock",
        "wait_for_lock_s",
        type=Duration(),
        default=0.0,
        show_default=False,
        metavar="SECONDS",
        help="How long to wait for another process that writes the log to end.  [default: 0]",
    )(function)


def file_argument(name: str) -> Callable[[Function], Function]:
    """A path, or `-` for a standard stream; looked at by the command itself."""
    return click.argument(name, type=click.Path(path_type=Path, allow_dash=True))
