"""What the demonstration tells, chapter by chapter; see `demo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct

import perdure
from perdure.actors.batch.state import BatchState
from perdure.adapters.cli.stage import Broken, Stage
from perdure.adapters.cli.terminal import Terminal
from perdure.adapters.cli.worker import PATIENCE_S, Bought, Process, Provider, TheirBatch
from perdure.events.batch import BatchSubmitted
from perdure.events.errors import NotFound, PerdureError
from perdure.events.event import Recorded

REQUESTS: Final = "demo_requests.jsonl"
BATCH_S: Final = 10.0
"""How long the simulated batch takes: longer than a restarted worker waits before it looks for its batch (5 s)."""

LOOK_EVERY_S: Final = 0.05

QUIET_EVENTS: Final = frozenset({"BatchPolled"})
"""Events that repeat: the timeline shows how many there were."""


class Look(Struct, frozen=True):
    """The operation as its log shows it at one moment, and what the provider's account had then."""

    version: int
    state: BatchState
    encoded: bytes
    batches_bought: int

    def row(self) -> Mapping[str, str]:
        """What a person wants to know of it."""
        part = self.state.parts[0] if self.state.parts else None
        return {
            "version of the log": str(self.version),
            "lines collected": str(self.state.lines),
            "purchase": "none" if part is None else part.purchase.phase,
            "batch at the provider": (part.provider_batch if part else "") or "not known",
            "lines with an answer": str(self.state.ok),
            "batches in the provider's account": str(self.batches_bought),
        }


class Line(Struct, frozen=True):
    """A line of output, as far as it is checked."""

    custom_id: str
    index: int
    status: str
    text: str | None


async def tell(terminal: Terminal, folder: Path, *, kept: bool) -> int:
    """Runs the demonstration in an empty `folder`; 0 if all held."""
    stage = Stage(terminal)
    began = trio.current_time()
    try:
        with trio.fail_after(3 * PATIENCE_S):
            await _Story(stage, folder).run()
    except (Broken, PerdureError, trio.TooSlowError) as error:
        what = f"{error.claim}: {error.found}" if isinstance(error, Broken) else str(error) or "it took too long"
        stage.last_word(f"This did not hold: {what}", good=False)
        _show_logs(terminal, folder)
        return 1
    took_s = trio.current_time() - began
    stage.last_word(f"All {stage.claims} claims held, in {took_s:.0f} seconds.", good=True)
    if kept:
        stage.say(f"Look around: perdure ops list --db {folder / 'perdure.db'}")
    else:
        stage.say("To look at the log yourself: perdure demo --keep ./perdure-demo")
    return 0


