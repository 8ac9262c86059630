"""A small ASGI server on trio: HTTP/1.1 read by h11, WebSocket by wsproto, on one port.

`serve` runs an application; `Limits` is what a peer may cost; `draining` and `limit_body` are for the application.
Files: `serve`, `listen` and `socket_stream` (sockets), `lifespan`, `reception` (an application's connections),
`connection` (one), `exchange` (one request), `websocket` (one session), `peer` (a stream with a queue); without I/O:
`head`, `body`, `answer`, `handshake`.
"""

from perdure.adapters.server.asgi import ASGIApp as ASGIApp
from perdure.adapters.server.asgi import draining as draining
from perdure.adapters.server.asgi import limit_body as limit_body
from perdure.adapters.server.errors import AddressInUse as AddressInUse
from perdure.adapters.server.errors import AddressRefused as AddressRefused
from perdure.adapters.server.errors import ApplicationFault as ApplicationFault
from perdure.adapters.server.errors import LifespanFailed as LifespanFailed
from perdure.adapters.server.errors import PeerGone as PeerGone
from perdure.adapters.server.limits import Limits as Limits
from perdure.adapters.server.listen import Bound as Bound
from perdure.adapters.server.reception import Reception as Reception
from perdure.adapters.server.serve import serve as serve
