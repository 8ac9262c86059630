"""The main job: a file of requests goes in, every answer comes out exactly once, whatever dies in between.

The same command is the same job: its key is made of everything that decides what is bought. Nothing reaches the log
before the whole input was judged, the credential found and the output opened.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct

import perdure
from perdure.actors.batch.opening import Polling, check_deadline, check_resubmit
from perdure.actors.batch.ports import BatchProvider
from perdure.actors.batch.state import BatchState
from perdure.actors.batch.views import BatchHandle
from perdure.actors.fetch import CredentialMissing
from perdure.actors.lane import Lane
from perdure.actors.service import Service
from perdure.actors.views import ENDED, Handle
from perdure.adapters import composition
from perdure.adapters.cli.destination import Destination, open_destination
from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.output import Column, Row, show
from perdure.adapters.cli.progress import follow, meter_for
from perdure.adapters.cli.requests_file import Judged, RequestsFile
from perdure.adapters.cli.results import Tally, encode_line
from perdure.adapters.cli.terminal import Terminal
from perdure.adapters.config import Config, ProviderConfig
from perdure.events.errors import InvalidRequest, KeyConflict, ProviderError, UnknownProvider
from perdure.events.keys import CREDENTIAL_PREFIXES, check_key
from perdure.events.purchase import OnUncertain

INPUT_TAG: Final = "input_sha256"
"""The tag that keeps an input's digest, so that one key is never taken for two inputs."""

UNSETTLED: Final = frozenset({"uncertain", "parked"})
"""Ends without an output: somebody has to decide first."""


class JobOptions(Struct, frozen=True, kw_only=True):
    """What the command was told. Times are in seconds; `allow_errors` counts lines, `ALL_ERRORS` is any number."""

    input: Path
    output: Path | None
    provider: str
    base_url: str | None
    model: str | None
    endpoint: str | None
    db: str
    key: str | None
    credential: str
    detach: bool
    dry_run: bool
    poll_s: float | None
    allow_errors: int
    tags: Mapping[str, str]
    deadline_s: float | None
    on_uncertain: OnUncertain
    resubmit: int
    wait_for_lock_s: float
    progress: bool


