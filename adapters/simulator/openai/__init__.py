"""OpenAI's wire, simulated.

`app` puts the routes together; `files`, `uploads`, `batches`, `live`, `images`, `audio` and `videos` are the routes;
`lifecycle` says what becomes of a batch, `lines` reads and writes its files, `answers` is what the models say; `wire`,
`lists`, `bodies`, `given` and `errors` are the shapes.
"""

from perdure.adapters.simulator.openai.app import OpenAIApp as OpenAIApp
from perdure.adapters.simulator.openai.audio import Speech as Speech
from perdure.adapters.simulator.openai.batches import Batches as Batches
from perdure.adapters.simulator.openai.files import Files as Files
from perdure.adapters.simulator.openai.images import Images as Images
from perdure.adapters.simulator.openai.live import Live as Live
from perdure.adapters.simulator.openai.uploads import Uploads as Uploads
from perdure.adapters.simulator.openai.videos import Videos as Videos
