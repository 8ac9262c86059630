"""Our own small table: unit prices of models that the price library has not, in US dollars.

Read on 21 November 2026; `prices` of the configuration override every row. Sources: OpenAI's price list for videos
(platform.openai.com/docs/pricing: sora-2 0.10 a second at 720p, sora-2-pro 0.30 at 720p and 0.50 at 1024p); Google's
price list (ai.google.dev/gemini-api/docs/pricing: Veo a second by resolution with sound, Imagen a picture). What xAI
answers says itself what it cost (contracts/providers.md section 4), so that nothing of it needs to stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perdure.adapters.prices.books import ConfiguredPrices
from perdure.events.pricing import Rates

TABLE_VERSION: Final = "2026-11-21"

_VEO: Final = Rates(per_second=0.40, per_unit={"720p": 0.40, "1080p": 0.40, "4k": 0.60})
_VEO_FAST: Final = Rates(per_second=0.10, per_unit={"720p": 0.10, "1080p": 0.12, "4k": 0.30})
_VEO_LITE: Final = Rates(per_second=0.05, per_unit={"720p": 0.05, "1080p": 0.08})

TABLE: Final[Mapping[str, Rates]] = {
    "openai/sora-2": Rates(per_second=0.10, aliases=("sora-2-2025-10-06", "sora-2-2025-12-08")),
    "openai/sora-2-pro": Rates(
        per_second=0.30, per_unit={"720p": 0.30, "1024p": 0.50}, aliases=("sora-2-pro-2025-10-06",)
    ),
    "google/veo-3.1-generate-preview": _VEO,
    "google/veo-3.1-generate-001": _VEO,
    "google/veo-3.1-fast-generate-preview": _VEO_FAST,
    "google/veo-3.1-fast-generate-001": _VEO_FAST,
    "google/veo-3.1-lite-generate-preview": _VEO_LITE,
    "google/veo-3.1-lite-generate-001": _VEO_LITE,
    "google/imagen-4.0-generate-001": Rates(per_image=0.04),
    "google/imagen-4.0-ultra-generate-001": Rates(per_image=0.06),
    "google/imagen-4.0-fast-generate-001": Rates(per_image=0.02),
}
"""Rates by provider and model, US dollars for a second of video or a picture."""


class TablePrices(ConfiguredPrices):
    """The table as a price book."""

    def __init__(self) -> None:
        super().__init__(TABLE, source="table", version=f"perdure {TABLE_VERSION}")
