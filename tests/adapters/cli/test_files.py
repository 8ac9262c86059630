"""`perdure files`: what is put comes back, stands where it was pushed, and is gone when it was removed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
import trio

from perdure.adapters.composition import Surroundings
from perdure.adapters.composition import open as open_log
from perdure.adapters.config import Config, ProviderConfig, Secret
from perdure.events.ids import now_us
from tests.adapters.cli.shell import SECRET, Ended, Shell, read_until, run_arguments
from tests.secrets import assert_no_key, unique_key, wrong_key

TEXT: Final = b"Sogne is 205 kilometres long.\n"
LARGE: Final = bytes(range(256)) * 40_000
PUSH: Final = ("--provider", "openai")


@pytest.fixture
def kept(shell: Shell) -> Shell:
    """A shell with a file in its log, under the key `fjords`."""
    shell.write("fjords.txt", TEXT)
    ended = shell.perdure("files", "put", "fjords.txt", "--key", "fjords")
    assert ended.code == 0, ended.err
    return shell


def _shown(shell: Shell, name: str = "fjords") -> dict[str, Any]:
    (row,) = shell.refused("files", "show", name).rows()
    return row


def _theirs(shell: Shell, reference: str) -> httpx.Response:
    """What OpenAI's part of the simulator says of a file."""
    return httpx.get(f"{shell.url}/openai/v1/files/{reference}", headers={"authorization": f"Bearer {unique_key()}"})


def _uploads(shell: Shell) -> list[Mapping[str, Any]]:
    return shell.bought("file")


# ---------------------------------------------------------------- put, show, get


def test_what_is_put_comes_back(shell: Shell) -> None:
    shell.write("fjords.txt", TEXT)
    put = shell.perdure("files", "put", "fjords.txt")
    assert put.code == 0, put.err
    id = put.out.strip()
    assert put.out == f"{id}\n", "the id alone, so that a script can take it"
    assert id.startswith("file_")
    assert put.err == ""
    got = shell.perdure("files", "get", id, "--output", "again.txt")
    assert got.code == 0, got.err
    assert (shell.folder / "again.txt").read_bytes() == TEXT
    assert got.out == ""
    assert shell.leftovers() == []
    row = _shown(shell, id)
    assert (row["filename"], row["mime_type"], row["size_bytes"]) == ("fjords.txt", "text/plain", len(TEXT))
    assert (row["status"], row["copies"]) == ("kept", [])


def test_put_tells_everything_in_the_format_that_is_asked_for(shell: Shell) -> None:
    shell.write("fjords.txt", TEXT)
    put = ("files", "put", "fjords.txt", "--filename", "Fjord æ.md", "--mime-type", "text/markdown", "--key", "mine")
    row = msgspec.json.decode(shell.perdure(*put, "--format", "json").out)
    assert (row["filename"], row["mime_type"], row["key"]) == ("Fjord æ.md", "text/markdown", "mine")
    assert shell.perdure(*put, "--format", "jsonl").rows() == [row], "the same key and file: the same id"
    assert shell.perdure(*put, "--format", "none").out == ""
    assert _shown(shell, "mine") == row


def test_from_standard_input_to_standard_output(shell: Shell) -> None:
    put = shell.perdure("files", "put", "-", "--filename", "fjords.txt", stdin=TEXT)
    assert put.code == 0, put.err
    got = shell.perdure("files", "get", put.out.strip(), "--output", "-")
    assert got.out.encode() == TEXT
    assert _shown(shell, put.out.strip())["filename"] == "fjords.txt"


def test_a_data_url(shell: Shell) -> None:
    put = shell.perdure("files", "put", "data:text/markdown;base64,IyBGam9yZHM=")
    assert put.code == 0, put.err
    assert shell.perdure("files", "get", put.out.strip(), "--output", "-").out == "# Fjords"
    assert _shown(shell, put.out.strip())["mime_type"] == "text/markdown"


