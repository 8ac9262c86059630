"""What the simulated models say, at every provider: texts that the seed and the request decide.

A text is `[<digest of seed and request>] ` and the beginning of the prompt, so that two answers can be told apart, a
wrong one is seen, and the same request gets the same text in every run.
"""

from __future__ import annotations

import hashlib
from typing import Final

NO_MODEL: Final = "nope"
"""The one model that does not exist. Every other name is taken."""

ECHO_CHARACTERS: Final = 200
"""How much of the prompt an answer repeats, in characters."""

CHARACTERS_PER_TOKEN: Final = 4
"""A rule of thumb for English text; the simulator has no tokenizer."""


def speak(prompt: str, *, seed: int, endpoint: str, body: bytes, salt: str = "") -> str:
    """The answer of `endpoint` to a request body that asks `prompt`; `salt` changes it."""
    told_apart = hashlib.sha256(f"{seed}\x1f{endpoint}\x1f{salt}\x1f".encode() + body).hexdigest()
    return f"[{told_apart[:16]}] {prompt[:ECHO_CHARACTERS]}"


def count_tokens(text: str) -> int:
    """How many tokens a text is taken for: a quarter of its characters, rounded up, one at least."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))
