"""Ids that a seed decides: the same requests in the same order get the same ids in every run."""

from __future__ import annotations

import hashlib


def digest(seed: int, *parts: object) -> str:
    """64 hexadecimal characters that depend on the seed and on every part."""
    return hashlib.sha256("\x1f".join([str(seed), *map(str, parts)]).encode()).hexdigest()


def make_id(seed: int, prefix: str, *parts: object) -> str:
    """`prefix` and 24 hexadecimal characters."""
    return prefix + digest(seed, prefix, *parts)[:24]
