"""OpenAI: the providers of batches, of the files that they need, and of single answers.

The wire is in `contracts/providers.md` section 1.

| module | holds |
| --- | --- |
| `batches`, `files`, `live` | the ports, over a `Fetch` |
| `paging`, `download` | reading lists, page by page, and result files, streamed |
| `requests`, `content`, `lines`, `wire` | bodies and input lines, messages, output and error lines, objects: pure |
| `account`, `answers` | address and key, what an answer that cannot be read means |
"""

from perdure.adapters.openai.account import BASE_URL as BASE_URL
from perdure.adapters.openai.account import KEY_VARIABLE as KEY_VARIABLE
from perdure.adapters.openai.account import NAME as NAME
from perdure.adapters.openai.account import authorize as authorize
from perdure.adapters.openai.batches import OpenAIBatches as OpenAIBatches
from perdure.adapters.openai.files import OpenAIFiles as OpenAIFiles
from perdure.adapters.openai.live import OpenAILive as OpenAILive
