"""A file at a provider as applications see it."""

from __future__ import annotations

from perdure.actors.provider_file.state import FileState
from perdure.actors.views import Handle, View
from perdure.events.command import Command
from perdure.events.provider_file import ResumeUpload, WithdrawUpload


class ProviderFileView(View[str]):
    """A file on its way to a provider; its result is the provider's id for it."""

    async def _value(self) -> str:
        state: FileState = await self.state()
        return state.provider_file

    async def _reason(self) -> str:
        state: FileState = await self.state()
        return state.message


class ProviderFileHandle(ProviderFileView, Handle[str]):
    """A file on its way to a provider, of a running service."""

    def _cancel_command(self) -> Command:
        return WithdrawUpload()

    def _resubmit_command(self) -> Command:
        return ResumeUpload()

    def _resume_command(self) -> Command:
        return ResumeUpload()
