"""What a command can end with: scripts rely on these numbers, so they never change their meaning."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """An exit code of perdure. Errors carry theirs as `exit_code`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    CORRUPT = 5
    UNAVAILABLE = 6
    TIMEOUT = 7
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "the operation failed, or lines of a batch have an error",
    ExitCode.USAGE: "the command, its input or its configuration is wrong; nothing was done",
    ExitCode.NOT_FOUND: "there is no such operation, file, log or blob",
    ExitCode.CONFLICT: "another process writes the log, or the key belongs to another request",
    ExitCode.CORRUPT: "the log does not verify, or is none that this build can read",
    ExitCode.UNAVAILABLE: "provider or disk is not available, or a credential is missing or refused",
    ExitCode.TIMEOUT: "waiting ended before the operation did; it goes on",
    ExitCode.INTERRUPTED: "Ctrl-C; the message says how to come back",
    ExitCode.TERMINATED: "SIGTERM; the message says how to come back",
}