def test_a_key_that_belongs_to_another_file(kept: Shell) -> None:
    kept.write("other.txt", "other")
    ended = kept.perdure("files", "put", "other.txt", "--key", "fjords")
    assert ended.code == 4
    assert "'fjords'" in ended.err
    assert "another key" in ended.err


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        pytest.param(["--ttl", "60"], 60, id="seconds"),
        pytest.param(["--ttl", "90m"], 5_400, id="minutes"),
        pytest.param(["--ttl", "30d"], 2_592_000, id="days"),
        pytest.param(["--ttl", "persistent"], None, id="for good"),
        pytest.param([], 86_400, id="a day unless it is said"),
    ],
)
def test_how_long_a_file_is_kept(shell: Shell, ttl: list[str], seconds: int | None) -> None:
    shell.write("fjords.txt", TEXT)
    put = shell.perdure("files", "put", "fjords.txt", "--key", "fjords", *ttl)
    assert put.code == 0, put.err
    row = _shown(shell)
    if seconds is None:
        assert row["expires_at"] is None
    else:
        lives = datetime.fromisoformat(row["expires_at"]) - datetime.fromisoformat(row["created_at"])
        assert lives == timedelta(seconds=seconds)


@pytest.mark.parametrize("ttl", ["59", "2592001", "60.5", "-1", "nan", "forever", "31d", ""])
def test_a_time_to_live_that_is_none(shell: Shell, ttl: str) -> None:
    shell.write("fjords.txt", TEXT)
    ended = shell.refused("files", "put", "fjords.txt", f"--ttl={ttl}")
    assert ended.code == 2
    assert f"--ttl {ttl!r} is not a time to live" in ended.err
    assert '"persistent"' in ended.err
    assert not (shell.folder / "perdure.db").exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("no.txt", ["there is no file", "no.txt"], id="missing"),
        pytest.param(".", ["is a directory"], id="a directory"),
        pytest.param("/dev/null", ["is a device", "put it as -"], id="a device"),
        pytest.param("pipe", ["is a device", "put it as -"], id="a pipe with a name"),
        pytest.param("empty", ["is empty"], id="empty"),
        pytest.param("-", ["is empty"], id="empty standard input"),
        pytest.param("https://example.com/a", ["PERDURE_FETCH_URLS=true", "perdure.toml"], id="a URL"),
    ],
)
def test_what_cannot_be_put(shell: Shell, source: str, words: list[str]) -> None:
    os.mkfifo(shell.folder / "pipe")
    shell.write("empty", b"")
    ended = shell.perdure("files", "put", source)
    assert ended.code == 2, ended.err
    for word in ["Error: ", *words]:
        assert word in ended.err
    assert ended.out == ""
    assert not (shell.folder / "perdure.db").exists()


def test_a_key_that_looks_like_a_credential(shell: Shell) -> None:
    shell.write("fjords.txt", TEXT)
    ended = shell.refused("files", "put", "fjords.txt", "--key", SECRET)
    assert ended.code == 2
    assert "looks like a credential" in ended.err
    assert not (shell.folder / "perdure.db").exists()


