"""What every provider's renderer asks of neutral messages: sources that are resolved, turns that say something.

Pure. Which parts an endpoint can express is the renderer's own business; it says so with `unsupported_part`.
"""

from __future__ import annotations

from base64 import b64encode

from perdure.events.errors import InvalidRequest, Unsupported
from perdure.events.messages import (
    DataUrl,
    FileReference,
    Inline,
    Part,
    ProviderRef,
    Resolved,
    Source,
    Url,
    kept_source,
)


def resolved_source(given: Source, provider: str, place: str) -> Resolved:
    """The source, if `provider` can be told it as it is. `place` names the part in errors.

    Raises `InvalidRequest` for one that should have been resolved before, and for a file at another provider.
    """
    source = kept_source(given, place)
    match source:
        case Inline() | Url():
            return source
        case ProviderRef():
            if source.provider != provider:
                raise InvalidRequest(
                    f"{source.reference!r} is a file at {source.provider}, of which {provider} knows nothing",
                    field=f"{place}.source",
                    value=source.provider,
                )
            return source
        case DataUrl() | FileReference():
            raise InvalidRequest(
                f"the source, a {type(source).__name__}, was not resolved: {provider} can be told Inline, Url or"
                " ProviderRef",
                field=f"{place}.source",
            )


def data_url(inline: Inline) -> str:
    """The bytes as a `data:` URL in base64 (RFC 2397)."""
    return f"data:{inline.mime_type};base64,{b64encode(inline.data).decode('ascii')}"


def unsupported_part(
    part: Part, provider: str, endpoint: str, place: str, *, source: Resolved | None = None
) -> Unsupported:
    """The error for a part that an endpoint cannot express: at all, or not with this source."""
    kind = part_kind(part)
    how = "" if source is None else f" given as {type(source).__name__}"
    return Unsupported(f"{provider}'s {endpoint} takes no {kind}{how} ({place})", capability=kind, parameter=place)


def part_kind(part: Part) -> str:
    """What a part is, in one word: `text`, `image`, `document`, `audio`, `video`."""
    return type(part).__name__.lower()
