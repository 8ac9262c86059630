"""Configurations that lead to a simulated provider, and never to a real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from perdure.adapters import anthropic, google, openai, xai
from perdure.adapters.composition import ACCOUNTS
from perdure.adapters.config import Config, ProviderConfig, Secret
from perdure.adapters.simulator import ANTHROPIC_PREFIX, GOOGLE_PREFIX, OPENAI_PREFIX, XAI_PREFIX

SIMULATED_KEY: Final = "any-key-will-do"
"""The secret where a test names none: the simulator takes every key but `bad-key`."""

PREFIXES: Final[Mapping[str, str]] = {
    openai.NAME: OPENAI_PREFIX,
    anthropic.NAME: ANTHROPIC_PREFIX,
    google.NAME: GOOGLE_PREFIX,
    xai.NAME: XAI_PREFIX,
}
"""Where each provider is, below a simulator's address."""

KEY_VARIABLES: Final[Mapping[str, str]] = {name: ACCOUNTS[name].key_variables[0] for name in PREFIXES}
"""Where each provider's key usually stands; of several variables the one that wins."""


def aimed(config: Config, url: str) -> Config:
    """`config` with every provider at the simulator at `url`; credentials that it names stay as they are."""
    providers = dict(config.providers)
    for name, prefix in PREFIXES.items():
        settings = providers.get(name, ProviderConfig())
        credentials = settings.credentials or {"default": Secret(SIMULATED_KEY)}
        providers[name] = replace(settings, base_url=url + prefix, credentials=credentials)
    return replace(config, providers=providers)


def environment(url: str) -> dict[str, str]:
    """The variables with which another process finds every provider at the simulator at `url`."""
    addresses = {f"PERDURE_{name.upper()}_BASE_URL": url + prefix for name, prefix in PREFIXES.items()}
    return addresses | dict.fromkeys(KEY_VARIABLES.values(), SIMULATED_KEY)
