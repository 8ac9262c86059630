"""On whose behalf commands are given."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class Who(Struct, frozen=True):
    """On whose behalf commands are given. `subject`: the person whom files are about, for erasing them one day."""

    tenant: str = ""
    principal: str = ""
    subject: str = ""
    tags: Mapping[str, str] = {}
