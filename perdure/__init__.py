"""perdure: batches, videos and files that outlive your process.

This is the public list; nothing else is public. Values and errors are imported at once, what needs a database or a
network when it is first named, so that `import perdure` costs little more than trio and msgspec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from perdure.events.errors import AuthenticationFailed as AuthenticationFailed
from perdure.events.errors import BlobLost as BlobLost
from perdure.events.errors import Closed as Closed
from perdure.events.errors import Conflict as Conflict
from perdure.events.errors import Corrupt as Corrupt
from perdure.events.errors import DiskFull as DiskFull
from perdure.events.errors import Fenced as Fenced
from perdure.events.errors import FileDeleted as FileDeleted
from perdure.events.errors import FileExpired as FileExpired
from perdure.events.errors import InvalidRequest as InvalidRequest
from perdure.events.errors import KeyConflict as KeyConflict
from perdure.events.errors import LogForeign as LogForeign
from perdure.events.errors import LogLocked as LogLocked
from perdure.events.errors import LogNewer as LogNewer
from perdure.events.errors import NotFound as NotFound
from perdure.events.errors import OperationCancelled as OperationCancelled
from perdure.events.errors import OperationError as OperationError
from perdure.events.errors import OperationExpired as OperationExpired
from perdure.events.errors import OperationFailed as OperationFailed
from perdure.events.errors import OutcomeUncertain as OutcomeUncertain
from perdure.events.errors import OutcomeUnknown as OutcomeUnknown
from perdure.events.errors import Overloaded as Overloaded
from perdure.events.errors import PerdureError as PerdureError
from perdure.events.errors import ProviderError as ProviderError
from perdure.events.errors import Rejected as Rejected
from perdure.events.errors import Timeout as Timeout
from perdure.events.errors import TooLarge as TooLarge
from perdure.events.errors import Unavailable as Unavailable
from perdure.events.errors import UnknownProvider as UnknownProvider
from perdure.events.errors import Unsupported as Unsupported
from perdure.events.errors import VersionConflict as VersionConflict
from perdure.events.event import Recorded as Recorded
from perdure.events.requests import Answer as Answer
from perdure.events.requests import BatchSummary as BatchSummary
from perdure.events.requests import Line as Line
from perdure.events.requests import LineError as LineError
from perdure.events.requests import Prompt as Prompt
from perdure.events.requests import RawRequest as RawRequest
from perdure.events.requests import Usage as Usage

if TYPE_CHECKING:
    from perdure.actors.batch.batches import Polling as Polling
    from perdure.actors.batch.views import BatchHandle as BatchHandle
    from perdure.actors.batch.views import BatchView as BatchView
    from perdure.actors.service import Reader as Reader
    from perdure.actors.service import Service as Service
    from perdure.actors.views import Handle as Handle
    from perdure.actors.views import Progress as Progress
    from perdure.actors.views import Summary as Summary
    from perdure.actors.views import View as View
    from perdure.adapters.composition import open as open
    from perdure.adapters.composition import read as read
    from perdure.adapters.composition import run as run
    from perdure.adapters.config import Config as Config
    from perdure.adapters.config import Env as Env
    from perdure.adapters.config import Limits as Limits
    from perdure.adapters.config import ProviderConfig as ProviderConfig
    from perdure.adapters.config import Secret as Secret

__version__ = "0.1.0"

_LATER = {
    "BatchHandle": ("perdure.actors.batch.views", "BatchHandle"),
    "BatchView": ("perdure.actors.batch.views", "BatchView"),
    "Config": ("perdure.adapters.config", "Config"),
    "Env": ("perdure.adapters.config", "Env"),
    "Handle": ("perdure.actors.views", "Handle"),
    "Limits": ("perdure.adapters.config", "Limits"),
    "Polling": ("perdure.actors.batch.batches", "Polling"),
    "Progress": ("perdure.actors.views", "Progress"),
    "ProviderConfig": ("perdure.adapters.config", "ProviderConfig"),
    "Reader": ("perdure.actors.service", "Reader"),
    "Secret": ("perdure.adapters.config", "Secret"),
    "Service": ("perdure.actors.service", "Service"),
    "Summary": ("perdure.actors.views", "Summary"),
    "View": ("perdure.actors.views", "View"),
    "open": ("perdure.adapters.composition", "open"),
    "read": ("perdure.adapters.composition", "read"),
    "run": ("perdure.adapters.composition", "run"),
}


def __getattr__(name: str) -> Any:
    """Imports what needs a database or a network when it is first asked for."""
    place = _LATER.get(name)
    if place is None:
        raise AttributeError(f"module 'perdure' has no attribute {name!r}")
    module, attribute = place
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
