"""A live request as applications see it."""

from __future__ import annotations

from perdure.actors.request.state import CODEC, RequestState, evolve, initial
from perdure.actors.views import Handle, View
from perdure.events.command import Command
from perdure.events.errors import OperationFailed, OutcomeUncertain
from perdure.events.request import CancelRequest, ResubmitRequest, ResumeRequest
from perdure.events.requests import Answer, LineError
from perdure.events.supervision import SUPERVISION_EVENTS


class RequestView(View[Answer]):
    """A live request, as any process sees it."""

    async def _value(self) -> Answer:
        state = await self._request()
        assert state.opened is not None
        assert state.answer is not None
        if state.answer.blob:
            body = await self._backing.blobs.read(state.answer.blob)
        else:
            text = state.answer.text.open()
            if not isinstance(text, str):
                raise OperationFailed(f"the answer of {self.id} was erased", id=self.id, cause="erased")
            body = text.encode()
        said = self._backing.live[self.provider].read(state.opened.endpoint, body)
        if isinstance(said, LineError):
            raise OperationFailed(f"{self.id} failed: {said.code}: {said.message}", id=self.id, cause=said.code)
        return said

    async def _reason(self) -> str:
        state = await self._request()
        return ": ".join(part for part in (state.code, state.message) if part)

    async def _failure(self, status: str) -> Exception:
        failure = await super()._failure(status)
        if isinstance(failure, OutcomeUncertain):
            state = await self._request()
            failure.policy = state.opened.on_uncertain if state.opened else failure.policy
        return failure

    async def _request(self) -> RequestState:
        """The state as it is now: its stream is short, and reading it is shared with others."""
        stream = await self._backing.looking.stream(self.id)
        state = initial(self.id, stream.row.tenant)
        for _, _, payload in stream.events:
            event = CODEC.decode(payload)
            if not isinstance(event, SUPERVISION_EVENTS):
                state = evolve(state, event)
        return state


class RequestHandle(RequestView, Handle[Answer]):
    """A live request of a running service."""

    def _cancel_command(self) -> Command:
        return CancelRequest()

    def _resubmit_command(self) -> Command:
        return ResubmitRequest()

    def _resume_command(self) -> Command:
        return ResumeRequest()
