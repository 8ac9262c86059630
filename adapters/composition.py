"""The composition root: where log, blobs, network, providers and actors are wired into a service.

Everything that is opened here is owned by the `async with` that opened it; leaving the block drains and closes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import trio
from msgspec import Struct

from perdure.actors.backing import Acting, Watching
from perdure.actors.batch.batches import BatchDefaults
from perdure.actors.batch.effects import Batches
from perdure.actors.batch.ports import BatchProvider
from perdure.actors.budget.effects import Budgets
from perdure.actors.budget.watch import BudgetWatch
from perdure.actors.costs.pricing import Pricing
from perdure.actors.fetch import CredentialMissing
from perdure.actors.file.effects import Files
from perdure.actors.file.files import Sources
from perdure.actors.kind import Kind
from perdure.actors.lane import Lane
from perdure.actors.live import LiveProvider
from perdure.actors.media.effects import Media
from perdure.actors.media.ports import MediaProvider
from perdure.actors.media.state import PREFIXES as MEDIA_KINDS
from perdure.actors.media.state import TRAFFIC as MEDIA_TRAFFIC
from perdure.actors.orphan.effects import Orphans
from perdure.actors.prompts import Prompts
from perdure.actors.provider_file.effects import ProviderFiles
from perdure.actors.remote_files import RemoteFiles
from perdure.actors.request.effects import Requests
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import Runtime, RuntimeLimits
from perdure.actors.runtime.steady_clock import SteadyClock
from perdure.actors.service import SOURCE_THREADS, Common, Reader, Service, ServiceDefaults
from perdure.adapters import anthropic, google, openai, xai
from perdure.adapters.config import Config, Env, ProviderConfig
from perdure.adapters.network import (
    DEFAULT_QUEUES,
    Connect,
    Endpoint,
    Engine,
    EngineSettings,
    PooledTransport,
    QueueSettings,
)
from perdure.adapters.network.config import default_queue
from perdure.adapters.prices import Books, ConfiguredPrices, LibraryPrices, TablePrices
from perdure.adapters.urls import PublicUrls, parse_networks
from perdure.events.errors import InvalidRequest, PerdureError, UnknownProvider
from perdure.events.ids import IdSource, new_id, now_us
from perdure.store.blobs import BlobReader, BlobStore
from perdure.store.disk import Disk, ThreadDisk
from perdure.store.sqlite import SqliteLog, open_log, open_reader

logger = logging.getLogger("perdure")

URL_PREFIX: Final = "sqlite:///"
BLOBS_SUFFIX: Final = "-blobs"
BLOB_THREADS: Final = 4
LOCAL_ROOM: Final = 64
"""Effects that stay in this process and go on at a time: they tell other actors, and are over at once."""

SWEEP_EVERY_S: Final = 86_400.0


class Surroundings(Struct, frozen=True, kw_only=True):
    """What a service finds around itself: the real things, unless a test puts others in their place.

    `disk` runs all blocking work; None: threads of the service's own. `clock` gives the time in µs since 1970, UTC, and
    `monotonic` seconds that never jump; virtual ones must keep in step with trio's clock. `connect` opens byte streams
    to providers, below TLS. `ids` makes the ids of operations.
    """

    disk: Disk | None = None
    clock: Callable[[], int] = now_us
    monotonic: Callable[[], float] = time.monotonic
    connect: Connect = trio.open_tcp_stream
    ids: IdSource = new_id


REAL: Final = Surroundings()


def path_of(db: str | os.PathLike[str]) -> Path:
    """The file of a log that is named by a path or a `sqlite:///` URL. Raises `InvalidRequest` for other URLs."""
    text = os.fspath(db)
    if text.startswith(URL_PREFIX):
        return Path(text.removeprefix(URL_PREFIX))
    if "://" in text:
        raise InvalidRequest(
            f"{text.partition('://')[0]}:// logs are not supported: give a path or {URL_PREFIX}…", field="db"
        )
    return Path(text)


def blobs_beside(path: Path) -> Path:
    """The folder of the blobs that belong to the log at `path`."""
    return path.with_name(path.name + BLOBS_SUFFIX)


def providers() -> Mapping[str, BatchProvider]:
    """The providers whose batches perdure speaks, by name."""
    return {
        openai.NAME: openai.OpenAIBatches(),
        anthropic.NAME: anthropic.AnthropicBatches(),
        xai.NAME: xai.XaiBatches(),
        google.NAME: google.GoogleBatches(),
    }


def live_providers() -> Mapping[str, LiveProvider]:
    """The providers that perdure asks single requests, by name."""
    return {
        openai.NAME: openai.OpenAILive(),
        anthropic.NAME: anthropic.AnthropicLive(),
        google.NAME: google.GoogleLive(),
        xai.NAME: xai.XaiLive(),
    }


def media_providers() -> Mapping[str, MediaProvider]:
    """The providers of images and speech that perdure speaks, by name."""
    return {openai.NAME: openai.OpenAIMedia()}


def remote_files() -> Mapping[str, RemoteFiles]:
    """The providers whose file stores perdure speaks, by name."""
    return {
        openai.NAME: openai.OpenAIRemoteFiles(),
        anthropic.NAME: anthropic.AnthropicFiles(),
        google.NAME: google.GoogleFiles(),
        xai.NAME: xai.XaiRemoteFiles(),
    }


class Account(Struct, frozen=True):
    """How a provider is reached: its base URL, the environment variables that usually hold its key (the first that is
    set wins), how a key becomes headers."""

    base_url: str
    key_variables: tuple[str, ...]
    authorize: Callable[[str], dict[str, str]]


ACCOUNTS: Final[Mapping[str, Account]] = {
    openai.NAME: Account(openai.BASE_URL, (openai.KEY_VARIABLE,), openai.authorize),
    anthropic.NAME: Account(anthropic.BASE_URL, (anthropic.KEY_VARIABLE,), anthropic.authorize),
    google.NAME: Account(google.BASE_URL, google.KEY_VARIABLES, google.authorize),
    xai.NAME: Account(xai.BASE_URL, (xai.KEY_VARIABLE,), xai.authorize),
}
"""How each provider is reached, by name."""


class Resolver:
    """Finds where a lane's requests go and the secret that they carry; asked for each attempt, so that a changed
    variable is used at once."""

    def __init__(self, config: Config, environ: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._environ = os.environ if environ is None else environ

    def __call__(self, lane: Lane) -> Endpoint:
        """The endpoint of a lane. Raises `CredentialMissing`, `UnknownProvider`."""
        if lane.provider not in ACCOUNTS:
            raise UnknownProvider(f"no provider is called {lane.provider!r}", field="provider", value=lane.provider)
        account = ACCOUNTS[lane.provider]
        settings = self._config.providers.get(lane.provider, ProviderConfig())
        credentials = settings.credentials or {"default": Env(self._key_variable(account))}
        credential = credentials.get(lane.credential)
        if credential is None:
            raise CredentialMissing(
                f"{lane.provider} has no credential {lane.credential!r} here: name it in providers.{lane.provider}"
            )
        secret = self._environ.get(credential.variable, "") if isinstance(credential, Env) else credential.value
        if not secret:
            place = f"set {credential.variable}" if isinstance(credential, Env) else "it is empty"
            raise CredentialMissing(f"the credential {lane.credential!r} for {lane.provider} is not here: {place}")
        try:
            headers = account.authorize(secret)
        except PerdureError as error:
            raise CredentialMissing(str(error)) from error
        return Endpoint(base_url=(settings.base_url or account.base_url).rstrip("/"), headers=headers)

    def _key_variable(self, account: Account) -> str:
        """The first variable with a key in it, or the first of all where none has one."""
        return next(filter(self._environ.get, account.key_variables), account.key_variables[0])


def kinds_over(
    log_id: str, network: Engine, blobs: BlobStore, prompts: Prompts, pricing: Pricing
) -> list[Kind[Any, Any]]:
    """All kinds of actor, wired to a log's blobs and to the network."""
    files, live, media = remote_files(), live_providers(), media_providers()
    return [
        *(
            Media(
                kind,
                log_id=log_id,
                providers=media,
                network=network,
                blobs=blobs,
                prompts=prompts,
                pricing=pricing,
            )
            for kind in MEDIA_KINDS
        ),
        Batches(
            log_id=log_id,
            providers=providers(),
            files=files,
            live=live,
            network=network,
            blobs=blobs,
            pricing=pricing,
        ),
        Files(log_id=log_id, providers=files, network=network, blobs=blobs),
        ProviderFiles(log_id=log_id, providers=files, network=network, blobs=blobs),
        Requests(log_id=log_id, providers=live, network=network, blobs=blobs, prompts=prompts, pricing=pricing),
        Orphans(providers=files, network=network),
        Budgets(),
    ]


