"""`service.submit`: one request, sent live, batched with others, or whichever is worth it; once, whatever happens.

A route is decided once for each request and is a value: None, live, or the window to wait in. Nothing intercepts a
request afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec
from msgspec import structs

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
from perdure.actors.encoding import Encoded, digest_of, encode_request, endpoint_of
from perdure.actors.live import LiveProvider
from perdure.actors.looking import Origin
from perdure.actors.prompts import Prompts, prompt_digest, with_files, words_of
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
from perdure.events.request import Content, OpenRequest, ResumeRequest
from perdure.events.requests import Answer, Prompt, RawRequest
from perdure.events.texts import check_text
from perdure.store.records import ActorRow, Holder, KeyTaken, Standing

Via = Literal["live", "batch", "auto"]


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
    ) -> None:
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
        prompt = with_files(request)
        encoded = self._encode(live, words_of(prompt) if prompt else request, via, endpoint)
        digest = prompt_digest(provider, encoded.endpoint, prompt) if prompt else digest_of(provider, encoded)
        if prompt and key is not None:
            # Known ones need nothing stored or uploaded again.
            holder = await self._acting.log.find_key(who.tenant, key)
            if holder is not None:
                return await self._known(key, holder, digest)
        expires_us = deadline_us(deadline_s)
        route = self._route(encoded, who, provider=provider, via=via, credential=credential, on_uncertain=on_uncertain)
        try:
            if route is None:
                command = OpenRequest(
                    provider=provider,
                    endpoint=encoded.endpoint,
                    model=encoded.model,
                    credential=credential,
                    body=Content(0),
                    digest=digest,
                    on_uncertain=on_uncertain or "resubmit",
                    deadline_us=expires_us,
                    custom_id=encoded.custom_id or "",
                    tags=tags,
                )
                if prompt is None:
                    return await self._send(command, encoded.body, who, key)
                async with self._prompts.take_in(prompt, who) as taken_in:
                    neutral = structs.replace(command, neutral=True, files=taken_in.held, subject=who.subject)
                    return await self._send(neutral, msgspec.json.encode(taken_in.prompt), who, key)
            group, window = route
            warnings: Sequence[FileWarning] = ()
            if prompt:
                encoded, warnings = await self._resolved(prompt, encoded, who, group)
            place = await self._windows.add(
                group,
                window,
                Request(
                    encoded=encoded,
                    key=key,
                    digest=digest,
                    deadline_at=_whole_second(self._runtime.now() + expires_us) if expires_us else 0,
                    principal=who.principal,
                    tags=tags,
                    warnings=warnings,
                ),
            )
        except KeyTaken as taken:
            return await self._known(taken.key, taken.holder, digest)
        origin = Origin(created_at=self._runtime.now(), key=key, tags=dict(tags))
        return LineHandle(self._acting, _new_row(place.actor, BATCH, who, None, origin, provider), place.number, origin)

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

    def _route(
        self,
        encoded: Encoded,
        who: Who,
        *,
        provider: str,
        via: Via,
        credential: str,
        on_uncertain: OnUncertain | None,
    ) -> tuple[Group, Window] | None:
        """Where a request goes: live (None), or into a group's window."""
        batcher = self._batchers.get(provider)
        if via == "live" or batcher is None or endpoint_of(encoded.endpoint, batcher.endpoints) is None:
            return None

        group = Group(
            tenant=who.tenant,
            provider=provider,
            endpoint=encoded.endpoint,
            model=encoded.model,
            credential=credential,
            on_uncertain=on_uncertain or ("fail" if via == "batch" else "resubmit"),
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
        self, prompt: Prompt, words: Encoded, who: Who, group: Group
    ) -> tuple[Encoded, Sequence[FileWarning]]:
        """A prompt's line for a window: it is shown its files now, for lines are written as they will be sent."""
        batcher = self._batchers[group.provider]
        endpoint = endpoint_of(words.endpoint, batcher.endpoints)
        assert endpoint is not None
        resolution = await self._prompts.resolve(
            prompt,
            who,
            shows=batcher,
            endpoint=endpoint,
            credential=group.credential,
            life_s=self._strategy.window_s + batcher.window_s,
        )
        shown = structs.replace(prompt, content=resolution.messages)
        encoded = encode_request(batcher, shown, endpoints=batcher.endpoints, endpoint=endpoint)
        return encoded, resolution.warnings

    # ------------------------------------------------------------------ live

    async def _send(self, command: OpenRequest, body: bytes, who: Who, key: str | None) -> RequestHandle:
        actor = self._ids("req")
        command = structs.replace(command, body=await keep(self._blobs, body))
        try:
            told = await self._runtime.tell(
                REQUEST,
                actor,
                command,
                tenant=who.tenant,
                key=key,
                principal=who.principal,
                size=command.body.size_bytes,
            )
        finally:
            if command.body.blob:
                self._blobs.release(command.body.blob)
        origin = Origin(created_at=self._runtime.now(), key=key, tags=dict(command.tags))
        return RequestHandle(self._acting, _new_row(actor, REQUEST, who, key, origin, command.provider, told.version))

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