class Job:
    """One run of the main job."""

    def __init__(self, options: JobOptions, terminal: Terminal) -> None:
        self._options = options
        self._terminal = terminal
        self._id = ""

    def come_back(self) -> str:
        """How to go on after an interruption."""
        if not self._id:
            return "nothing was submitted; the same command begins again"
        return f"{self._id} is in the log and goes on at the provider; the same command collects it"

    async def run(self) -> int:
        """Does the job and returns the exit code."""
        options = self._options
        adapter = composition.providers().get(options.provider)
        if adapter is None:
            known = ", ".join(sorted(composition.providers()))
            raise UnknownProvider(
                f"no provider is called {options.provider!r}: use one of {known}",
                field="--provider",
                value=options.provider,
            )
        if options.key is not None:
            check_key(options.key)
        check_deadline(options.deadline_s)
        check_resubmit(options.resubmit)
        _check_names(options)
        config = configured(Config.load(), options.provider, options.base_url)
        requests = await RequestsFile.open(options.input, options.model, self._terminal)
        try:
            return await self._with_input(requests, adapter, config)
        finally:
            requests.close()

    async def _with_input(self, requests: RequestsFile, adapter: BatchProvider, config: Config) -> int:
        options = self._options
        destination: Destination | None = None
        if options.output is not None and not (options.detach or options.dry_run):
            if requests.is_file(options.output):
                raise InvalidRequest(
                    f"{options.output} is the input: name another file for the output", field="--output"
                )
            destination = open_destination(options.output, self._token())
        try:
            judged = await requests.judge(adapter, options.endpoint)
            key = options.key or job_key(judged, options.provider, options.credential)
            if options.dry_run:
                await self._show_plan(judged, key, adapter)
                return ExitCode.DONE
            check_credential(config, options.provider, options.credential)
            self._terminal.say(f"log: {log_path(options.db)}")
            async with perdure.open(options.db, config=config, wait_for_lock_s=options.wait_for_lock_s) as service:
                handle = await self._submit(service, requests, judged, key)
                if destination is None:
                    return await self._hand_over(handle)
                return await self._collect(handle, await service.get(handle.id), destination)
        finally:
            if destination is not None:
                destination.abandon()

    def _token(self) -> str:
        options = self._options
        parts = (os.path.realpath(options.input), options.provider, options.endpoint, options.model, options.key)
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:12]

    async def _show_plan(self, judged: Judged, key: str, adapter: BatchProvider) -> None:
        limits = adapter.limits(judged.endpoint)
        known: Row | None = None
        if composition.path_of(self._options.db).exists():
            async with perdure.read(self._options.db) as reader:
                view = await reader.find(key)
                known = None if view is None else {"id": view.id, "status": view.status}
        row = {
            "would": "go on" if known else "submit",
            "id": known and known["id"],
            "status": known and known["status"],
            "lines": judged.lines,
            "input_bytes": judged.encoded_bytes,
            "batches": max(-(-judged.lines // limits.max_lines), -(-judged.encoded_bytes // limits.max_bytes)),
            "provider": adapter.name,
            "endpoint": judged.endpoint,
            "model": judged.model,
            "key": key,
            "log": str(log_path(self._options.db)),
        }
        show(self._terminal, [row], [Column(name) for name in row])
        self._terminal.say("nothing was submitted")

    async def _submit(self, service: Service, requests: RequestsFile, judged: Judged, key: str) -> BatchHandle:
        options = self._options
        known = await service.find(key)
        if known is not None:
            _check_same_input(known, key, judged)
        polling = None if options.poll_s is None else Polling(first_s=options.poll_s, every_s=options.poll_s)
        async with aclosing(requests.requests(judged)) as lines:
            handle = await service.batches.submit(
                lines,
                provider=options.provider,
                key=key,
                endpoint=judged.endpoint,
                credential=options.credential,
                deadline_s=options.deadline_s,
                on_uncertain=options.on_uncertain,
                resubmit=options.resubmit,
                tags={**options.tags, INPUT_TAG: judged.digest},
                polling=polling,
            )
        self._id = handle.id
        said = "submitted" if known is None else "on record" if handle.status in ENDED else "goes on"
        self._terminal.say(f"{said}: {handle.id} ({judged.lines} lines, {judged.model} at {options.provider})")
        return handle

    async def _hand_over(self, handle: BatchHandle) -> int:
        """Shows the id at once, then stays just until the provider has the batch: nobody else would bring it there."""
        row = {"id": handle.id, "key": handle.key, "provider": handle.provider, "status": handle.status}
        show(self._terminal, [row], [Column(name) for name in row])
        async for progress in handle.progress_updates():
            if progress.status == "blocked":
                raise blocked(handle.provider, progress.note)
            if progress.status != "pending":
                break
        state: BatchState = await handle.state()
        theirs = ", ".join(part.provider_batch for part in state.parts if part.provider_batch)
        self._terminal.say(f"{handle.provider} has it as {theirs}; the same command without --detach collects it")
        return ExitCode.DONE

    async def _collect(self, handle: BatchHandle, watched: Handle[Any], destination: Destination) -> int:
        stopped_by = ""
        tally = Tally()

        async def watch(scope: trio.CancelScope) -> None:
            nonlocal stopped_by
            meter = meter_for(self._terminal, wanted=self._options.progress)
            last = await follow(watched.progress_updates(), meter)
            if last.status == "blocked":
                stopped_by = last.note
                scope.cancel()

        async with trio.open_nursery() as writing:
            writing.start_soon(destination.run)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, nursery.cancel_scope)
                async with handle.results(order="input" if destination.in_order else "arrival") as results:
                    async for line in results:
                        tally.add(line)
                        await destination.write(encode_line(line))
            writing.cancel_scope.cancel()
        if stopped_by:
            raise blocked(handle.provider, stopped_by)
        if await handle.refresh() in UNSETTLED:
            await handle.result()  # raises, and says what to do
        await destination.commit()
        self._terminal.say(
            f"{handle.status}: {tally.ok} lines ok, {tally.errors} with an error; results: {destination.name}"
        )
        return tally.code(self._terminal, self._options.allow_errors)


def configured(config: Config, provider: str, base_url: str | None) -> Config:
    """`config` with the address that an option gave. Raises `InvalidRequest` for what is no address."""
    if base_url is None:
        return config
    if not base_url.startswith(("http://", "https://")) or "@" in base_url:
        raise InvalidRequest(
            "--base-url is http://… or https://…, without a user or password in it", field="--base-url"
        )
    settings = config.providers.get(provider, ProviderConfig())
    changed = msgspec.structs.replace(settings, base_url=base_url)
    return msgspec.structs.replace(config, providers={**config.providers, provider: changed})


def check_credential(config: Config, provider: str, credential: str) -> None:
    """Raises `ProviderError` when the credential is not here, before anything is bought with it."""
    try:
        composition.Resolver(config)(Lane("", provider, credential, "batch"))
    except CredentialMissing as missing:
        raise ProviderError(f"{missing}, and run the same command again; nothing was submitted") from missing


def job_key(judged: Judged, provider: str, credential: str) -> str:
    """The key of a job without one: everything that decides what is bought, and with whose money."""
    parts = (judged.digest, provider, judged.endpoint, judged.model, credential)
    return "sha256:" + hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def log_path(db: str) -> Path:
    """The log's file, whole."""
    return composition.path_of(db).absolute()


def blocked(provider: str, why: str) -> ProviderError:
    """The error for a job that waits for somebody: what the provider said and how to go on."""
    return ProviderError(
        f"{provider} does not take it: {why.rstrip('.')}; put that right and run the same command again: it goes on"
    )


def check_no_secret(option: str, *names: str) -> None:
    """Names end up in the log: what looks like a secret must not be one, and is not repeated."""
    if any(name.startswith(CREDENTIAL_PREFIXES) for name in names):
        raise InvalidRequest(
            f"{option} looks like a credential and is not used: name it, and keep the secret in the environment",
            field=option,
        )


def _check_names(options: JobOptions) -> None:
    check_no_secret("--credential", options.credential)
    check_no_secret("--tag", *options.tags, *options.tags.values())
    if INPUT_TAG in options.tags:
        raise InvalidRequest(f"the tag {INPUT_TAG} is perdure's own: choose another name", field="--tag")


def _check_same_input(known: Handle[Any], key: str, judged: Judged) -> None:
    """Raises `KeyConflict` when the key's operation was made of another input."""
    was = known.tags.get(INPUT_TAG)
    if was is not None and was != judged.digest:
        raise KeyConflict(
            f"the key {key!r} belongs to {known.id}, which was made of another input: use another key, or no --key",
            key=key,
            existing_id=known.id,
            difference="input",
        )
