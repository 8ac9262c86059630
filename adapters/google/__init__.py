"""Google's Gemini developer API: the providers of files and of single answers.

The wire is in `contracts/providers.md` section 3.

| module | holds |
| --- | --- |
| `files`, `live` | the ports, over a `Fetch` |
| `uploads` | resumable uploads |
| `requests`, `reading`, `wire` | bodies for prompts, what answers say, Google's objects: pure |
| `names`, `refusals` | what files are called, and what is meant by 403: pure |
| `account` | address and key |
"""

from perdure.adapters.google.account import BASE_URL as BASE_URL
from perdure.adapters.google.account import KEY_VARIABLES as KEY_VARIABLES
from perdure.adapters.google.account import NAME as NAME
from perdure.adapters.google.account import authorize as authorize
from perdure.adapters.google.files import GoogleFiles as GoogleFiles
from perdure.adapters.google.live import GoogleLive as GoogleLive
