"""A log as the `eventsourcing` library sees it: its recorders and its factory over our own writer and schema.

For applications that are written with the library and want their aggregates in the same file, with the same guarantees,
and for its conformance cases, which these classes pass. Nothing of perdure's own goes this way: one call here is one
commit, while actors share theirs. The library is imported in this module only, and this module by nothing else of ours.

Set `PERSISTENCE_MODULE=perdure.store.sqlite.library` and `PERDURE_DB` to the path of the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final, TypeVar
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    IntegrityError,
    ListenNotifySubscription,
    Notification,
    OperationalError,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic

from perdure.events.errors import PerdureError
from perdure.events.event import EncodedEvent
from perdure.events.ids import new_id, now_us
from perdure.store.records import Standing
from perdure.store.sqlite.connections import Connections
from perdure.store.sqlite.handle import open_for_writing
from perdure.store.sqlite.ledger import Ledger
from perdure.store.sqlite.lock import LockFile
from perdure.store.sqlite.opening import judge_file, judge_writable, real_path

T = TypeVar("T")

_STANDING: Final = Standing(status="", fold=0, next_due=None)
_END: Final = (1 << 63) - 1
_STREAM: Final = (
    "SELECT e.version, t.name, CAST(e.payload AS BLOB) FROM events e JOIN event_types t ON t.number = e.type "
    "WHERE e.stream = (SELECT id FROM streams WHERE actor = ?) AND e.version > ? AND e.version <= ? ORDER BY e.version "
)
_NOTIFICATIONS: Final = (
    "SELECT e.position, s.actor, e.version, t.name, CAST(e.payload AS BLOB) FROM events e "
    "JOIN streams s ON s.id = e.stream JOIN event_types t ON t.number = e.type "
    "WHERE t.kind = ? AND e.position >= ? AND e.position <= ? "
)


class Datastore:
    """One open log, shared by the recorders of a factory and by their threads."""

    def __init__(self, path: str | Path) -> None:
        file = real_path(path)
        judge_file(file)
        judge_writable(file)
        self._lock_file = LockFile.acquire(file, since=now_us())
        try:
            self._handle = open_for_writing(file, None, "FULL", now_us, new_id)
        except PerdureError:
            self._lock_file.release()
            raise
        self._connections = Connections(file)
        self._writing = Lock()
        self._listeners: set[Event] = set()

    def write(self, events: Sequence[StoredEvent], tracking: Tracking | None, kind: str) -> list[int]:
        """Writes events and tracking in one transaction; gives the positions.

        Raises the library's `IntegrityError` (a version or a tracking position that is taken) and `OperationalError`.
        """
        at = now_us()

        def work(connection: sqlite3.Connection, ledger: Ledger) -> list[int]:
            positions = [
                ledger.place(
                    _actor(kind, event.originator_id),
                    kind,
                    event.originator_version,
                    EncodedEvent(event.topic, 1, at, event.state),
                    _STANDING,
                )
                for event in events
            ]
            ledger.write(at)
            if tracking is not None:
                _track(connection, tracking)
            return positions

        try:
            with self._writing:
                positions = self._handle.writer.run(work)
        except sqlite3.IntegrityError as error:
            raise IntegrityError(str(error)) from error
        except PerdureError as error:
            raise OperationalError(str(error)) from error
        if positions:
            for listener in tuple(self._listeners):
                listener.set()
        return positions

    def read(self, statement: str, *values: str | int) -> list[tuple[Any, ...]]:
        """The rows that a statement gives. Raises the library's `OperationalError`."""
        try:
            return self._connections.use(lambda connection: connection.execute(statement, values).fetchall())
        except PerdureError as error:
            raise OperationalError(str(error)) from error

    def listen(self, event: Event) -> None:
        """Has `event` set after each commit."""
        self._listeners.add(event)

    def unlisten(self, event: Event) -> None:
        """Ends `listen`."""
        self._listeners.discard(event)

    def close(self) -> None:
        """Closes the log."""
        self._connections.close()
        self._handle.close()
        self._lock_file.release()


class PerdureAggregateRecorder(AggregateRecorder):
    """Stores the events of aggregates; `purpose` keeps events and snapshots of one aggregate apart."""

    def __init__(self, datastore: Datastore, purpose: str = "events") -> None:
        self.datastore = datastore
        self.kind = f"eventsourcing/{purpose}"

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """See `AggregateRecorder.insert_events`: all of them or none, durable on return."""
        self._insert(stored_events, **kwargs)
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """See `AggregateRecorder.select_events`."""
        found = self.datastore.read(
            _STREAM + ("DESC LIMIT ?" if desc else "LIMIT ?"),
            _actor(self.kind, originator_id),
            -1 if gt is None else gt,
            _END if lte is None else lte,
            -1 if limit is None else limit,
        )
        return [StoredEvent(originator_id, version, topic, state) for version, topic, state in found]

    def _insert(self, stored_events: Sequence[StoredEvent], tracking: Tracking | None = None) -> list[int]:
        return self.datastore.write(stored_events, tracking, self.kind)


