"""The one owner of the write connection: transactions, and what a failed one means. Synchronous; runs behind `Disk`.

The invariant: nobody is told "not written" of something that may reappear. When COMMIT raises, its frames may be in the
WAL complete although this connection no longer sees them, and a restart would bring them back. A later transaction
overwrites them; so a small one, the fence, is committed and synced first, and only then is the failure certain. If the
fence fails too, the outcome stays unknown, the writer stops for good, and the restart decides by reading.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from perdure.events.errors import OutcomeUnknown, PerdureError, Unavailable, VersionConflict
from perdure.store.crash_points import crash_point
from perdure.store.log import FARTHEST_AHEAD_US
from perdure.store.records import Append, Appended, KeyTaken
from perdure.store.sqlite.faults import is_damage, is_full, translate
from perdure.store.sqlite.ledger import Answer, Ledger
from perdure.store.sqlite.schema import Synchronous

T = TypeVar("T")

Outcome = Appended | PerdureError | KeyTaken
"""What became of one append."""

_NO_HINTS: Final[Mapping[str, int]] = {}


class Writer:
    """Writes groups of appends, each group in one transaction. Not for use by two threads at a time."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        *,
        clock: Callable[[], int],
        build: str,
        synchronous: Synchronous = "FULL",
    ) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock
        self._synchronous = synchronous
        self._ledger = Ledger(connection, build)
        self._fence_owed = False
        self.healthy = True
        """False once an outcome could not be told, or the file was found damaged: nothing is written any more."""

    def open_fence(self) -> None:
        """Writes and syncs the fence row once: proves at the start that this file can be written.

        Raises the error of ours that says why not; nothing else was changed.
        """
        try:
            self._fence()
        except sqlite3.Error as error:
            raise translate(error, self._path, "opening the log for writing") from error

    def commit(self, group: Sequence[Append], hints: Mapping[str, int] = _NO_HINTS) -> list[Outcome]:
        """Writes a group and moves due times in one transaction; answers each member in order.

        An `Appended` is durable (see `Synchronous`). Members that clash are answered alone and the others written. When
        the transaction fails each member gets an error of its own: `OutcomeUnknown`, or another that is certain.
        """
        kinds = dict.fromkeys(append.kind for append in group)
        for kind in kinds:
            crash_point("commit.before", kind)
        try:
            return self._transact(lambda: self._write(group, hints, kinds))
        except sqlite3.IntegrityError:
            # Memory and file disagree about somebody: there is, or was, a second writer. Each member is asked alone.
            self._ledger.forget()
            try:
                return self._transact(lambda: self._write_one_by_one(group, hints, kinds))
            except _Failed as failure:
                return [failure.error() for _ in group]
        except _Failed as failure:
            return [failure.error() for _ in group]

    def run(self, work: Callable[[sqlite3.Connection, Ledger], T]) -> T:
        """Runs `work` in a transaction of its own, between two groups. Raises as `commit` answers."""
        try:
            return self._transact(lambda: (work(self._connection, self._ledger), True))
        except _Failed as failure:
            raise failure.error() from failure.__cause__

    # ------------------------------------------------------------ the rows of a group

    def _write(
        self, group: Sequence[Append], hints: Mapping[str, int], kinds: Mapping[str, None]
    ) -> tuple[list[Outcome], bool]:
        ledger = self._ledger
        ledger.meet(append.actor for append in group)
        answers: list[Outcome] = [ledger.add(append) for append in group]
        wrote = ledger.write(self._clock())
        return answers, self._finish(wrote, hints, kinds)

    def _write_one_by_one(
        self, group: Sequence[Append], hints: Mapping[str, int], kinds: Mapping[str, None]
    ) -> tuple[list[Outcome], bool]:
        answers: list[Outcome] = []
        wrote = False
        for append in group:
            self._connection.execute("SAVEPOINT member")
            answer: Answer
            try:
                answer = self._ledger.add(append)
                wrote |= self._ledger.write(self._clock())
            except sqlite3.IntegrityError:
                self._connection.execute("ROLLBACK TO member")
                self._ledger.forget()
                self._ledger.refresh()
                head = self._ledger.head(append.actor)
                answer = VersionConflict(
                    f"{append.actor} has a second writer: fold it again",
                    actor=append.actor,
                    expected=append.expected_version,
                    found=0 if head is None else head.version,
                )
            self._connection.execute("RELEASE member")
            answers.append(answer)
        return answers, self._finish(wrote, hints, kinds)

    def _finish(self, wrote: bool, hints: Mapping[str, int], kinds: Mapping[str, None]) -> bool:
        if hints:
            self._ledger.move_due(hints)
        for kind in kinds:
            crash_point("commit.written", kind)
        return wrote or bool(hints)

    # ------------------------------------------------------------ transactions and their ends

    def _transact(self, work: Callable[[], tuple[T, bool]]) -> T:
        """Runs `work` between BEGIN and COMMIT; it gives its result and whether there is anything to commit.

        Raises `_Failed`, and lets `sqlite3.IntegrityError` and every error that is not SQLite's own pass after a
        rollback: none of their rows were handed to COMMIT.
        """
        if not self.healthy:
            raise _Failed(lambda: Unavailable(f"{self._path}: the log has stopped writing; restart the process"))
        connection = self._connection
        ended = False
        try:
            try:
                if self._fence_owed:
                    self._fence()
                connection.execute("BEGIN IMMEDIATE")
                self._ledger.refresh()
                result, anything = work()
            except sqlite3.IntegrityError:
                raise
            except sqlite3.Error as error:
                raise self._failed_before_commit(error) from error
            try:
                connection.execute("COMMIT" if anything else "ROLLBACK")
            except sqlite3.Error as error:
                raise self._failed_commit(error) from error
            ended = True
        finally:
            if not ended:
                self._ledger.forget()
                self._roll_back()
        if anything:
            crash_point("commit.after")
        return result

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.healthy = False  # a transaction that can neither go on nor end: only closing the file ends it

    def _failed_before_commit(self, error: sqlite3.Error) -> _Failed:
        """No COMMIT was tried, so no frame in the WAL says that these rows are valid: certainly not written."""
        if is_damage(error):
            self.healthy = False
        return _Failed(lambda: translate(error, self._path, "writing"))

    def _failed_commit(self, error: sqlite3.Error) -> _Failed:
        self._ledger.forget()
        self._roll_back()
        try:
            self._fence()
        except sqlite3.Error as second:
            if is_full(error) and is_full(second):
                # A write was refused for want of room, and the last frame, which makes the others valid, is written
                # last: it is not there. The fence is made up for before anything else is written.
                self._fence_owed = True
                return _Failed(lambda: translate(error, self._path, "writing"))
            self.healthy = False
            text = (
                f"{self._path}: a commit failed ({error}) and so did the fence after it ({second}): whether it took "
                "effect is known after a restart; ask again by key"
            )
            return _Failed(lambda: OutcomeUnknown(text))
        if is_damage(error):
            self.healthy = False
        return _Failed(lambda: translate(error, self._path, "writing"))

    def _fence(self) -> None:
        """Commits and syncs the fence row, whatever `synchronous` is. Raises `sqlite3.Error`."""
        execute = self._connection.execute
        if self._synchronous != "FULL":
            execute("PRAGMA synchronous = FULL")
        try:
            execute("BEGIN IMMEDIATE")
            now = self._clock()
            # Never back by an hour or two: waits may be written down that were measured by an earlier, fast clock.
            execute(
                "UPDATE fence SET number = number + 1, at = CASE WHEN at BETWEEN ? AND ? THEN at ELSE ? END",
                (now, now + FARTHEST_AHEAD_US, now),
            )
            execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            raise
        finally:
            if self._synchronous != "FULL":
                execute(f"PRAGMA synchronous = {self._synchronous}")
        self._fence_owed = False


class _Failed(Exception):
    """A transaction failed; `error` makes the error of ours, a new one for each caller that is told."""

    def __init__(self, error: Callable[[], PerdureError]) -> None:
        super().__init__()
        self.error = error