@contextmanager
def _web() -> Generator[str]:
    """The URL of a file on a server of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(TEXT)))
            self.end_headers()
            self.wfile.write(TEXT)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/fjords.txt"
        server.shutdown()
        thread.join()


def test_a_url_is_fetched_where_that_is_allowed(shell: Shell) -> None:
    with _web() as url:
        refused = shell.perdure("files", "put", url, PERDURE_FETCH_URLS="true")
        assert refused.code == 2, "not from a private address, unless that is said too"
        put = shell.perdure("files", "put", url, PERDURE_FETCH_URLS="true", PERDURE_FETCH_NETWORKS="127.0.0.0/8")
    assert put.code == 0, put.err
    assert shell.perdure("files", "get", put.out.strip(), "--output", "-").out.encode() == TEXT
    assert _shown(shell, put.out.strip())["filename"] == "fjords.txt"


def _limited(shell: Shell, blocks: int, *arguments: str) -> Ended:
    """Runs a command that cannot write files of more than so many blocks of 512 bytes."""
    ended = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", sys.executable, "-m", "perdure", *arguments],
        cwd=shell.folder,
        env=shell.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert_no_key("standard output", ended.stdout)
    assert_no_key("standard error", ended.stderr)
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def test_no_room_for_a_file_leaves_nothing_of_it(kept: Shell) -> None:
    before = _files_below(kept.folder / "perdure.db-blobs")
    kept.write("large.bin", LARGE)
    ended = _limited(kept, 16_000, "files", "put", "large.bin", "--key", "large")
    assert ended.code == 6, ended.err
    assert "not stored" in ended.err
    assert _files_below(kept.folder / "perdure.db-blobs") == before
    assert len(kept.refused("files", "list").rows()) == 1
    again = kept.perdure("files", "put", "large.bin", "--key", "large")
    assert again.code == 0, "the key was not taken"


def _files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 16)


def test_an_output_appears_whole_or_not_at_all(shell: Shell) -> None:
    shell.write("large.bin", LARGE)
    shell.write("again.bin", "old")
    assert shell.perdure("files", "put", "large.bin", "--key", "large").code == 0
    ended = _limited(shell, 8_000, "files", "get", "large", "--output", "again.bin")
    assert ended.code == 1, ended.err
    assert "File too large" in ended.err
    assert (shell.folder / "again.bin").read_bytes() == b"old"
    assert shell.leftovers() == []
    assert shell.perdure("files", "get", "large", "--output", "again.bin").code == 0
    assert (shell.folder / "again.bin").read_bytes() == LARGE


def test_damaged_content_is_not_given_out(kept: Shell) -> None:
    (blob,) = [path for path in (kept.folder / "perdure.db-blobs").rglob("*") if TEXT in _content(path)]
    blob.write_bytes(blob.read_bytes().replace(b"205", b"502"))
    ended = kept.perdure("files", "get", "fjords", "--output", "again.txt")
    assert ended.code == 3, ended.err
    assert not (kept.folder / "again.txt").exists()
    assert kept.leftovers() == []


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


@pytest.mark.parametrize("place", [".", "no/again.txt"])
def test_an_output_that_cannot_be_written(kept: Shell, place: str) -> None:
    ended = kept.refused("files", "get", "fjords", "--output", place)
    assert ended.code == 2
    assert f"{place} " in ended.err


# ---------------------------------------------------------------- progress


def test_large_files_show_progress_in_a_pipe_line_by_line(shell: Shell) -> None:
    shell.write("large.bin", LARGE)
    put = shell.perdure("files", "put", "large.bin", "--key", "large")
    assert put.err.splitlines()[-1].startswith("read: 10 of 10 MB after ")
    assert put.err.startswith("reading: 1 of 10 MB after ")
    silent = shell.perdure("files", "put", "large.bin", "--no-progress")
    assert silent.err == ""
    piped = shell.perdure("files", "put", "-", stdin=LARGE)
    assert piped.err.startswith("reading: 8 MB after "), "how much will come is not known"
    got = shell.perdure("files", "get", "large", "--output", "again.bin")
    assert [line.partition(":")[0] for line in got.err.splitlines()][:2] == ["writing", "written"]


def test_large_files_show_a_bar_on_a_terminal(shell: Shell) -> None:
    shell.write("large.bin", LARGE)
    leader, follower = os.openpty()
    with (
        open(leader, "rb", buffering=0) as terminal,
        subprocess.Popen(
            [sys.executable, "-m", "perdure", "files", "put", "large.bin"],
            cwd=shell.folder,
            env=shell.environment(NO_COLOR="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=follower,
        ) as process,
    ):
        os.close(follower)
        shown = bytearray()
        try:
            while chunk := os.read(terminal.fileno(), 65_536):
                shown += chunk
        except OSError:  # how Linux says that nobody holds the other end any more
            pass
        assert process.wait(30) == 0
        assert process.stdout is not None
        assert_no_key("standard output", process.stdout.read())
    assert_no_key("the terminal", bytes(shown))
    assert b"\x1b[?25l" in shown, "the cursor is hidden while the bar is drawn over"
    assert b"10.2/10.2 MB" in shown


# ---------------------------------------------------------------- unknown, expired, deleted


async def _put_two_days_ago(shell: Shell) -> str:
    past = Surroundings(clock=lambda: now_us() - 2 * 86_400_000_000)
    async with open_log(shell.folder / "perdure.db", config=Config(), surroundings=past) as service:
        return (await service.files.upload(TEXT, filename="old.txt")).id


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["show"], id="show"),
        pytest.param(["get", "--output", "again.txt"], id="get"),
        pytest.param(["push", *PUSH], id="push"),
        pytest.param(["rm", "--yes"], id="rm"),
    ],
)
def test_unknown_expired_and_deleted_are_told_apart(shell: Shell, command: list[str]) -> None:
    expired = trio.run(_put_two_days_ago, shell)
    deleted = shell.perdure("files", "put", "-", stdin=TEXT).out.strip()
    assert shell.perdure("files", "rm", deleted, "--yes").code == 0
    for id, words in {
        "file_none": "no file has the id or key 'file_none'",
        expired: f"{expired} has expired",
        deleted: f"{deleted} was deleted",
    }.items():
        ended = shell.refused("files", *command, id)
        assert ended.code == 3, ended.err
        assert words in ended.err
    assert not (shell.folder / "again.txt").exists()


def test_an_operation_that_is_no_file(shell: Shell) -> None:
    shell.questions(1)
    assert shell.perdure(*run_arguments("--key", "mine")).code == 0
    ended = shell.refused("files", "show", "mine")
    assert ended.code == 3
    assert "no file has the id or key 'mine'" in ended.err


def test_no_log_is_made_by_looking_for_a_file(shell: Shell) -> None:
    for command in (["list"], ["show", "a"], ["get", "a", "-o", "b"], ["push", "a", *PUSH], ["rm", "a", "--yes"]):
        assert shell.refused("files", *command).code == 3, command
    assert not (shell.folder / "perdure.db").exists()


# ---------------------------------------------------------------- list


def test_files_are_listed_and_filtered(shell: Shell) -> None:
    expired = trio.run(_put_two_days_ago, shell)
    first, second, deleted = (shell.perdure("files", "put", "-", stdin=b"%d" % n).out.strip() for n in range(3))
    assert shell.perdure("files", "rm", deleted, "--yes").code == 0
    assert shell.perdure("files", "push", first, *PUSH).code == 0

    def listed(*filters: str) -> list[str]:
        return [row["id"] for row in shell.refused("files", "list", *filters).rows()]

    assert listed() == [second, first]
    assert listed("--limit", "1") == [second]
    assert listed("--provider", "openai") == [first]
    assert listed("--status", "expired") == [expired]
    assert listed("--status", "deleted") == [deleted]
    assert listed("--tag", "team=north") == []
    table = shell.refused("files", "list", "--format", "table").out
    assert first in table, "ids are never shortened"
    assert "openai uploaded" in table


# ---------------------------------------------------------------- push


def test_a_pushed_file_is_at_the_provider_once(kept: Shell) -> None:
    pushed = kept.perdure("files", "push", "fjords", *PUSH)
    assert pushed.code == 0, pushed.err
    reference = pushed.out.strip()
    assert pushed.out == f"{reference}\n"
    assert "succeeded: 1 of 1 copies" in pushed.err
    assert _theirs(kept, reference).json()["bytes"] == len(TEXT)
    (row,) = kept.perdure("files", "push", "fjords", *PUSH, "--format", "jsonl", "--quiet").rows()
    assert (row["reference"], row["provider"], row["credential"]) == (reference, "openai", "default")
    assert len(_uploads(kept)) == 1
    (copy,) = _shown(kept)["copies"]
    assert (copy["provider"], copy["status"], copy["reference"]) == ("openai", "uploaded", reference)
    table = kept.refused("files", "show", "fjords", "--format", "table").out.splitlines()
    assert table[-2].split() == ["provider", "credential", "status", "reference", "expires_at", "error"]
    assert table[-1].split() == ["openai", "default", "uploaded", reference]


def test_a_wrong_key_is_shown_and_with_the_right_one_it_goes_on(kept: Shell) -> None:
    wrong = kept.perdure("files", "push", "fjords", *PUSH, OPENAI_API_KEY=wrong_key())
    assert wrong.code == 6
    assert "run the same command again" in wrong.err
    (copy,) = _shown(kept)["copies"]
    assert copy["status"] == "pending"
    assert copy["error"]
    right = kept.perdure("files", "push", "fjords", *PUSH)
    assert right.code == 0, right.err
    assert len(_uploads(kept)) == 1


@pytest.mark.parametrize(
    ("options", "environment", "code", "words"),
    [
        pytest.param(["--provider", "opnai"], {}, 2, "'opnai'", id="an unknown provider"),
        pytest.param([*PUSH], {"OPENAI_API_KEY": ""}, 6, "set OPENAI_API_KEY", id="no key"),
        pytest.param([*PUSH, "--credential", "other"], {}, 6, "'other'", id="an unknown credential"),
        pytest.param([*PUSH, "--credential", SECRET], {}, 2, "--credential", id="a credential for a name"),
    ],
)
def test_a_push_that_cannot_begin(
    kept: Shell, options: list[str], environment: dict[str, str], code: int, words: str
) -> None:
    ended = kept.refused("files", "push", "fjords", *options, **environment)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert _shown(kept)["copies"] == []


def test_an_interrupted_push_goes_on(kept: Shell) -> None:
    kept.arm(fault="hold", route="POST /openai/v1/files")
    with kept.started("files", "push", "fjords", *PUSH) as process:
        kept.control("GET", "/_sim/held?wait=1&timeout_s=30")
        process.terminate()
        kept.control("POST", "/_sim/release")
        ended = kept.ended(process)
    assert ended.code == 143
    assert "the same command waits for it" in ended.err
    again = kept.perdure("files", "push", "fjords", *PUSH)
    assert again.code == 0, again.err
    assert len(_uploads(kept)) == 1


# ---------------------------------------------------------------- rm


def test_removing_asks_first(kept: Shell) -> None:
    ended = kept.perdure("files", "rm", "fjords")
    assert ended.code == 2
    assert "(fjords.txt)? There is nobody to ask here: say --yes" in ended.err
    dry = kept.perdure("files", "rm", "fjords", "--dry-run")
    assert dry.code == 0
    assert "would delete file_" in dry.err
    assert _shown(kept)["status"] == "kept"


def test_removing_leaves_the_copies_unless_everywhere(kept: Shell) -> None:
    id = _shown(kept)["id"]
    reference = kept.perdure("files", "push", "fjords", *PUSH).out.strip()
    (row,) = kept.perdure("files", "rm", "fjords", "--yes").rows()
    assert (row["status"], row["copies"][0]["status"]) == ("deleted", "uploaded")
    assert _theirs(kept, reference).status_code == 200
    everywhere = kept.perdure("files", "rm", id, "--everywhere", "--yes")
    assert everywhere.code == 0, everywhere.err
    assert everywhere.rows()[0]["copies"][0]["status"] == "deleted"
    assert _theirs(kept, reference).status_code == 404


def test_removing_at_a_provider_that_does_not_answer(kept: Shell) -> None:
    id = _shown(kept)["id"]
    reference = kept.perdure("files", "push", "fjords", *PUSH).out.strip()
    kept.arm(fault="status", route="DELETE /openai/v1/files/{id}", status=503, count=None)
    ended = kept.perdure("files", "rm", "fjords", "--everywhere", "--yes", "--timeout", "100ms")
    assert ended.code == 7, ended.err
    assert "not yet at openai" in ended.err
    assert _theirs(kept, reference).status_code == 200
    kept.control("DELETE", "/_sim/faults")
    again = kept.perdure("files", "rm", id, "--everywhere", "--yes")
    assert again.code == 0, again.err
    assert _theirs(kept, reference).status_code == 404


# ---------------------------------------------------------------- beside another process


def test_a_log_that_another_process_writes_can_be_read(kept: Shell) -> None:
    kept.questions(1)
    kept.arm(fault="stuck")
    with kept.started(*run_arguments()) as writer:
        read_until(writer, b"running")
        for command in (["put", "fjords.txt"], ["push", "fjords", *PUSH], ["rm", "fjords", "--yes"]):
            ended = kept.perdure("files", *command)
            assert ended.code == 4, command
            assert f"process {writer.pid}" in ended.err
            assert "--wait-for-lock SECONDS" in ended.err
        assert len(kept.refused("files", "list").rows()) == 1
        assert kept.perdure("files", "get", "fjords", "--output", "-").out.encode() == TEXT
        writer.terminate()
        assert kept.ended(writer).code == 143


# ---------------------------------------------------------------- orphans


def _lose_copy(shell: Shell) -> str:
    """Has a copy at Google replaced that is still there; its id there. What Google lists is what there is, at once."""
    pushed = shell.perdure("files", "push", "fjords", "--provider", "google", "--format", "json")
    assert pushed.code == 0, pushed.err
    row = msgspec.json.decode(pushed.out)
    account = ProviderConfig(base_url=f"{shell.url}/google", credentials={"default": Secret(SECRET)})

    async def lose() -> None:
        async with open_log(shell.folder / "perdure.db", config=Config(providers={"google": account})) as service:
            await service.files.lost(row["file"], provider="google", reference=row["reference"])
            await service.files.ensure(row["file"], provider="google")

    trio.run(lose)
    return str(row["id"])


def _at_google(shell: Shell, name: str) -> int:
    return httpx.get(f"{shell.url}/google/v1beta/{name}", headers={"x-goog-api-key": SECRET}).status_code


def test_w52_orphans_are_listed_and_swept(kept: Shell) -> None:
    lost = _lose_copy(kept)
    listed = kept.perdure("files", "orphans", "google", "--format", "jsonl")
    assert listed.code == 0, listed.err
    (row,) = listed.rows()
    assert (row["id"], row["why"], row["provider"]) == (lost, "unused", "google")
    assert _at_google(kept, lost) == 200, "listing deletes nothing"
    assert lost in kept.perdure("files", "orphans", "google", "--format", "table").out
    swept = kept.perdure("files", "orphans", "google", "--sweep", "--yes", "--format", "json")
    assert swept.code == 0, swept.err
    (row,) = msgspec.json.decode(swept.out)
    assert (row["id"], row["status"], row["reason"]) == (lost, "deleted", "")
    assert _at_google(kept, lost) != 200
    again = kept.perdure("files", "orphans", "google", "--sweep", "--yes", "--format", "json")
    assert msgspec.json.decode(again.out) == []
    assert [row["status"] for row in _shown(kept)["copies"]] == ["uploaded"], "the copy in its place is there"


def test_a_sweep_is_asked_about(kept: Shell) -> None:
    ended = kept.perdure("files", "orphans", "google", "--sweep")
    assert ended.code == 2
    assert "--yes" in ended.err


def test_what_a_sweep_left_is_told(kept: Shell) -> None:
    lost = _lose_copy(kept)
    kept.arm(fault="status", route="DELETE /google/{version}/files/{id}", status=400)
    swept = kept.perdure("files", "orphans", "google", "--sweep", "--yes", "--format", "jsonl")
    assert swept.code == 1
    assert [(row["id"], row["status"]) for row in swept.rows()] == [(lost, "left")]
    assert "1 of 1 could not be deleted" in swept.err


def test_orphans_of_a_log_that_is_not_there(shell: Shell) -> None:
    ended = shell.refused("files", "orphans", "google")
    assert ended.code == 3
    assert not (shell.folder / "perdure.db").exists()
