"""OpenAI: the providers of batches, of files, of single answers, and of images and speech.

The wire is in `contracts/providers.md` section 1; what others speak too is in `adapters/openai_compatible`.

| module | holds |
| --- | --- |
| `batches`, `live`, `media`, `remote_files` | the ports, over a `Fetch` |
| `images`, `speech` | what `media` sends and reads |
| `uploads`, `download` | sending large files in parts, reading result files: streamed |
| `requests`, `lines`, `wire` | input lines, output and error lines, OpenAI's own objects: pure |
| `account` | address and key |
"""

from perdure.adapters.openai.account import BASE_URL as BASE_URL
from perdure.adapters.openai.account import KEY_VARIABLE as KEY_VARIABLE
from perdure.adapters.openai.account import NAME as NAME
from perdure.adapters.openai.account import authorize as authorize
from perdure.adapters.openai.batches import OpenAIBatches as OpenAIBatches
from perdure.adapters.openai.live import OpenAILive as OpenAILive
from perdure.adapters.openai.media import OpenAIMedia as OpenAIMedia
from perdure.adapters.openai.remote_files import OpenAIRemoteFiles as OpenAIRemoteFiles