class PerdureApplicationRecorder(PerdureAggregateRecorder, ApplicationRecorder):
    """Also reads all events in order of position. Notification ids are positions: they have gaps where actors wrote."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """See `AggregateRecorder.insert_events`; gives the notification ids."""
        return self._insert(stored_events, **kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """See `ApplicationRecorder.select_notifications`."""
        first = 0 if start is None else start if inclusive_of_start else start + 1
        only = f"AND t.name IN ({', '.join('?' * len(topics))}) " if topics else ""
        found = self.datastore.read(
            f"{_NOTIFICATIONS}{only}ORDER BY e.position LIMIT ?",
            self.kind,
            first,
            _END if stop is None else stop,
            *topics,
            limit,
        )
        return [
            Notification(_originator(self.kind, actor), version, topic, state, position)
            for position, actor, version, topic, state in found
        ]

    def max_notification_id(self) -> int | None:
        """See `ApplicationRecorder.max_notification_id`."""
        found = self.datastore.read(
            "SELECT position FROM events WHERE type IN (SELECT number FROM event_types WHERE kind = ?) "
            "ORDER BY position DESC LIMIT 1",
            self.kind,
        )
        return found[0][0] if found else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """See `ApplicationRecorder.subscribe`: a blocking iterator with a thread, as the library has them."""
        return PerdureSubscription(recorder=self, gt=gt, topics=topics)


class PerdureSubscription(ListenNotifySubscription[PerdureApplicationRecorder]):
    """Yields what was recorded and what comes, woken by the commits of this process."""

    def __init__(self, recorder: PerdureApplicationRecorder, gt: int | None = None, topics: Sequence[str] = ()) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._recorder.datastore.listen(self._has_been_notified)

    def stop(self) -> None:
        """See `Subscription.stop`."""
        super().stop()
        self._recorder.datastore.unlisten(self._has_been_notified)


class PerdureTrackingRecorder(TrackingRecorder):
    """Keeps how far each upstream application was processed."""

    def __init__(self, datastore: Datastore) -> None:
        self.datastore = datastore

    def insert_tracking(self, tracking: Tracking) -> None:
        """See `TrackingRecorder.insert_tracking`: only forwards, durable on return."""
        self.datastore.write((), tracking, "")

    def max_tracking_id(self, application_name: str) -> int | None:
        """See `TrackingRecorder.max_tracking_id`."""
        found = self.datastore.read("SELECT position FROM tracking WHERE name = ?", application_name)
        return found[0][0] if found else None


class PerdureProcessRecorder(PerdureTrackingRecorder, PerdureApplicationRecorder, ProcessRecorder):
    """Both at once: `insert_events(…, tracking=…)` writes events and tracking in one transaction."""

    def __init__(self, datastore: Datastore) -> None:
        PerdureApplicationRecorder.__init__(self, datastore)


class PerdureFactory(InfrastructureFactory[PerdureTrackingRecorder]):
    """Makes recorders over the log that `PERDURE_DB` names. `close` gives the log back."""

    PERDURE_DB = "PERDURE_DB"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        path = self.env.get(self.PERDURE_DB)
        if not path:
            names = ", ".join(self.env.create_keys(self.PERDURE_DB))
            raise OSError(f"no log is named: set one of {names} to its path")
        self.datastore = Datastore(path)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """See `InfrastructureFactory.aggregate_recorder`."""
        return PerdureAggregateRecorder(self.datastore, purpose)

    def application_recorder(self) -> ApplicationRecorder:
        """See `InfrastructureFactory.application_recorder`."""
        return self._class_named(self.APPLICATION_RECORDER_TOPIC, PerdureApplicationRecorder)(self.datastore)

    def tracking_recorder(
        self, tracking_recorder_class: type[PerdureTrackingRecorder] | None = None
    ) -> PerdureTrackingRecorder:
        """See `InfrastructureFactory.tracking_recorder`."""
        if tracking_recorder_class is None:
            tracking_recorder_class = self._class_named(self.TRACKING_RECORDER_TOPIC, PerdureTrackingRecorder)
        return tracking_recorder_class(self.datastore)

    def process_recorder(self) -> ProcessRecorder:
        """See `InfrastructureFactory.process_recorder`."""
        return self._class_named(self.PROCESS_RECORDER_TOPIC, PerdureProcessRecorder)(self.datastore)

    def close(self) -> None:
        """Closes the log; the recorders are of no use after it."""
        self.datastore.close()

    def _class_named(self, variable: str, default: type[T]) -> type[T]:
        topic = self.env.get(variable)
        if not topic:
            return default
        found: Any = resolve_topic(topic)
        if not (isinstance(found, type) and issubclass(found, default)):
            raise OSError(f"{variable} names {topic!r}, which is no {default.__name__}")
        return found


def _track(connection: sqlite3.Connection, tracking: Tracking) -> None:
    moved = connection.execute(
        "INSERT INTO tracking VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET position = excluded.position "
        "WHERE excluded.position > tracking.position",
        (tracking.application_name, tracking.notification_id),
    )
    if moved.rowcount == 0:
        raise sqlite3.IntegrityError(
            f"{tracking.application_name!r} was processed up to {tracking.notification_id} or further already"
        )


def _actor(kind: str, originator_id: UUID | str) -> str:
    if isinstance(originator_id, UUID):
        return f"{kind}/uuid/{originator_id.hex}"
    return f"{kind}/text/{originator_id}"


def _originator(kind: str, actor: str) -> UUID | str:
    form, _, name = actor.removeprefix(f"{kind}/").partition("/")
    return UUID(name) if form == "uuid" else name
