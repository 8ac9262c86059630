"""An orphan, the part that does I/O: it is deleted at its provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perdure.actors.fetch import FetchError, Network, Refused
from perdure.actors.kind import NO_INDEX, Again, Effect, Index, Port, Row
from perdure.actors.nowhere import Nowhere
from perdure.actors.orphan import state as pure
from perdure.actors.orphan.state import CODEC, FOLD, KIND, DeleteRemote, OrphanState
from perdure.actors.purchase import PASSING, SECOND_US
from perdure.actors.remote_files import RemoteFiles
from perdure.events.command import Command
from perdure.events.event import Event
from perdure.events.orphan import LeaveOrphan, NoteOrphanDeleted

PATIENCE_US: Final = 600 * SECOND_US
"""How long deleting is tried again after errors that may pass. Somebody waits for the end of a sweep, and the next one
finds what this one left."""

LONGEST_WAIT_S: Final = 60.0


class Orphans:
    """The kind of orphans; see `perdure.actors.kind.Kind`."""

    name = KIND
    fold = FOLD
    codec = CODEC

    def __init__(self, *, providers: Mapping[str, RemoteFiles], network: Network) -> None:
        self._providers = providers
        self._network = network

    @classmethod
    def unwired(cls) -> Orphans:
        """The kind with nothing outside: it folds and judges, and performs nothing."""
        return cls(providers={}, network=Nowhere())

    def initial(self, actor: str, tenant: str) -> OrphanState:
        """See `Kind`."""
        return pure.initial(actor, tenant)

    def decide(self, state: OrphanState, command: Command, at: int) -> Sequence[Event]:
        """See `Kind`."""
        return pure.decide(state, command, at)

    def evolve(self, state: OrphanState, event: Event) -> OrphanState:
        """See `Kind`."""
        return pure.evolve(state, event)

    def effects(self, state: OrphanState) -> Sequence[Effect]:
        """See `Kind`."""
        return pure.effects(state)

    def row(self, state: OrphanState) -> Row:
        """See `Kind`."""
        return pure.row(state)

    def index(self, event: Event) -> Index:
        """See `Kind`: an orphan names no blob and has no parts."""
        return NO_INDEX

    def weight(self, state: OrphanState) -> int:
        """See `Kind`."""
        return 1_200

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        """See `Kind`."""
        assert isinstance(effect, DeleteRemote)
        found = effect.found
        remote_files = self._providers.get(found.provider)
        if remote_files is None:
            await port.report(LeaveOrphan("unknown_provider", f"no file store of {found.provider!r} is known here"))
            return None
        fetch = self._network.bind(effect.lane, trace=port.trace)
        try:
            await remote_files.delete(fetch, found.remote_id)
        except FetchError as error:
            waited_us = port.now() - found.at
            kind = error.kind if isinstance(error, Refused) else "not_sent"
            if kind in PASSING and waited_us <= PATIENCE_US:
                grown_s = min(LONGEST_WAIT_S, max(1.0, waited_us / SECOND_US / 4))
                return Again(max(error.retry_after_s or 0.0, grown_s))
            await port.report(LeaveOrphan(error.provider_code or kind, str(error)))
        else:
            await port.report(NoteOrphanDeleted())
        return None
