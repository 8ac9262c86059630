"""Anthropic: the provider of files, of single answers and of message batches.

The wire is in `contracts/providers.md` section 2.

| module | holds |
| --- | --- |
| `files`, `live`, `batches` | the ports, over a `Fetch` |
| `searching` | which batch is the one that may have been created |
| `requests`, `reading` | bodies for prompts, what answers say: pure |
| `lines` | lines of batches: pure |
| `wire` | Anthropic's objects |
| `account` | address, key and version |
"""

from perdure.adapters.anthropic.account import BASE_URL as BASE_URL
from perdure.adapters.anthropic.account import KEY_VARIABLE as KEY_VARIABLE
from perdure.adapters.anthropic.account import NAME as NAME
from perdure.adapters.anthropic.account import VERSION as VERSION
from perdure.adapters.anthropic.account import authorize as authorize
from perdure.adapters.anthropic.batches import AnthropicBatches as AnthropicBatches
from perdure.adapters.anthropic.files import AnthropicFiles as AnthropicFiles
from perdure.adapters.anthropic.live import AnthropicLive as AnthropicLive
