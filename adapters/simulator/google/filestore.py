"""Google's files as the simulator keeps them: found by the name that their client chose, processed for a while.

A file's name is free again once the file is gone, so rows have ids of the simulator's own, and the name is their tag.
What a file is at a moment is worked out from the clock, as everything here is.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct, json
from msgspec.structs import replace

from perdure.adapters.simulator.faults import FailProcessing
from perdure.adapters.simulator.filestore import FileStore, KeptFile
from perdure.adapters.simulator.google.errors import ApiError, invalid, no_such_file
from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.multipart import ReceivedPart
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

LIFE_S: Final = 48 * 3_600
"""How long a file lives: 48 hours, not to be changed (`contracts/providers.md` section 3.1)."""

NAME_PREFIX: Final = "files/"

State = Literal["PROCESSING", "ACTIVE", "FAILED"]

_NAME: Final = re.compile(r"files/[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_SESSIONS: Final = "google-session"
_FAILURES: Final = "google-failure"
_PROCESSED_TYPES: Final = ("video/", "audio/")


class Session(Struct, frozen=True):
    """An upload on its way. `size_bytes` is what was announced, None for nothing. `received` is how much is there.

    `turn` counts what was asked of it: a request that was overtaken by another may not write any more.
    """

    id: str
    name: str
    display_name: str
    mime_type: str
    size_bytes: int | None
    received: int = 0
    turn: int = 0
    is_over: bool = False


_decode_session: Final = json.Decoder(Session).decode


class GoogleFiles(FileStore):
    """The files and sessions.

    Args:
        processing_s: how long video and audio are processed, in seconds of the simulator's clock; all else is ready at
            once.
        arrange: what shall go wrong with the file that is stored now.
    """

    def __init__(self, world: World, *, processing_s: float, arrange: Callable[[], FailProcessing | None]) -> None:
        super().__init__(world, provider="google", id_prefix="gfile_")
        self._google = world
        self._processing_s = processing_s
        self._arrange = arrange

    # ------------------------------------------------------------ files

    def find(self, tables: Tables, id_: str) -> KeptFile | None:
        """The file with this name or bare id, if it exists now."""
        now = self._google.clock.now()
        bare = id_.removeprefix(NAME_PREFIX)
        page = tables.page(self.kind, now=now, limit=1, newest_first=True, tag=bare)
        return next(iter(self.listed(page)), None)

    def choose_name(self, tables: Tables, asked: str | None) -> str:
        """The name for a new file. Raises `ApiError`: 400 for one that no file may have, 409 for one that is taken."""
        if not asked:
            return NAME_PREFIX + digest(self._google.seed, "google-file", tables.next_ordinal("google-name"))[:12]
        if not _NAME.fullmatch(asked):
            raise invalid(
                f"'{asked}' is no name for a file: 'files/' and up to 40 of a-z, 0-9 and '-', none at an end.",
                "file.name",
            )
        self.check_free(tables, asked)
        return asked

    def check_free(self, tables: Tables, name: str) -> None:
        """Raises `ApiError` 409 when there is a file with this name."""
        if self.find(tables, name) is not None:
            raise ApiError(409, f"Requested entity already exists: {name}.")

    def store(self, tables: Tables, session: Session, part: ReceivedPart, source: Path) -> KeptFile:
        """Makes the file of a session. Raises `ApiError` 409 when its name was taken meanwhile."""
        self.check_free(tables, session.name)
        file = self.add(tables, part, source, life_s=LIFE_S, tag=session.name.removeprefix(NAME_PREFIX))
        failure = self._arrange()
        if failure is not None:
            tables.add(_FAILURES, f"failure-{file.id}", json.encode(failure))
        return file

    def generate(
        self, tables: Tables, part: ReceivedPart, source: Path, *, name: str, mime_type: str, tag: str = ""
    ) -> KeptFile:
        """Makes a file that nobody uploaded; it can be downloaded. `name` is what it is called, and its name in routes
        (free, `files/…`) where it is one."""
        named = replace(part, filename=name)
        id_ = tag or (name if name.startswith(NAME_PREFIX) else self.choose_name(tables, None)).removeprefix(
            NAME_PREFIX
        )
        return self.add(
            tables, named, source, life_s=LIFE_S, tag=id_, bought=False, mime_type=mime_type, generated=True
        )

    def find_active(self, tables: Tables, uri: str) -> KeptFile:
        """The file that a URI or a name names. Raises `ApiError`: 403 without one, 400 while it cannot be used."""
        id_ = uri.rpartition(NAME_PREFIX)[2]
        file = self.find(tables, id_)
        if file is None:
            raise no_such_file(id_)
        if self.state(tables, file)[0] != "ACTIVE":
            raise ApiError(
                400,
                f"The File {id_} is not in an ACTIVE state and usage is not allowed.",
                status="FAILED_PRECONDITION",
            )
        return file

    def state(self, tables: Tables, file: KeptFile) -> tuple[State, str]:
        """What a file is now, and why it failed."""
        now = self._google.clock.now()
        if file.mime_type.startswith(_PROCESSED_TYPES) and now < file.created_at + self._processing_s:
            return "PROCESSING", ""
        doc = tables.get(_FAILURES, f"failure-{file.id}", now)
        return ("ACTIVE", "") if doc is None else ("FAILED", json.decode(doc, type=FailProcessing).message)

    def show(self, tables: Tables, file: KeptFile, base_url: str) -> dict[str, Any]:
        """The file as Google shows it. `base_url` ends with the version."""
        state, error = self.state(tables, file)
        name = NAME_PREFIX + file.tag
        shown: dict[str, Any] = {
            "name": name,
            "mimeType": file.mime_type,
            "sizeBytes": str(file.size_bytes),
            "createTime": rfc3339(file.created_at),
            "updateTime": rfc3339(file.created_at),
            "expirationTime": rfc3339(file.created_at + LIFE_S if file.expires_at is None else file.expires_at),
            "sha256Hash": b64encode(bytes.fromhex(file.sha256)).decode(),
            "uri": f"{base_url}/{name}",
            "state": state,
            "source": "UPLOADED",
        }
        if file.generated:
            shown |= {"source": "GENERATED", "downloadUri": f"{base_url}/{name}:download?alt=media"}
        if file.filename != name:
            shown["displayName"] = file.filename
        if error:
            shown["error"] = {"code": 3, "message": error}
        return shown

    # ------------------------------------------------------------ sessions

    def open_session(self, tables: Tables, session: Session, *, until: float) -> None:
        """Keeps a new session, until that time."""
        self._google.path(session.id).touch()
        tables.add(_SESSIONS, session.id, json.encode(session), until=until)

    def session(self, tables: Tables, id_: str) -> Session | None:
        """The session, if it exists now."""
        doc = tables.get(_SESSIONS, id_, self._google.clock.now())
        return None if doc is None else _decode_session(doc)

    def keep_session(self, tables: Tables, session: Session) -> None:
        """Keeps what a session has become."""
        tables.replace(session.id, json.encode(session))

    def kept(self, tables: Tables) -> set[str]:
        """The names of all bytes that belong to files and sessions."""
        return super().kept(tables) | tables.ids(_SESSIONS, self._google.clock.now())


def rfc3339(at: float) -> str:
    """A time, in seconds since 1970, as Google writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
