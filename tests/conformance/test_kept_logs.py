"""Logs that earlier commits wrote are read by today's code as they were: same states, same effects, nothing refused."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path

import pytest

import perdure
from perdure.events.provider_file import UploadOrdered
from perdure.store.sqlite.schema import SCHEMA_VERSION
from tests.logs.pins import kept_logs, pins_of

LOGS = pytest.mark.parametrize("folder", kept_logs(), ids=lambda folder: folder.name)


@LOGS
def test_a_kept_log_is_byte_for_byte_what_was_written(folder: Path) -> None:
    digest, _, name = (folder / "SHA256").read_text().split()[0], "", "perdure.db"
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


@LOGS
@pytest.mark.trio
async def test_every_prefix_of_every_stream_folds_to_its_pinned_state_and_effects(folder: Path) -> None:
    assert await pins_of(folder) == (folder / "pins.txt").read_text().splitlines(), (
        "today's code reads this log differently: look at the difference, raise the kind's fold number, "
        "then run `python -m tests.logs.pins`"
    )


@LOGS
@pytest.mark.trio
async def test_a_kept_log_verifies_and_can_be_taken_up_again(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "perdure.db"
    shutil.copy(folder / "perdure.db", path)
    async with perdure.open(path, config=perdure.Config()) as service:
        verified = await service.log.verify()
        assert verified.ok, verified.faults
        assert verified.anomalies == 0
        found = await service.find("plain")
        assert found is not None
        assert found.status == "succeeded"


@pytest.mark.trio
async def test_a_retired_event_is_upcast_while_its_bytes_stay(tmp_path: Path) -> None:
    folder = kept_logs()[0]
    path = tmp_path / "perdure.db"
    shutil.copy(folder / "perdure.db", path)
    with sqlite3.connect(path) as connection:
        stored = connection.execute(
            "SELECT count(*) FROM events e JOIN event_types t ON t.number = e.type WHERE t.name = 'UploadAsked'"
        ).fetchone()[0]
    assert stored > 0, "the log no longer holds the retired event: this test would show nothing"
    async with perdure.read(path) as reader:
        orders = [
            (await (await reader.get(summary.id)).state()).order async for summary in reader.list(kind="provider_file")
        ]
    assert len(orders) == stored
    assert all(isinstance(order, UploadOrdered) for order in orders)


@pytest.mark.trio
async def test_a_log_of_the_first_format_is_read_as_it_is_and_migrated_by_its_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "perdure.db"
    shutil.copy(kept_logs()[0] / "perdure.db", path)

    def file_format() -> int:
        with sqlite3.connect(path) as connection:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            return int(found)

    assert file_format() == 1
    async with perdure.read(path) as reader:
        assert await reader.find("plain") is not None
    assert file_format() == 1
    async with perdure.open(path, config=perdure.Config()) as service:
        assert await service.find("plain") is not None
    assert file_format() == SCHEMA_VERSION
