"""What one peer may cost the server: sizes, counts and times, each with its unit and its reason."""

from __future__ import annotations

import msgspec

from perdure.events.errors import InvalidRequest

KIB = 1024
MIB = 1024 * KIB

PIECE_BYTES = 64 * KIB
"""The step in which long reads and writes are timed: a peer must move this much in each time limit to stay."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a server. Times are in seconds, sizes in bytes; all must be positive.

    Heads (request line and headers):

    - `head_bytes`: more is answered with 431. Browsers with many cookies stay below 16 KiB.
    - `head_count`: headers in one request; each costs parsing time, so a flood of tiny ones is answered with 431 too.
    - `head_s`: from a head's first byte to its last; slower is answered with 408. It ends the peer that drips bytes.
    - `idle_s`: how long a connection may lie without a byte, before the first request and between two.

    Bodies of requests:

    - `body_bytes`: more is answered with 413. It protects applications that collect a body in memory; one that streams
      raises it for its own request with `limit_body`.
    - `body_s`: while the application waits for a body, each `PIECE_BYTES` of it must arrive in this time, else 408.
      Time in which the application does not ask is not counted, for then we are the slow side.

    Answers:

    - `send_stall_s`: each `PIECE_BYTES` we send must be taken in this time, else the connection is cut.
    - `linger_s`: how long we read on, and throw away, after an answer that left a body unread, so that the peer gets to
      see the answer before the connection ends.

    WebSockets:

    - `websocket_message_bytes`: the longest message (characters, for text); longer closes with 1009.
    - `websocket_queue_bytes`: what may wait for the application before we stop reading from the peer.
    - `websocket_ping_s`: after this much silence we ping; after as much silence again the peer counts as vanished.
    - `websocket_close_s`: how long we wait for the peer's side of the closing handshake.

    The whole server:

    - `connections`: open at once. At the limit we stop accepting (the kernel's backlog holds the next ones) and close
      each connection after its answer instead of keeping it alive, so that nobody waits behind an idle one.
    - `backlog`: connections the kernel may hold for us.
    - `startup_s`: how long the application's lifespan may take to start; `shutdown_s`: to stop.
    - `drain_s`: from the start of a drain until what still runs is cancelled.
    - `farewell_s`: within that, what event streams and WebSockets have to end by themselves before they are told to.
    """

    head_bytes: int = 32 * KIB
    head_count: int = 100
    head_s: float = 10.0
    idle_s: float = 75.0
    body_bytes: int = 64 * MIB
    body_s: float = 30.0
    send_stall_s: float = 30.0
    linger_s: float = 1.0
    websocket_message_bytes: int = 16 * MIB
    websocket_queue_bytes: int = 1 * MIB
    websocket_ping_s: float = 20.0
    websocket_close_s: float = 5.0
    connections: int = 1000
    backlog: int = 256
    startup_s: float = 60.0
    shutdown_s: float = 10.0
    drain_s: float = 30.0
    farewell_s: float = 2.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value: float = getattr(self, name)
            if not value > 0:
                raise InvalidRequest(
                    f"limits.{name} is {value}; give a number above zero", field=f"limits.{name}", value=value
                )
