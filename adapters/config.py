"""Configuration: one tree of structs, filled from options, the environment, files and defaults, in that order.

Secrets are named, not held: a credential is `Env("VARIABLE")`, read each time it is used, or a `Secret` that a program
hands over, which never shows itself.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec
import platformdirs
from msgspec import Struct

from perdure.actors.batch.opening import Polling
from perdure.actors.batch.strategy import BatchStrategy
from perdure.actors.resolving.strategy import DefaultFileStrategy
from perdure.adapters.network.config import QueueSettings
from perdure.adapters.urls.addresses import parse_networks
from perdure.events.budget import Budget, check_budgets
from perdure.events.errors import InvalidRequest
from perdure.events.pricing import Rates

FILE_NAME: Final = "perdure.toml"
USER_FILE_NAME: Final = "config.toml"
ENVIRONMENT_PREFIX: Final = "PERDURE_"


class Env(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="env"):
    """A credential that stands in an environment variable; read whenever it is needed, never kept."""

    variable: str


class Secret(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="secret"):
    """A credential that a program hands over. It is never written, logged or shown."""

    value: str

    def __repr__(self) -> str:
        return "Secret(…)"


class ProviderConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider: where it is, the credentials by name, and limits of our own on top of those that it reports.

    `base_url`: None means the provider's own. `credentials`: empty means `{"default": Env(<its usual variable>)}`.
    """

    base_url: str | None = None
    credentials: Mapping[str, Secret | Env] = {}
    limits: QueueSettings | None = None


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a service keeps in memory and how long it takes its leave.

    `mailbox_bytes`: commands that may wait for one actor before their senders wait too. `resident_bytes`: states of
    actors that are kept folded. `grace_s`: how long leaving waits for effects in flight. `purchase_grace_s`: the same
    for purchases that could not be found again at the provider. `stop_s`: how long the commit in hand and owed reports
    may take when the service is cut off.
    """

    mailbox_bytes: int = 4_000_000
    resident_bytes: int = 64_000_000
    grace_s: float = 10.0
    purchase_grace_s: float = 60.0
    stop_s: float = 5.0


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. Providers that are not named work with their defaults.

    `synchronous`: with `FULL` every acknowledged commit survives a power cut; with `NORMAL` it survives a kill, and a
    power cut may lose the last ones. `fetch_urls`: URLs in sources and prompts may be fetched from here, from public
    addresses only. `fetch_networks`: networks such as `10.0.0.0/8` that they may be fetched from as well.
    `file_strategy`: how providers get to see the files in prompts. `prices`: what models cost, by `provider/model` or
    by the model's name alone; they win over the prices that are known here. `budgets`: what may be spent; see `Budget`.
    `webhook_secrets`: what a provider's webhooks are verified with, by provider; for OpenAI by default the variable
    `OPENAI_WEBHOOK_SECRET`.
    """

    providers: Mapping[str, ProviderConfig] = {}
    batching: BatchStrategy = BatchStrategy()
    polling: Polling = Polling()
    limits: Limits = Limits()
    webhook_secrets: Mapping[str, Secret | Env] = {}
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    fetch_urls: bool = False
    fetch_networks: Sequence[str] = ()
    file_strategy: DefaultFileStrategy = DefaultFileStrategy()
    prices: Mapping[str, Rates] = {}
    budgets: Sequence[Budget] = ()

    @staticmethod
    def load(*, directory: Path | None = None, environ: Mapping[str, str] | None = None, **options: Any) -> Config:
        """The configuration of a program started in `directory` (by default the current one).

        `options` are fields that the program itself sets, such as `polling=Polling(every_s=5)`; they win over all else.

        `perdure.toml` there wins over the user's own file; variables win over both: `PERDURE_POLLING_EVERY_S=5`,
        `PERDURE_LIMITS_GRACE_S=1`, `PERDURE_<PROVIDER>_BASE_URL=…`. Raises `InvalidRequest` that names the place.
        """
        merged: dict[str, Any] = {}
        for _, values in layers(directory=directory, environ=environ):
            _merge(merged, values)
        return msgspec.structs.replace(_convert(merged, "the configuration"), **options)


def config_files(directory: Path | None = None) -> list[Path]:
    """The files that are read, least important first; they need not exist."""
    user = Path(platformdirs.user_config_dir("perdure")) / USER_FILE_NAME
    return [user, (directory or Path.cwd()) / FILE_NAME]


def layers(
    *, directory: Path | None = None, environ: Mapping[str, str] | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """What each place says, least important first: its name, and its values as a tree. Raises `InvalidRequest`."""
    variables = os.environ if environ is None else environ
    return [
        *((str(path), _read(path)) for path in config_files(directory)),
        ("environment", _from_environment(variables)),
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} cannot be read: {error}", field=str(path)) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{path} is not valid TOML: {error}", field=str(path)) from error
    _convert(values, str(path))
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or not text:
            continue
        rest = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        section, _, field = rest.partition("_")
        if rest.endswith("_base_url"):
            provider = rest.removesuffix("_base_url")
            values.setdefault("providers", {}).setdefault(provider, {})["base_url"] = text
        elif section in ("batching", "polling", "limits"):
            values.setdefault(section, {})[field] = _number(name, text)
        elif rest == "synchronous":
            values["synchronous"] = text
        elif rest == "fetch_urls":
            values["fetch_urls"] = _switch(name, text)
        elif rest == "fetch_networks":
            values["fetch_networks"] = [network.strip() for network in text.split(",")]
    return values


def _number(name: str, text: str) -> float:
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError as error:
        raise InvalidRequest(f"{name} is {text!r}: give a number", field=name, value=text) from error


def _switch(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InvalidRequest(f"{name} is {text!r}: give true or false", field=name, value=text)
    return text.lower() == "true"


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], cast("Mapping[str, Any]", value))
        else:
            into[name] = value


def _convert(values: Mapping[str, Any], where: str) -> Config:
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{where}: {error}", field=where) from error
    parse_networks(config.fetch_networks, field=f"{where}: fetch_networks")
    check_budgets(config.budgets, field=f"{where}: budgets")
    return config
