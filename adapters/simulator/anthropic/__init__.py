"""Anthropic's wire, simulated: files, messages and models.

`provider` and `app` put the routes together; `files`, `messages` and `models` are the routes; `content` checks what
stands in messages; `headers` and `errors` are what every answer and every refusal has. Sources: `docs/simulator.md`.
"""

from perdure.adapters.simulator.anthropic.provider import ANTHROPIC_PREFIX as ANTHROPIC_PREFIX
from perdure.adapters.simulator.anthropic.provider import simulated_anthropic as simulated_anthropic
