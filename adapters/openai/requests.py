"""What OpenAI batches, and how much at a time; the lines themselves are in `openai_compatible/input_lines`. Pure.

Sources: `contracts/providers.md` section 1.2 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.adapters.openai_compatible import bodies
from perdure.adapters.openai_compatible.input_lines import body_of as body_of
from perdure.adapters.openai_compatible.input_lines import encode_line as encode_line

ENDPOINTS: Final[Sequence[str]] = (
    *bodies.ENDPOINTS,
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
)
"""The endpoints whose requests may be batched. `/v1/videos` is left out: its line answers with a job that somebody
would have to follow, which a batch's results do not do."""

MAX_LINES: Final = 50_000
"""The most lines of one batch (section 1.2). Embeddings count inputs, not lines; OpenAI checks that one."""

MAX_INPUT_BYTES: Final = 200_000_000
"""The largest input file of one batch, 200 MB (section 1.2), read as decimal: the smaller of the two readings."""
