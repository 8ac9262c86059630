"""`service.submit`: one request, sent live, batched with others, or whichever is worth it; once, whatever happens.

A route is decided once for each request and is a value: None, live, or the window to wait in. Nothing intercepts a
request afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec
from msgspec import Struct, structs

from perdure.actors.backing import Acting
from perdure.actors.batch.lines import LineHandle, line_id
from perdure.actors.batch.opening import (
    LONGEST_NAME,
    check_deadline,
    check_on_uncertain,
    check_tags,
    deadline_us,
    known_provider,
)
from perdure.actors.batch.state import KIND as BATCH
from perdure.actors.batch.strategy import BatchStrategy, Requestors, Submission, Window, check_window
from perdure.actors.batch.windows import Group, Request, Windows
from perdure.actors.budget.watch import BudgetWatch, Spending
from perdure.actors.encoding import Encoded, digest_of, encode_request, endpoint_of
from perdure.actors.live import LiveProvider
from perdure.actors.looking import Origin
from perdure.actors.prompts import Prompts, TakenIn, with_files, words_of
from perdure.actors.purchase import SECOND_US
from perdure.actors.request.effects import keep
from perdure.actors.request.state import KIND as REQUEST
from perdure.actors.request.state import RequestState
from perdure.actors.request.views import RequestHandle
from perdure.actors.views import Handle
from perdure.actors.who import Who
from perdure.events.batch import ResumeBatch
from perdure.events.errors import InvalidRequest, KeyConflict, Unsupported
from perdure.events.file_warnings import FileWarning
from perdure.events.ids import IdSource
from perdure.events.keys import check_key
from perdure.events.purchase import OnUncertain
from perdure.events.request import OpenRequest, ResumeRequest
from perdure.events.requests import Answer, Prompt, RawRequest
from perdure.events.texts import check_text
from perdure.store.records import ActorRow, Holder, KeyTaken, Standing

Via = Literal["live", "batch", "auto"]


class _Asked(Struct, frozen=True, kw_only=True):
    """How a request was submitted. `deadline_us` is µs from now, 0 for none."""

    who: Who
    provider: str
    via: Via
    key: str | None
    credential: str
    deadline_us: int
    on_uncertain: OnUncertain | None
    tags: Mapping[str, str]


class Submitting:
    """Submits single requests for everybody who shares a service."""

    def __init__(
        self,
        acting: Acting,
        *,
        ids: IdSource,
        windows: Windows,
        prompts: Prompts,
        strategy: BatchStrategy,
        requestors: Requestors,
        budgets: BudgetWatch | None = None,
    ) -> None:
        self._budgets = budgets
        self._runtime = acting.runtime
        self._blobs = acting.blobs
        self._batchers = acting.providers
        self._live = acting.live
        self._ids = ids
        self._windows = windows
        self._prompts = prompts
        self._strategy = strategy
        self._requestors = requestors
        self._acting = acting

    async def submit(
        self,
        request: Prompt | RawRequest,
        who: Who,
        *,
        provider: str,
        via: Via,
        key: str | None,
        endpoint: str | None,
        credential: str,
        deadline_s: float | None,
        on_uncertain: OnUncertain | None,
        tags: Mapping[str, str],
    ) -> Handle[Answer]:
        """See `Service.submit`."""
        if via not in get_args(Via):
            raise InvalidRequest(f"via is {via!r}: one of {', '.join(get_args(Via))}", field="via", value=via)
        live = known_provider(self._live, provider)
        check_deadline(deadline_s)
        if on_uncertain is not None:
            check_on_uncertain(on_uncertain)
        if key is not None:
            check_key(key)
        check_text(credential, "credential", longest=LONGEST_NAME)
        check_tags(tags)
        asked = _Asked(
            who=who,
            provider=provider,
            via=via,
            key=key,
            credential=credential,
            deadline_us=deadline_us(deadline_s),
            on_uncertain=on_uncertain,
            tags=tags,
        )
        prompt = with_files(request)
        encoded = self._encode(live, words_of(prompt) if prompt else request, via, endpoint)
        if prompt is None:
            return await self._start(asked, encoded, digest_of(provider, encoded), None)
        async with self._prompts.take_in(prompt, who, provider=provider, endpoint=encoded.endpoint) as taken_in:
            if key is not None:
                # A known one needs nothing uploaded again.
                holder = await self._acting.log.find_key(who.tenant, key)
                if holder is not None:
                    return await self._known(key, holder, taken_in.digest)
            return await self._start(asked, encoded, taken_in.digest, taken_in)

    async def _start(self, asked: _Asked, encoded: Encoded, digest: str, taken_in: TakenIn | None) -> Handle[Answer]:
        """Makes a request durable. `taken_in` is its prompt, if that names files; `encoded` holds its words then."""
        route = self._route(asked, encoded)
        if self._budgets is not None and (refusal := await self._budgets.refusal(_spending(asked, encoded))):
            # What is known already costs nothing more.
            holder = None if asked.key is None else await self._acting.log.find_key(asked.who.tenant, asked.key)
            if asked.key is None or holder is None:
                raise refusal
            return await self._known(asked.key, holder, digest)
        try:
            if route is None:
                return await self._send(asked, encoded, digest, taken_in)
            group, window = route
            warnings: Sequence[FileWarning] = ()
            if taken_in is not None:
                encoded, warnings = await self._resolved(taken_in, encoded, asked.who, group)
            deadline_at = _whole_second(self._runtime.now() + asked.deadline_us) if asked.deadline_us else 0
            request = Request(
                encoded=encoded,
                key=asked.key,
                digest=digest,
                deadline_at=deadline_at,
                principal=asked.who.principal,
                tags=asked.tags,
                warnings=warnings,
            )
            place = await self._windows.add(group, window, request)
        except KeyTaken as taken:
            return await self._known(taken.key, taken.holder, digest)
        origin = Origin(created_at=self._runtime.now(), key=asked.key, tags=dict(asked.tags))
        row = _new_row(place.actor, BATCH, asked.who, None, origin, asked.provider)
        return LineHandle(self._acting, row, place.number, origin)

    # ------------------------------------------------------------------ which way

    def _encode(self, live: LiveProvider, request: Prompt | RawRequest, via: Via, endpoint: str | None) -> Encoded:
        batcher = self._batchers.get(live.name)
        if via == "batch":
            if batcher is None:
                raise Unsupported(
                    f"{live.name} has no batches: submit it with via='live' or via='auto'",
                    capability="batches",
                    parameter="via",
                )
            return encode_request(batcher, request, endpoints=batcher.endpoints, endpoint=endpoint)
        return encode_request(live, request, endpoints=live.live_endpoints, endpoint=endpoint)

    def _route(self, asked: _Asked, encoded: Encoded) -> tuple[Group, Window] | None:
        """Where a request goes: live (None), or into a group's window."""
        provider, via = asked.provider, asked.via
        batcher = self._batchers.get(provider)
        if via == "live" or batcher is None or endpoint_of(encoded.endpoint, batcher.endpoints) is None:
            return None

        group = Group(
            tenant=asked.who.tenant,
            provider=provider,
            endpoint=encoded.endpoint,
            model=encoded.model,
            credential=asked.credential,
            on_uncertain=asked.on_uncertain or ("fail" if via == "batch" else "resubmit"),
            via=via,
        )
        strategy = self._strategy
        if via == "batch":
            window = Window(open_s=strategy.window_s, max_lines=strategy.max_lines, minimum=0)
            return group, check_window(window)
        submission = Submission(
            provider=provider,
            endpoint=encoded.endpoint,
            model=encoded.model,
            waiting=self._windows.waiting(group),
            requestors=self._requestors.count,
        )
        chosen = strategy.window(submission)
        return None if chosen is None else (group, check_window(chosen))

    async def _resolved(
        self, taken_in: TakenIn, words: Encoded, who: Who, group: Group
    ) -> tuple[Encoded, Sequence[FileWarning]]:
        """A prompt's line for a window: it is shown its files now, for lines are written as they will be sent."""
        batcher = self._batchers[group.provider]
        endpoint = endpoint_of(words.endpoint, batcher.endpoints)
        assert endpoint is not None
        resolution = await self._prompts.resolve(
            taken_in.prompt,
            who,
            shows=batcher,
            endpoint=endpoint,
            credential=group.credential,
            held=taken_in.held,
            life_s=self._strategy.window_s + batcher.window_s,
        )
        shown = structs.replace(taken_in.prompt, content=resolution.messages)
        encoded = encode_request(batcher, shown, endpoints=batcher.endpoints, endpoint=endpoint)
        return encoded, resolution.warnings

    # ------------------------------------------------------------------ live

    async def _send(self, asked: _Asked, encoded: Encoded, digest: str, taken_in: TakenIn | None) -> RequestHandle:
        actor, who = self._ids("req"), asked.who
        body = encoded.body if taken_in is None else msgspec.json.encode(taken_in.prompt)
        content = await keep(self._blobs, body)
        command = OpenRequest(
            provider=asked.provider,
            endpoint=encoded.endpoint,
            model=encoded.model,
            credential=asked.credential,
            body=content,
            digest=digest,
            on_uncertain=asked.on_uncertain or "resubmit",
            deadline_us=asked.deadline_us,
            custom_id=encoded.custom_id or "",
            tags=asked.tags,
            neutral=taken_in is not None,
            files=() if taken_in is None else taken_in.held,
            subject=who.subject,
        )
        try:
            told = await self._runtime.tell(
                REQUEST,
                actor,
                command,
                tenant=who.tenant,
                key=asked.key,
                principal=who.principal,
                size=content.size_bytes,
            )
        finally:
            if content.blob:
                self._blobs.release(content.blob)
        origin = Origin(created_at=self._runtime.now(), key=asked.key, tags=dict(asked.tags))
        row = _new_row(actor, REQUEST, who, asked.key, origin, asked.provider, told.version)
        return RequestHandle(self._acting, row)

    # ------------------------------------------------------------------ known already

    async def _known(self, key: str, holder: Holder, digest: str) -> Handle[Answer]:
        """The handle of the request that holds `key`, if it is the same one. One that is blocked tries again now."""
        if holder.number is not None:
            if holder.digest != digest:
                raise _conflict(key, line_id(holder.actor, holder.number), "request")
            row = await self._acting.looking.row(holder.actor)
            if row.standing.status == "blocked":
                await self._acting.tell(row, ResumeBatch())
            origin = await self._acting.looking.origin(holder.actor, holder.number)
            return LineHandle(self._acting, row, holder.number, origin)
        row = await self._acting.looking.row(holder.actor)
        if row.kind != REQUEST:
            raise _conflict(key, row.actor, "kind")
        state: RequestState = (await self._runtime.state(REQUEST, row.actor, row.tenant)).state
        if state.opened is None or state.opened.digest != digest:
            raise _conflict(key, row.actor, "request")
        if row.standing.status == "blocked":
            await self._acting.tell(row, ResumeRequest())
        return RequestHandle(self._acting, row)


def _conflict(key: str, existing_id: str, difference: str) -> KeyConflict:
    return KeyConflict(
        f"the key {key!r} belongs to {existing_id}, which asks for something else: use another key",
        key=key,
        existing_id=existing_id,
        difference=difference,
    )


def _spending(asked: _Asked, encoded: Encoded) -> Spending:
    return Spending(
        provider=asked.provider,
        model=encoded.model,
        credential=asked.credential,
        tenant=asked.who.tenant,
        tags=asked.tags,
    )


def _whole_second(at_us: int) -> int:
    """The next whole second: lines of a window then share few deadlines."""
    return -(-at_us // SECOND_US) * SECOND_US


def _new_row(
    actor: str, kind: str, who: Who, key: str | None, origin: Origin, provider: str, version: int = 1
) -> ActorRow:
    """The row of an operation that was just recorded, without reading it back: a handle looks again when asked."""
    standing = Standing(status="pending", fold=0, next_due=None, provider=provider, tags=origin.tags)
    return ActorRow(
        actor=actor,
        kind=kind,
        tenant=who.tenant,
        key=key,
        version=version,
        created_at=origin.created_at,
        updated_at=origin.created_at,
        standing=standing,
    )
