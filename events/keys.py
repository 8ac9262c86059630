"""Keys: the names that callers give to operations, one namespace for each (tenant, log)."""

from __future__ import annotations

from typing import Final

from perdure.events.errors import InvalidRequest
from perdure.events.ids import ID_PREFIXES
from perdure.events.texts import check_text

LONGEST_KEY: Final = 512
CREDENTIAL_PREFIXES: Final = ("sk-", "AIza", "xai-", "dct_", "ek_")
"""How the credentials of the providers that we know begin: such a key is refused and never repeated anywhere."""

OWN_PREFIX: Final = "perdure:"
"""How keys begin that perdure itself gives; nobody else may."""


def check_key(key: str) -> str:
    """`key`, if it may name an operation. Raises `InvalidRequest`; the message never holds what looks like a secret."""
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are untyped
        raise InvalidRequest(f"a key is a string, not {type(key).__name__}", field="key")
    if key.startswith(CREDENTIAL_PREFIXES):
        raise InvalidRequest("the key looks like a credential and is not used: choose another name", field="key")
    if not 1 <= len(key) <= LONGEST_KEY:
        raise InvalidRequest(
            f"a key has 1 to {LONGEST_KEY} characters, this one has {len(key)}",
            field="key",
            limit=LONGEST_KEY,
            value=len(key),
        )
    check_text(key, "key", longest=LONGEST_KEY)
    if key.startswith(OWN_PREFIX):
        raise InvalidRequest(f"keys that begin with {OWN_PREFIX} are perdure's own: choose another name", field="key")
    prefix, underscore, _ = key.partition("_")
    if underscore and prefix in ID_PREFIXES:
        raise InvalidRequest(
            f"the key {key[:40]!r} begins like an id of ours ({prefix}_): choose another name", field="key", value=key
        )
    return key