def pricing_of(config: Config, disk: Disk | None = None) -> Pricing:
    """What prices answers: the configured rates, else the price library, else our own table."""
    library = LibraryPrices(disk or ThreadDisk(1))
    return Pricing(Books([ConfiguredPrices(config.prices), library, TablePrices()]))


def folds() -> list[KindFold]:
    """All kinds as replay and verification see them: folding needs neither a network nor blobs."""
    return [
        KindFold(Batches.unwired()),
        KindFold(Files.unwired()),
        KindFold(ProviderFiles.unwired()),
        KindFold(Requests.unwired()),
        *(KindFold(Media.unwired(kind)) for kind in MEDIA_KINDS),
        KindFold(Orphans.unwired()),
        KindFold(Budgets()),
    ]


def engine_settings(config: Config) -> EngineSettings:
    """The network engine's settings: the defaults, with the limits that the configuration sets for a provider."""
    defaults: dict[tuple[str, str], QueueSettings] = dict(DEFAULT_QUEUES)
    for name, settings in config.providers.items():
        if settings.limits is not None:
            for traffic in ("batch", "files", "live", MEDIA_TRAFFIC):
                defaults[name, traffic] = settings.limits
    return EngineSettings(defaults=defaults)


def open(
    db: str | os.PathLike[str],
    /,
    *,
    config: Config | None = None,
    wait_for_lock_s: float = 0.0,
    surroundings: Surroundings = REAL,
) -> AbstractAsyncContextManager[Service]:
    """Opens a log, made if it does not exist, and runs everything in it until the block is left.

    One process writes a log at a time: others may `read` it, and a second writer waits up to `wait_for_lock_s` seconds
    for the first to end. Leaving the block drains and does not wait for unfinished work: the next start goes on with
    it. An exception or a cancellation skips the grace and keeps only what is in hand. `surroundings` are for tests: see
    `perdure.testing`.

    Raises `LogLocked`, `LogNewer`, `LogForeign`, `Corrupt`, `DiskFull`, `Unavailable`; nothing was changed then.
    """
    return _opened(path_of(db), config or Config.load(), wait_for_lock_s, surroundings)


