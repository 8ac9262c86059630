"""Receiving webhooks: verified, once each, and turned into a look at the batch."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol

from msgspec import Struct
from standardwebhooks import Webhook

from perdure.adapters.config import Env, Secret
from perdure.adapters.webhooks.announcements import BATCH_TYPES, read_announcement
from perdure.adapters.webhooks.signatures import signer, verified_id
from perdure.events.errors import InvalidRequest, UnknownProvider
from perdure.events.ids import now_us

USUAL_SECRETS: Final[Mapping[str, Secret | Env]] = {"openai": Env("OPENAI_WEBHOOK_SECRET")}
"""Where a provider's secret usually is: the variable that OpenAI's SDK reads. Google names none."""

REMEMBERED: Final = 10_000
"""How many ids are known again. A repeat that is not costs one poll."""

Result = Literal["polled", "duplicate", "unknown", "ignored"]


class WebhookOutcome(Struct, frozen=True, kw_only=True):
    """What became of a webhook that was believed: answer it with 2xx, or its provider sends it again.

    `id` is the sender's, the same for each repeat; `type` is what it announces. `result`: `polled`, its batch is looked
    at now; `duplicate`, it came before; `unknown`, no batch here that goes on is called so; `ignored`, it is not about
    a batch. `operation` is the id of the operation that the batch belongs to, None when there is none.
    """

    id: str
    type: str
    result: Result
    operation: str | None = None


class Announced(Protocol):
    """What the receiver needs of a service."""

    async def poll_now(self, provider: str, provider_batch: str) -> str | None:
        """See `perdure.Service.poll_now`."""
        ...


class Webhooks:
    """Receives webhooks for a service, of whatever web server there is.

    Args:
        service: the running service whose batches they are about.
        secrets: who signs, by provider: `config.webhook_secrets`. Several secrets of one provider stand in one value,
            with spaces between them: while one is rotated both are good. Without one for OpenAI the variable
            `OPENAI_WEBHOOK_SECRET` is read. Variables are read each time.
        clock: µs since 1970, UTC, for what is too old to be believed.
        environ: the variables; by default the process's own.
    """

    def __init__(
        self,
        service: Announced,
        secrets: Mapping[str, Secret | Env] | None = None,
        *,
        clock: Callable[[], int] = now_us,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._service = service
        self._secrets = {**USUAL_SECRETS, **(secrets or {})}
        self._clock = clock
        self._environ = os.environ if environ is None else environ
        self._seen: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def receive(self, provider: str, headers: Mapping[str, str], body: bytes) -> WebhookOutcome:
        """Verifies a webhook and has the batch that it is about looked at. Nothing is recorded: it is a hint.

        `headers` are the request's, in any case of letters; `body` is its body, byte for byte.

        Raises `InvalidWebhook` for what is not believed or cannot be read (answer 400), `UnknownProvider` for one that
        announces no batches, `InvalidRequest` when there is no usable secret here, `Closed` and `Unavailable` when it
        should be sent again later (503).
        """
        if provider not in BATCH_TYPES:
            raise UnknownProvider(
                f"{provider!r} announces no batches: one of {', '.join(BATCH_TYPES)}", field="provider", value=provider
            )
        id_ = verified_id(self._signers(provider), headers, body, now_s=self._clock() / 1_000_000)
        said = read_announcement(provider, body)
        seen = self._seen.get((provider, id_))
        if seen is not None:
            return WebhookOutcome(id=id_, type=said.type, result="duplicate", operation=seen or None)
        operation: str | None = None
        for name in said.batches:
            operation = operation or await self._service.poll_now(provider, name)
        self._remember(provider, id_, operation)
        result: Result = "ignored" if not said.batches else "unknown" if operation is None else "polled"
        return WebhookOutcome(id=id_, type=said.type, result=result, operation=operation)

    def _signers(self, provider: str) -> list[Webhook]:
        credential = self._secrets.get(provider)
        if credential is None:
            raise InvalidRequest(
                f"there is no secret to verify {provider}'s webhooks with: set webhook_secrets.{provider}",
                field="webhook_secrets",
            )
        value = self._environ.get(credential.variable, "") if isinstance(credential, Env) else credential.value
        if not value.strip():
            place = f"set {credential.variable}" if isinstance(credential, Env) else "it is empty"
            raise InvalidRequest(
                f"the secret to verify {provider}'s webhooks with is not here: {place}", field="webhook_secrets"
            )
        return [signer(secret) for secret in value.split()]

    def _remember(self, provider: str, id_: str, operation: str | None) -> None:
        self._seen[provider, id_] = operation or ""
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
