"""What a refusal of Google's means where the status alone leaves it open. Pure.

How statuses and `google.rpc` codes become our kinds, and `RetryInfo` a wait, is told in `adapters/network/refusal.py`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.actors.fetch import HttpAnswer, Refused
from perdure.adapters.answers import DECODE_ERRORS, refuse_answer
from perdure.adapters.google.wire import ErrorAnswer, ErrorInfo, Status

GONE_STATUSES: Final = frozenset({403, 404})
"""What Google answers for a file that is missing, expired or somebody else's (section 3); 403 means a key that may not
do this, too."""

_errors: Final = msgspec.json.Decoder(ErrorAnswer)
_details: Final = msgspec.json.Decoder(list[ErrorInfo])


def is_gone(answer: HttpAnswer) -> bool:
    """Whether an answer to a question about a file says that there is none, or none for us.

    Raises `Refused`: for a 403 that gives a reason, which is the key's or the account's trouble and says nothing about
    the file; and, worth a repeat, where not Google but somebody in between says 403 or 404.
    """
    if answer.status not in GONE_STATUSES:
        return False
    try:
        said = _errors.decode(answer.body).error
    except DECODE_ERRORS:
        said = None
    if said is None:
        refuse_answer(answer.status, answer.headers, f"somebody answers {answer.status} in Google's place")
    reason = _reason(said)
    if reason and answer.status == 403:
        raise Refused(
            f"Google refuses: {said.message or reason}", kind="auth", status=answer.status, provider_code=reason
        )
    return True


def _reason(said: Status) -> str:
    """The reason of the first `ErrorInfo`, "" where there is none."""
    if not len(said.details):
        return ""
    try:
        details = _details.decode(said.details)
    except DECODE_ERRORS:
        return ""
    return next((detail.reason for detail in details if detail.reason), "")
