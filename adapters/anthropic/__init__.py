"""Anthropic: the provider of files and of single answers.

The wire is in `contracts/providers.md` section 2.

| module | holds |
| --- | --- |
| `files`, `live` | the ports, over a `Fetch` |
| `requests`, `reading` | bodies for prompts, what answers say: pure |
| `wire` | Anthropic's objects |
| `account` | address, key and version |
"""

from perdure.adapters.anthropic.account import BASE_URL as BASE_URL
from perdure.adapters.anthropic.account import KEY_VARIABLE as KEY_VARIABLE
from perdure.adapters.anthropic.account import NAME as NAME
from perdure.adapters.anthropic.account import VERSION as VERSION
from perdure.adapters.anthropic.account import authorize as authorize
from perdure.adapters.anthropic.files import AnthropicFiles as AnthropicFiles
from perdure.adapters.anthropic.live import AnthropicLive as AnthropicLive
