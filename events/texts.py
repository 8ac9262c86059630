"""Text from outside: what callers say in words is text that can be stored, or it is refused at the edge."""

from __future__ import annotations

from perdure.events.errors import InvalidRequest


def check_text(text: object, field: str, *, longest: int, shortest: int = 1, line: int | None = None) -> None:
    """Raises `InvalidRequest` unless `text` is a string of `shortest` to `longest` characters that UTF-8 can write.

    `field` and `line` are named in the error. Python's strings may hold halves of surrogate pairs: no file can.
    """
    if not isinstance(text, str):
        raise InvalidRequest(f"{field} is {type(text).__name__}, not a string", line=line, field=field)
    if not shortest <= len(text) <= longest:
        raise InvalidRequest(
            f"{field} has {len(text)} characters, it may have {shortest} to {longest}",
            line=line,
            field=field,
            limit=longest,
            value=text,
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{field} is no Unicode text: {error.reason}", line=line, field=field) from error
