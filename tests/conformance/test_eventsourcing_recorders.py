"""The cases that the eventsourcing library ships for its recorders, run on a log of ours."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent, Tracking
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    InfrastructureFactoryTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)
from eventsourcing.utils import Environment, get_topic

from perdure.store.sqlite import open_log
from perdure.store.sqlite.library import (
    Datastore,
    PerdureAggregateRecorder,
    PerdureApplicationRecorder,
    PerdureFactory,
    PerdureProcessRecorder,
    PerdureTrackingRecorder,
)
from tests.store.sqlite.toys import CODEC, TOY, Hand


class _WithLog:
    """Gives each case a log of its own."""

    datastore: Datastore

    def setUp(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.datastore = Datastore(Path(self._directory.name) / "log.db")

    def tearDown(self) -> None:
        self.datastore.close()
        self._directory.cleanup()


class TestAggregateRecorder(_WithLog, AggregateRecorderTestCase):
    """Events of aggregates."""

    def create_recorder(self) -> PerdureAggregateRecorder:
        return PerdureAggregateRecorder(self.datastore)


class TestAggregateRecorderWithTextIds(TestAggregateRecorder):
    """The same with ids that are text."""

    def new_originator_id(self) -> UUID | str:
        return f"aggregate/{uuid4()}"


class TestApplicationRecorder(_WithLog, ApplicationRecorderTestCase[PerdureApplicationRecorder]):
    """Notifications, subscriptions, concurrent use."""

    def create_recorder(self) -> PerdureApplicationRecorder:
        return PerdureApplicationRecorder(self.datastore)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(_WithLog, TrackingRecorderTestCase):
    """Positions of upstream applications."""

    def create_recorder(self) -> PerdureTrackingRecorder:
        return PerdureTrackingRecorder(self.datastore)


class TestProcessRecorder(_WithLog, ProcessRecorderTestCase):
    """Events and tracking in one transaction."""

    def create_recorder(self) -> PerdureProcessRecorder:
        return PerdureProcessRecorder(self.datastore)


class TestNonInterleaving(_WithLog, NonInterleavingNotificationIDsBaseCase):
    """The events of one call have neighbouring notification ids."""

    def create_recorder(self) -> PerdureApplicationRecorder:
        return PerdureApplicationRecorder(self.datastore)


class _Subclassed(PerdureTrackingRecorder):
    """Named by a topic."""


class TestFactory(InfrastructureFactoryTestCase[PerdureFactory]):
    """Recorders by environment variables."""

    def setUp(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.env = Environment("App")
        self.env[PerdureFactory.PERSISTENCE_MODULE] = "perdure.store.sqlite.library"
        self.env[PerdureFactory.PERDURE_DB] = f"{self._directory.name}/log.db"
        super().setUp()

    def tearDown(self) -> None:
        super().tearDown()
        self._directory.cleanup()

    def expected_factory_class(self) -> type[PerdureFactory]:
        return PerdureFactory

    def expected_aggregate_recorder_class(self) -> type[PerdureAggregateRecorder]:
        return PerdureAggregateRecorder

    def expected_application_recorder_class(self) -> type[PerdureApplicationRecorder]:
        return PerdureApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[PerdureTrackingRecorder]:
        return PerdureTrackingRecorder

    def tracking_recorder_subclass(self) -> type[PerdureTrackingRecorder]:
        return _Subclassed

    def expected_process_recorder_class(self) -> type[PerdureProcessRecorder]:
        return PerdureProcessRecorder


# The abstract cases are collected by their names too; they have no recorder to run on.
del AggregateRecorderTestCase, ApplicationRecorderTestCase, InfrastructureFactoryTestCase
del NonInterleavingNotificationIDsBaseCase, ProcessRecorderTestCase, TrackingRecorderTestCase


def test_a_factory_without_a_path_says_which_variables_it_looked_at() -> None:
    with pytest.raises(OSError, match="APP_PERDURE_DB"):
        PerdureFactory(Environment("App"))


def test_a_topic_that_names_something_else_is_refused(tmp_path: Path) -> None:
    factory = PerdureFactory({"PERDURE_DB": str(tmp_path / "log.db"), "PROCESS_RECORDER_TOPIC": get_topic(Path)})
    try:
        with pytest.raises(OSError, match="PROCESS_RECORDER_TOPIC"):
            factory.process_recorder()
    finally:
        factory.close()


def test_events_are_not_written_without_their_tracking(tmp_path: Path) -> None:
    datastore = Datastore(tmp_path / "log.db")
    try:
        recorder = PerdureProcessRecorder(datastore)
        recorder.insert_tracking(Tracking("upstream", 5))
        with pytest.raises(IntegrityError, match="upstream"):
            recorder.insert_events([StoredEvent("a", 1, "t", b"{}")], tracking=Tracking("upstream", 5))
        assert recorder.select_events("a") == []
        assert recorder.max_notification_id() is None
    finally:
        datastore.close()


@pytest.mark.trio
async def test_aggregates_and_actors_share_one_log_and_one_chain(tmp_path: Path) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await hand.add(log, 1)
    datastore = Datastore(tmp_path / "log.db")
    try:
        recorder = PerdureApplicationRecorder(datastore)
        assert recorder.insert_events([StoredEvent("a", version, "t", b"\xff\x00{") for version in (1, 2)]) == [2, 3]
        assert [note.id for note in recorder.select_notifications(None, 10)] == [2, 3]
        assert recorder.select_events("a")[0].state == b"\xff\x00{"
    finally:
        datastore.close()
    async with open_log(tmp_path / "log.db", codecs=None) as log:
        await hand.add(log, 2)
        found = await log.verify([TOY])
    found.raise_if_bad()
    assert (found.records, found.unfolded) == (4, {"eventsourcing/events": 1})


def test_dataclasses_behave_after_the_library_was_imported() -> None:
    @dataclasses.dataclass(frozen=True, order=True)
    class Point:
        x: int
        y: int = 2

    assert Point(1) == Point(1, 2)
    assert Point(1) < Point(2)
    assert dataclasses.replace(Point(1), y=5) == Point(1, 5)
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2}
    with pytest.raises(dataclasses.FrozenInstanceError):
        Point(1).x = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_nothing_else_of_ours_loads_the_library() -> None:
    code = (
        "import sys, perdure.store.sqlite, perdure.store.replay, perdure.actors.runtime;"
        "sys.exit('eventsourcing' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
