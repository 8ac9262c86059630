"""`Sealed[T]`: the place in an event where personal data stands, from the first version of that event on.

While sealing is off the value is plain: `{"p": …}`. Sealed, it is `{"s": subject, "n": nonce, "c": ciphertext}`; once
the subject's key is destroyed nobody can open it any more and it reads as `ERASED`, which every fold carries through
as a value. Fields of this type therefore never need a rewrite of history when sealing is switched on.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType

T = TypeVar("T")


class Erased(Enum):
    """What a sealed value reads as when its key is gone or not here."""

    ERASED = "erased"


ERASED: Final = Erased.ERASED


class Sealed(Struct, Generic[T], frozen=True, omit_defaults=True):
    """A value that may be personal. Make one with `plain(value)`, read it with `open()`."""

    p: T | UnsetType = UNSET
    s: str | None = None
    n: bytes | None = None
    c: bytes | None = None

    def open(self) -> T | Erased:
        """The value, or `ERASED` when it is sealed and no key is at hand."""
        return ERASED if self.p is UNSET else self.p


def plain(value: T) -> Sealed[T]:
    """`value`, unsealed."""
    return Sealed(p=value)
