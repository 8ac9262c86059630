"""Sharing reads: whoever asks while one group of questions is answered is in the next group.

A chunk of results wakes a thousand tasks at once, and each of them wants to read; one hop serves them all. The answer
under way is the delay, as in a group commit: who is alone waits for nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

import outcome
import trio

from perdure.events.errors import Closed

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class _Asked(Generic[Question, Answer]):
    __slots__ = ("question", "task")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

    def give(self, answer: Answer | Exception) -> None:
        if self.task is not None:
            task, self.task = self.task, None
            if isinstance(answer, Exception):
                trio.lowlevel.reschedule(task, outcome.Error(answer))
            else:
                trio.lowlevel.reschedule(task, outcome.Value(answer))


class Sharing(Generic[Question, Answer]):
    """Answers questions in groups. `run` is its task.

    `answer` is given up to `at_a_time` questions and returns answers, or what to raise, by their places, that of the
    first one at least: those that it leaves are in the next group. What it raises, everyone in the group is told.
    While `run` is not running, questions are answered one by one if `alone`, else refused with the words of `closed`.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Awaitable[Mapping[int, Answer | Exception]]],
        *,
        at_a_time: int,
        closed: str,
        alone: bool = False,
    ) -> None:
        self._answer = answer
        self._at_a_time = at_a_time
        self._closed = closed
        self._alone = alone
        self._asked: deque[_Asked[Question, Answer]] = deque()
        self._work = trio.Event()
        self._open = False

    async def ask(self, question: Question) -> Answer:
        """The answer to one question. Raises what `answer` says or raises; `Closed` when `run` ends meanwhile."""
        if not self._open:
            if self._alone:
                alone = (await self._answer([question]))[0]
                if isinstance(alone, Exception):
                    raise alone
                return alone
            raise Closed(self._closed)
        asked = _Asked[Question, Answer](question)
        self._asked.append(asked)
        self._work.set()

        def abort(_: object) -> trio.lowlevel.Abort:
            asked.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        answer: Answer = await trio.lowlevel.wait_task_rescheduled(abort)
        return answer

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answers until cancelled; whoever asks then is told that it is closed."""
        self._open = True
        task_status.started()
        group: Sequence[_Asked[Question, Answer]] = ()
        try:
            while True:
                await self._work.wait()
                taken = [self._asked.popleft() for _ in range(min(self._at_a_time, len(self._asked)))]
                group = [asked for asked in taken if asked.task is not None]
                if group:
                    await self._serve(group)
                group = ()
                if not self._asked:
                    self._work = trio.Event()
        finally:
            self._open = False
            for asked in (*group, *self._asked):
                asked.give(Closed(self._closed))
            self._asked.clear()

    async def _serve(self, group: Sequence[_Asked[Question, Answer]]) -> None:
        answers: Mapping[int, Answer | Exception]
        try:
            answers = await self._answer([asked.question for asked in group])
        except Exception as error:
            answers = dict.fromkeys(range(len(group)), error)
        for place, answer in answers.items():
            group[place].give(answer)
        self._asked.extendleft(asked for place, asked in reversed(list(enumerate(group))) if place not in answers)
