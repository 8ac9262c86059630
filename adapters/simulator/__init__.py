"""A loopback server that speaks the providers' wires, keeps its own account of what was bought, and fails when told to.

`Simulator` embeds one, `simulate` runs one on a port, `python -m perdure.adapters.simulator` is one in a process of its
own. `faults` has what can be told to go wrong; the same as JSON, and all routes, are in `docs/simulator.md`.

Files: `simulator` (put together), `gate` (notes requests, carries out faults), `control` (the `/_sim` routes),
`faults`, `rates`, `routes` (patterns), `holds`, `traffic`, `account`, `storage`, `clock`, `ids`, `world`; `provider`
says what each provider brings, `filestore`, `multipart`, `forms`, `download`, `bodies`, `keys` and `speech` are what
they share, and `media/` makes their images, speech and videos; `openai/`, `anthropic/`, `google/` and `xai/` are wires.
"""

from perdure.adapters.simulator.account import Account as Account
from perdure.adapters.simulator.account import Purchase as Purchase
from perdure.adapters.simulator.anthropic import ANTHROPIC_PREFIX as ANTHROPIC_PREFIX
from perdure.adapters.simulator.clock import Clock as Clock
from perdure.adapters.simulator.gate import Dropped as Dropped
from perdure.adapters.simulator.google import GOOGLE_PREFIX as GOOGLE_PREFIX
from perdure.adapters.simulator.simulator import DEFAULT_BATCH_S as DEFAULT_BATCH_S
from perdure.adapters.simulator.simulator import DEFAULT_VIDEO_S as DEFAULT_VIDEO_S
from perdure.adapters.simulator.simulator import OPENAI_PREFIX as OPENAI_PREFIX
from perdure.adapters.simulator.simulator import Simulator as Simulator
from perdure.adapters.simulator.simulator import simulate as simulate
from perdure.adapters.simulator.xai import XAI_PREFIX as XAI_PREFIX
