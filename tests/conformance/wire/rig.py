"""All contracts, and the simulators that they are held against."""

from __future__ import annotations

from typing import Final

from tests.conformance.wire.anthropic_cases import ANTHROPIC
from tests.conformance.wire.contract import Contract
from tests.conformance.wire.google_cases import GOOGLE
from tests.conformance.wire.openai_cases import OPENAI
from tests.conformance.wire.xai_cases import XAI

CONTRACTS: Final[list[Contract]] = [OPENAI, ANTHROPIC, GOOGLE, XAI]
