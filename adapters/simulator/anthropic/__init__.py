"""Anthropic's wire, simulated: files, messages, message batches and models.

`provider` and `app` put the routes together; `files`, `messages`, `batches` and `models` are the routes; `content`
checks what stands in messages; `lifecycle` and `lines` are what batches are and what their requests become; `headers`,
`lists` and `errors` are what every answer, every list and every refusal has. Sources: `docs/simulator.md`.
"""

from perdure.adapters.simulator.anthropic.provider import ANTHROPIC_PREFIX as ANTHROPIC_PREFIX
from perdure.adapters.simulator.anthropic.provider import simulated_anthropic as simulated_anthropic
