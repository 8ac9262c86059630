"""Google's Gemini developer API: the providers of batches, of files and of single answers.

The wire is in `contracts/providers.md` section 3.

| module | holds |
| --- | --- |
| `batches`, `files`, `live` | the ports, over a `Fetch` |
| `uploads`, `results` | resumable uploads, reading what batches answer: streamed |
| `requests`, `reading`, `wire`, `fields` | bodies for prompts, what answers say, Google's objects: pure |
| `lines`, `places`, `scan` | a batch's requests and results, which is which, taking operations apart: pure |
| `names`, `refusals` | what files are called, and what is meant by 403: pure |
| `account` | address and key |
"""

from perdure.adapters.google.account import BASE_URL as BASE_URL
from perdure.adapters.google.account import KEY_VARIABLES as KEY_VARIABLES
from perdure.adapters.google.account import NAME as NAME
from perdure.adapters.google.account import authorize as authorize
from perdure.adapters.google.batches import GoogleBatches as GoogleBatches
from perdure.adapters.google.files import GoogleFiles as GoogleFiles
from perdure.adapters.google.live import GoogleLive as GoogleLive
