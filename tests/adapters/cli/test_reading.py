"""The commands that read a log: events, ops, doctor, config."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.adapters.cli.shell import Shell, read_until, run_arguments
from tests.secrets import assert_no_key, unique_key


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, simulator_url: str) -> Shell:
    """A folder whose log holds one finished batch with the key `mine`."""
    shell = Shell(tmp_path_factory.mktemp("finished"), simulator_url)
    shell.questions(5)
    ended = shell.perdure(*run_arguments("--key", "mine", "--tag", "team=north"))
    assert ended.code == 0, ended.err
    return shell


@pytest.fixture
def log(finished: Shell, tmp_path: Path) -> Shell:
    """A copy of that folder, to do with as a test likes."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    return Shell(tmp_path, finished.url)


def _tamper(log: Shell, statement: str) -> None:
    with closing(sqlite3.connect(log.folder / "perdure.db")) as connection, connection:
        assert connection.execute(statement).rowcount == 1


# ---------------------------------------------------------------- ops


def test_operations_are_listed_and_filtered(log: Shell) -> None:
    (row,) = log.refused("ops", "list", "--kind", "batch").rows()
    assert (row["key"], row["status"], row["tags"]["team"]) == ("mine", "succeeded", "north")
    assert row["progress"] == {"status": "succeeded", "done": 5, "total": 5, "note": ""}
    assert len(log.refused("ops", "list").rows()) == 2
    assert len(log.refused("ops", "list", "--tag", "team=north").rows()) == 1
    assert log.refused("ops", "list", "--status", "running").rows() == []
    table = log.refused("ops", "list", "--format", "table").out
    assert row["id"] in table, "ids are never shortened"


def test_an_operation_is_found_by_id_and_by_key(log: Shell) -> None:
    (by_key,) = log.refused("ops", "show", "mine").rows()
    (by_id,) = log.refused("ops", "show", by_key["id"]).rows()
    assert by_id == by_key
    missing = log.refused("ops", "show", "yours")
    assert missing.code == 3
    assert "'yours'" in missing.err
    assert "perdure ops list" in missing.err


def test_the_state_at_any_version_and_time(log: Shell) -> None:
    events = log.refused("events", "show", "mine").rows()
    submitted = next(event for event in events if event["type"] == "BatchSubmitted")
    version = submitted["version"]
    (before,) = log.refused("ops", "state", "mine", "--at", str(version - 1)).rows()
    (after,) = log.refused("ops", "state", "mine", "--at", str(version)).rows()
    assert (before["version"], after["version"]) == (version - 1, version)
    assert before["state"]["parts"][0]["purchase"]["phase"] == "intended"
    assert after["state"]["parts"][0]["purchase"]["phase"] == "bought"
    (then,) = log.refused("ops", "state", "mine", "--at-time", submitted["at"]).rows()
    assert then["state"] == after["state"]
    changed = log.refused("ops", "state", "mine", "--at", str(version), "--diff", str(version - 1)).rows()
    assert {"field": "parts[0].purchase.phase", "before": "intended", "after": "bought"} in changed
    (now,) = log.refused("ops", "state", "mine").rows()
    assert now["version"] == len(events)


def test_waiting_for_what_has_ended(log: Shell) -> None:
    ended = log.refused("ops", "wait", "mine")
    assert ended.code == 0
    assert ended.rows()[0]["status"] == "succeeded"


def test_waiting_drives_the_work_and_gives_up_in_time(shell: Shell) -> None:
    shell.questions(2)
    shell.arm(fault="stuck")
    detached = shell.perdure("batches", "run", "questions.jsonl", "--model", "gpt", "--key", "k", "--detach")
    assert detached.code == 0, detached.err
    late = shell.perdure("ops", "wait", "k", "--timeout", "0.3")
    assert late.code == 7
    assert "goes on" in late.err
    asked = shell.refused("ops", "cancel", "k")
    assert asked.code == 2
    assert "--yes" in asked.err
    assert shell.refused("ops", "cancel", "k", "--dry-run").code == 0
    assert shell.operations()[0][1] == "running"
    cancelled = shell.perdure("ops", "cancel", "k", "--yes", "--wait")
    assert cancelled.code == 0, cancelled.err
    assert cancelled.rows()[0]["answer"] == "cancelled"
    waited = shell.refused("ops", "wait", "k")
    assert waited.code == 1
    assert "was cancelled" in waited.err


# ---------------------------------------------------------------- events


def test_the_history_of_an_operation(log: Shell) -> None:
    events = log.refused("events", "show", "mine").rows()
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "BatchOpened"
    assert events[0]["payload"]["model"] == "gpt"
    assert events[-1]["type"] == "BatchFinished"


def test_the_tail_goes_on_from_a_position(log: Shell) -> None:
    rows = log.refused("events", "tail", "--no-follow").rows()
    rest = log.refused("events", "tail", "--no-follow", "--after", str(rows[4]["position"])).rows()
    assert rest == rows[5:]
    batch = log.refused("events", "tail", "--no-follow", "--id", "mine", "--type", "BatchClosed").rows()
    assert [row["type"] for row in batch] == ["BatchClosed"]


def test_the_tail_follows_another_process(log: Shell) -> None:
    last = log.refused("events", "tail", "--no-follow").rows()[-1]["position"]
    log.questions(2, "more.jsonl")
    with log.started("events", "tail", "--after", str(last), "--type", "BatchFinished") as tail:
        assert log.perdure(*run_arguments(source="more.jsonl")).code == 0
        assert tail.stdout is not None
        line = tail.stdout.readline()
        assert_no_key("standard output", line)
        assert msgspec.json.decode(line)["type"] == "BatchFinished"
        tail.terminate()
        assert log.ended(tail).code == 143