@asynccontextmanager
async def _opened(
    path: Path, config: Config, wait_for_lock_s: float, surroundings: Surroundings
) -> AsyncGenerator[Service]:
    failure: Exception | None = None
    disk, ids = surroundings.disk, surroundings.ids
    clock = SteadyClock(surroundings.clock, surroundings.monotonic)
    async with (
        open_log(
            path,
            codecs=[fold.codec for fold in folds()],
            disk=disk,
            synchronous=config.synchronous,
            wait_for_lock_s=wait_for_lock_s,
            clock=clock,
            ids=ids,
        ) as log,
        BlobStore(blobs_beside(log.path), disk or ThreadDisk(BLOB_THREADS)) as blobs,
        trio.open_nursery() as nursery,
    ):
        clock.go_on_from(await log.last_time())
        settings = engine_settings(config)
        engine = Engine(
            Resolver(config),
            settings=settings,
            transport=PooledTransport(connect=surroundings.connect),
            wall_clock=lambda: datetime.fromtimestamp(clock() / 1_000_000, UTC),
        )
        await nursery.start(engine.run)
        limits = RuntimeLimits(
            mailbox_bytes=config.limits.mailbox_bytes,
            resident_bytes=config.limits.resident_bytes,
            stop_s=config.limits.stop_s,
        )
        prompts = Prompts(config.file_strategy)
        kinds = kinds_over(log.log_id, engine, blobs, prompts, pricing_of(config, disk))
        runtime = Runtime(log, kinds, room=_room(settings), clock=clock, limits=limits)
        await nursery.start(runtime.run)
        nursery.start_soon(_sweep_daily, blobs, log)
        defaults = ServiceDefaults(batches=BatchDefaults(polling=config.polling), strategy=config.batching)
        acting = Acting(
            log,
            blobs,
            folds(),
            providers(),
            live_providers(),
            runtime,
            remote_files(),
            engine,
            media_providers(),
        )
        sources = Sources(disk or ThreadDisk(SOURCE_THREADS), _urls(config, surroundings))
        budgets = BudgetWatch(config.budgets, log=log, runtime=runtime) if config.budgets else None
        common = Common(acting, ids=ids, defaults=defaults, sources=sources, prompts=prompts, budgets=budgets)
        await nursery.start(common.run)
        service = Service(common)
        try:
            yield service
        except Exception as error:
            failure = error  # raised again below: not from inside the nursery, which would wrap it into a group
        else:
            await service.drain(grace_s=config.limits.grace_s, purchase_grace_s=config.limits.purchase_grace_s)
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def run(
    db: str | os.PathLike[str],
    /,
    *,
    config: Config | None = None,
    wait_for_lock_s: float = 0.0,
    task_status: trio.TaskStatus[Service] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The same as `perdure.open` inside somebody's nursery: `service = await nursery.start(perdure.run, db)`.

    Runs until cancelled.
    """
    async with open(db, config=config, wait_for_lock_s=wait_for_lock_s) as service:
        task_status.started(service)
        await trio.sleep_forever()


@asynccontextmanager
async def read(db: str | os.PathLike[str], /) -> AsyncGenerator[Reader]:
    """Opens a log for reading: no lock, beside any number of others, also beside its writer. Starts nothing.

    Raises `NotFound`, `LogNewer`, `LogForeign`, `Corrupt`.
    """
    path = path_of(db)
    failure: Exception | None = None
    async with (
        open_reader(path, codecs=[fold.codec for fold in folds()]) as log,
        BlobReader(blobs_beside(log.path), ThreadDisk(BLOB_THREADS)) as blobs,
        trio.open_nursery() as nursery,
    ):
        watching = Watching(log, blobs, folds(), providers(), live_providers())
        await nursery.start(watching.looking.run)
        try:
            yield Reader(watching)
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _room(settings: EngineSettings) -> Callable[[Lane], int]:
    """How many effects of a lane may go on at a time: as many as its queue sends at once."""

    def room(lane: Lane) -> int:
        if not lane.provider:
            return LOCAL_ROOM
        return default_queue(settings.defaults, lane.provider, lane.traffic).concurrency

    return room


def _urls(config: Config, surroundings: Surroundings) -> PublicUrls | None:
    """What fetches URLs, None where that is not allowed."""
    if not config.fetch_urls:
        return None
    return PublicUrls(
        networks=parse_networks(config.fetch_networks, field="fetch_networks"), connect=surroundings.connect
    )


async def _sweep_daily(blobs: BlobStore, log: SqliteLog) -> None:
    """Removes blobs that no record names, at the start and once a day. Trouble with it is told and tried again."""
    while True:
        try:
            await blobs.sweep(log.referenced)
        except PerdureError as error:
            logger.warning("blobs could not be swept: %s", error)
        await trio.sleep(SWEEP_EVERY_S)