def _show_logs(terminal: Terminal, folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        terminal.say(f"--- {log.name}\n{log.read_text(errors='replace').strip()[-2_000:]}")


class _Story:
    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._folder = folder
        self._db = folder / "perdure.db"
        self._answers = folder / "answers.jsonl"
        self._questions: list[dict[str, Any]] = []
        self._workers = 0
        self._kills: list[tuple[int, str]] = []
        self._id = ""

    async def run(self) -> None:
        text = files("perdure.adapters.cli").joinpath(REQUESTS).read_bytes()
        (self._folder / "requests.jsonl").write_bytes(text)
        self._questions = [msgspec.json.decode(line) for line in text.splitlines()]
        provider = await Provider.start(self._folder, BATCH_S)
        try:
            self._stage.title(
                "perdure demo: a batch that is killed twice and loses nothing",
                [
                    ("provider", f"simulated, at {provider.url}; no key, no network beyond this machine"),
                    ("requests", f"{len(self._questions)}, as one batch, from {REQUESTS}"),
                    ("folder", str(self._folder)),
                ],
            )
            await self._die_between_acceptance_and_log(provider)
            await self._die_while_the_provider_works(provider)
            account = await self._collect(provider)
        finally:
            await provider.process.stop()
        await self._replay()
        await self._show_account(account)
        await self._show_timeline()

    # ------------------------------------------------------------------ the chapters

    async def _die_between_acceptance_and_log(self, provider: Provider) -> None:
        stage = self._stage
        stage.chapter("Submit, and die between the provider's yes and our own log")
        await provider.hold_next_batch()
        worker = await self._start(provider)
        try:
            with stage.waiting("the worker writes all requests into its log, uploads them, and orders the batch"):
                await provider.wait_held()
            stage.say("The provider has accepted the batch and its answer is on the way: the worst moment to die.")
            self._id = await self._find()
            before = await self._look(provider)
            await self._kill(worker, "before the provider's answer")
        finally:
            await worker.stop()
        await provider.release()
        after = await self._look(provider)
        self._compare(before, after)
        stage.claim("the provider has sold one batch", after.batches_bought == 1, after.batches_bought)
        purchase = after.state.parts[0].purchase.phase
        stage.claim("the log holds the intent to buy and no outcome", purchase == "intended", purchase)
        stage.claim("the log has lost nothing of what it had before", await self._same_up_to(before), "it changed")

    async def _die_while_the_provider_works(self, provider: Provider) -> None:
        stage = self._stage
        stage.chapter("Start again, find the batch instead of buying another, and die while the provider works")
        worker = await self._start(provider)
        try:
            with stage.waiting("the worker looks for its batch at the provider, after the time a list may lag (5 s)"):
                submitted = await self._wait_submitted()
            stage.claim(
                "the worker found its batch by the mark that it had planted, and bought no second one",
                submitted.reconciled and len(await _batches(provider)) == 1,
                submitted,
            )
            with stage.waiting("the provider works"):
                their = await self._wait_working(provider, submitted.provider_batch)
            counts = their.request_counts
            stage.say(f"The provider is at it: {their.status}, {counts.completed} of {counts.total} answered.")
            before = await self._look(provider)
            await self._kill(worker, "while the provider works")
        finally:
            await worker.stop()
        after = await self._look(provider)
        self._compare(before, after)
        stage.claim("the provider was in the middle of its work", their.status == "in_progress", their.status)
        known = after.state.parts[0].provider_batch
        stage.claim("the log knows which batch is ours", known == submitted.provider_batch, known)
        stage.claim("the log has lost nothing of what it had before", await self._same_up_to(before), "it changed")

    async def _collect(self, provider: Provider) -> Sequence[Bought]:
        stage = self._stage
        stage.chapter("Start again, and let it end")
        worker = await self._start(provider)
        try:
            with stage.waiting("the provider finishes, the worker writes the answers"), trio.fail_after(PATIENCE_S):
                code = await worker.ended()
        finally:
            await worker.stop()
        stage.claim("the worker ended with 0", code == 0, f"{code}: {worker.errors()}")
        after = await self._look(provider)
        self._table(["at the end"], [after.row()])
        lines = self._lines(self._answers)
        expected = [question["custom_id"] for question in self._questions]
        stage.claim(
            f"each of the {len(expected)} requests has its answer, once, in the order of the input",
            [line.custom_id for line in lines] == expected and {line.status for line in lines} == {"ok"},
            f"{len(lines)} lines, {sum(line.status != 'ok' for line in lines)} with an error",
        )
        wrong = [
            line.custom_id
            for line, question in zip(lines, self._questions, strict=True)
            if question["body"]["input"] not in (line.text or "")
        ]
        stage.claim("each answer belongs to its question", not wrong, wrong[:3])
        return await provider.account()

    async def _replay(self) -> None:
        stage = self._stage
        stage.chapter("Switch the provider off, and ask once more")
        answers = await trio.Path(self._answers).read_bytes()
        again = self._folder / "answers-again.jsonl"
        worker = await Process.start(self._folder, "worker-from-log", self._arguments(again, "http://127.0.0.1:9"))
        try:
            with trio.fail_after(PATIENCE_S):
                code = await worker.ended()
        finally:
            await worker.stop()
        stage.claim("the same command ends with 0 though nobody answers", code == 0, f"{code}: {worker.errors()}")
        replayed = await trio.Path(again).read_bytes()
        stage.claim("all results come from the log, byte for byte the same", replayed == answers, "they differ")
        async with perdure.read(self._db) as reader:
            verified = await reader.log.verify()
        stage.claim(
            f"the log verifies: {verified.records} records, {verified.commits} commits in one chain of hashes",
            verified.ok,
            verified.faults,
        )

    async def _show_account(self, account: Sequence[Bought]) -> None:
        stage = self._stage
        stage.chapter("The provider's account")
        stage.table(
            ["kind", "units", "id", "mark that perdure planted"],
            [[bought.kind, str(bought.units), bought.id, bought.identity] for bought in account],
        )
        batches = [bought for bought in account if bought.kind == "batch"]
        stage.claim("two kills, three starts: one batch was bought", len(batches) == 1, len(batches))
        units = batches[0].units
        stage.claim(f"of {len(self._questions)} calls", units == len(self._questions), units)
        files_bought = sum(bought.kind == "file" for bought in account)
        stage.claim("and one file was uploaded", files_bought == 1, files_bought)

    async def _show_timeline(self) -> None:
        stage = self._stage
        stage.chapter("What the log says")
        async with perdure.read(self._db) as reader:
            records = [record async for record in reader.log.read()]
        begin = records[0].at
        rows: list[list[str]] = []
        marked: list[int] = []
        kills = list(self._kills)
        for record in _without_repeats(records):
            while kills and kills[0][0] <= record.at:
                at, text = kills.pop(0)
                marked.append(len(rows))
                rows.append([_seconds(at - begin), "", "", f"SIGKILL {text}"])
            actor = "batch" if record.kind == "batch" else "its file"
            rows.append([_seconds(record.at - begin), actor, str(record.version), _said(record)])
        stage.table(["time", "actor", "version", "event"], rows, marked=marked)
        stage.claim("both kills stand between two events", len(marked) == 2, len(marked))

    # ------------------------------------------------------------------ what they need

    def _arguments(self, output: Path, base_url: str) -> list[str]:
        return [
            *("batches", "run", "requests.jsonl", "--output", output.name),
            *("--db", self._db.name, "--base-url", base_url, "--poll", "0.5", "--no-progress"),
        ]

    async def _start(self, provider: Provider) -> Process:
        self._workers += 1
        arguments = self._arguments(self._answers, provider.base_url)
        worker = await Process.start(self._folder, f"worker-{self._workers}", arguments)
        self._stage.say(f"worker {worker.pid}: perdure {' '.join(arguments)}")
        return worker

    async def _kill(self, worker: Process, when: str) -> None:
        self._kills.append((int(datetime.now(UTC).timestamp() * 1_000_000), f"to worker {worker.pid}, {when}"))
        code = await worker.kill()
        self._stage.alarm(f"SIGKILL to worker {worker.pid}")
        self._stage.claim("the worker is dead, and had no time to say good-bye", code == -9, code)

    async def _find(self) -> str:
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    async with perdure.read(self._db) as reader:
                        async for summary in reader.list(kind="batch"):
                            return summary.id
                except NotFound:
                    pass
                await trio.sleep(LOOK_EVERY_S)

    async def _look(self, provider: Provider) -> Look:
        """Reads the log as any process may, beside its writer or after it died."""
        async with perdure.read(self._db) as reader:
            records = [record async for record in (await reader.get(self._id)).events(follow=False)]
            state: BatchState = await reader.log.state(self._id, records[-1].version)
        return Look(records[-1].version, state, msgspec.json.encode(state), len(await _batches(provider)))

    async def _same_up_to(self, before: Look) -> bool:
        """Whether the log still folds to what was seen before, at the version that it had then."""
        async with perdure.read(self._db) as reader:
            state: BatchState = await reader.log.state(self._id, before.version)
        return msgspec.json.encode(state) == before.encoded

    async def _wait_submitted(self) -> BatchSubmitted:
        with trio.fail_after(PATIENCE_S):
            async with perdure.read(self._db) as reader:
                async for record in (await reader.get(self._id)).events():
                    if record.type == "BatchSubmitted":
                        return msgspec.json.decode(record.payload, type=BatchSubmitted)
        raise NotFound("the batch ended and was never submitted", id=self._id)

    async def _wait_working(self, provider: Provider, batch: str) -> TheirBatch:
        with trio.fail_after(PATIENCE_S):
            while True:
                their = await provider.batch(batch)
                if their.request_counts.completed:
                    return their
                await trio.sleep(LOOK_EVERY_S)

    def _compare(self, before: Look, after: Look) -> None:
        self._table(["before the kill", "after the kill"], [before.row(), after.row()])

    def _table(self, headings: Sequence[str], columns: Sequence[Mapping[str, str]]) -> None:
        rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
        self._stage.table(["", *headings], rows)

    def _lines(self, path: Path) -> list[Line]:
        return [msgspec.json.decode(line, type=Line) for line in path.read_bytes().splitlines()]


async def _batches(provider: Provider) -> Sequence[Bought]:
    return [bought for bought in await provider.account() if bought.kind == "batch"]


def _without_repeats(records: Sequence[Recorded]) -> Sequence[Recorded]:
    """The records with only the last of a run of repeating ones."""
    return [
        record
        for record, following in zip(records, [*records[1:], None], strict=True)
        if following is None or record.type not in QUIET_EVENTS or following.type != record.type
    ]


def _seconds(microseconds: int) -> str:
    return f"{microseconds / 1_000_000:7.3f} s"


def _said(record: Recorded) -> str:
    """An event as a line: its name, and what of it says most."""
    fields: Mapping[str, Any] = msgspec.json.decode(record.payload)
    shown = [str(fields[name]) for name in ("provider_batch", "provider_file", "status") if fields.get(name)]
    if fields.get("reconciled"):
        shown.append("(found again by its mark)")
    if fields.get("total"):
        shown.append(f"{fields.get('completed', 0)} of {fields['total']}")
    counted = fields.get("numbers") or fields.get("names")
    if counted:
        shown.append(f"{len(counted)} lines")
    return " ".join([record.type, *shown])