def test_an_export_carries_its_checksum(log: Shell) -> None:
    ended = log.refused("events", "export", "--output", "log.jsonl")
    assert ended.code == 0, ended.err
    *records, last = (log.folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    closing_line = msgspec.json.decode(last)
    assert closing_line["records"] == len(records)
    assert closing_line["digest"] == hashlib.sha256(b"".join(records)).hexdigest()
    assert closing_line["log_id"] == log.log_id()


def test_a_whole_log_verifies_and_replays(log: Shell) -> None:
    verified = log.refused("events", "verify")
    assert verified.code == 0
    (row,) = verified.rows()
    assert row["ok"] is True
    assert log.refused("events", "verify", "--kept-head", row["head"]).code == 0
    replayed = log.refused("events", "replay")
    assert replayed.code == 0
    assert replayed.rows()[0]["events"] == row["records"]


def test_a_changed_record_is_named(log: Shell) -> None:
    _tamper(log, "UPDATE events SET payload = replace(payload, 'gpt', 'gqt') WHERE position = 1")
    ended = log.refused("events", "verify")
    assert ended.code == 5
    assert ended.rows()[0]["ok"] is False
    assert "position 1" in ended.err


def test_a_row_that_says_otherwise_is_found_and_repaired(log: Shell) -> None:
    _tamper(log, "UPDATE streams SET status = 'failed' WHERE kind = 'batch'")
    ended = log.refused("events", "replay")
    assert ended.code == 5
    assert "status is 'failed', not 'succeeded'" in ended.err
    assert log.refused("doctor", "--repair").code == 2, "it asks first"
    repaired = log.refused("doctor", "--repair", "--yes")
    assert repaired.code == 0, repaired.err
    assert repaired.rows()[0]["rewritten"] == 1
    assert log.refused("events", "replay").code == 0
    assert log.refused("events", "verify").code == 0


@pytest.mark.parametrize("verb", [["events", "verify"], ["events", "replay"], ["events", "export"], ["ops", "list"]])
def test_there_is_no_log(shell: Shell, verb: list[str]) -> None:
    ended = shell.refused(*verb)
    assert ended.code == 3
    assert "there is no log at" in ended.err
    assert list(shell.folder.iterdir()) == [], "reading makes nothing"


# ---------------------------------------------------------------- doctor, config


def test_the_doctor_finds_nothing_wrong(log: Shell) -> None:
    ended = log.refused("doctor")
    assert ended.code == 0, ended.err
    checks = {row["check"]: row for row in ended.rows()}
    assert {row["status"] for row in checks.values()} == {"ok"}
    assert log.log_id() in checks["log"]["found"]
    assert checks["writer"]["found"] == "none"
    assert "OPENAI" not in checks["credential openai/default"]["found"]


def test_the_doctor_names_what_is_wrong(log: Shell) -> None:
    (log.folder / "perdure.db").chmod(0o644)
    (log.folder / "perdure.toml").write_text("nonsense = 1\n")
    ended = log.refused("doctor", OPENAI_API_KEY="")
    assert ended.code == 1
    checks = {row["check"]: row for row in ended.rows()}
    assert checks["configuration"]["status"] == "fail"
    assert "nonsense" in checks["configuration"]["found"]
    assert checks["permissions"]["advice"].startswith("chmod 600")
    assert "set OPENAI_API_KEY" in checks["credential openai/default"]["found"]
    assert "configuration" in ended.err


def test_the_doctor_names_who_writes(shell: Shell) -> None:
    shell.questions(1)
    shell.arm(fault="stuck")
    with shell.started(*run_arguments()) as process:
        read_until(process, b"running")
        checks = {row["check"]: row for row in shell.refused("doctor").rows()}
    assert f"process {process.pid} on" in checks["writer"]["found"]


def test_a_copy_is_given_an_id_of_its_own(log: Shell) -> None:
    before = log.log_id()
    planned = log.refused("doctor", "--adopt", "--dry-run")
    assert planned.code == 0, planned.err
    assert log.log_id() == before
    adopted = log.refused("doctor", "--adopt", "--yes")
    assert adopted.code == 0, adopted.err
    (row,) = adopted.rows()
    assert row["log_id"] == before != row["new_log_id"] == log.log_id()
    assert log.refused("events", "verify").code == 0
    assert log.refused("ops", "wait", "mine").code == 0


def test_settings_say_where_they_come_from(shell: Shell) -> None:
    written = shell.write(
        "perdure.toml",
        "[polling]\nevery_s = 7\nfirst_s = 1\n"
        f'[providers.openai.credentials.x]\nkind = "secret"\nvalue = "{unique_key()}"\n',
    )
    ended = shell.refused("config", "show", PERDURE_POLLING_FIRST_S="3")
    assert ended.code == 0, ended.err
    rows = {row["name"]: (row["value"], row["from"]) for row in ended.rows()}
    assert rows["polling.every_s"] == (7.0, os.path.realpath(shell.folder / "perdure.toml"))
    assert rows["polling.first_s"] == (3.0, "environment")
    assert rows["limits.grace_s"] == (10.0, "default")
    assert rows["providers.openai.credentials.x.value"][0] == "(hidden)"
    paths = shell.refused("config", "path").rows()
    assert [row["exists"] for row in paths] == [False, True]
    written.unlink()  # the one file of the suite that holds a key: the test put it there
