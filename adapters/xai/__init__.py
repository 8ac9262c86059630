"""xAI: the providers of batches, files and single answers, on the wire that it shares with OpenAI.

The wire is in `contracts/providers.md` section 4; what it shares is in `adapters/openai_compatible`.
"""

from perdure.adapters.xai.account import BASE_URL as BASE_URL
from perdure.adapters.xai.account import KEY_VARIABLE as KEY_VARIABLE
from perdure.adapters.xai.account import NAME as NAME
from perdure.adapters.xai.account import authorize as authorize
from perdure.adapters.xai.batches import XaiBatches as XaiBatches
from perdure.adapters.xai.live import XaiLive as XaiLive
from perdure.adapters.xai.remote_files import XaiRemoteFiles as XaiRemoteFiles
