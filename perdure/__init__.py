"""perdure: batches, videos and files that outlive your process.

This is the public list; nothing else is public. Values and errors are imported at once, what needs a database or a
network when it is first named, so that `import perdure` costs little more than trio and msgspec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from perdure.events.batch import BatchClosed as BatchClosed
from perdure.events.batch import BatchDiscarded as BatchDiscarded
from perdure.events.batch import BatchFinished as BatchFinished
from perdure.events.batch import BatchOpened as BatchOpened
from perdure.events.batch import BatchOverdue as BatchOverdue
from perdure.events.batch import BatchPolled as BatchPolled
from perdure.events.batch import BatchSubmitted as BatchSubmitted
from perdure.events.batch import CancelRequested as CancelRequested
from perdure.events.batch import CancelSent as CancelSent
from perdure.events.batch import DuplicateCancelled as DuplicateCancelled
from perdure.events.batch import FileAsked as FileAsked
from perdure.events.batch import FileNotNeeded as FileNotNeeded
from perdure.events.batch import FileReady as FileReady
from perdure.events.batch import FileResumeAsked as FileResumeAsked
from perdure.events.batch import FileResumed as FileResumed
from perdure.events.batch import FileTroubled as FileTroubled
from perdure.events.batch import LineAnswered as LineAnswered
from perdure.events.batch import LineFailed as LineFailed
from perdure.events.batch import LinesAbandoned as LinesAbandoned
from perdure.events.batch import LinesCollected as LinesCollected
from perdure.events.batch import LineSettled as LineSettled
from perdure.events.batch import PartDeferred as PartDeferred
from perdure.events.batch import PartEnded as PartEnded
from perdure.events.batch import PartResubmitted as PartResubmitted
from perdure.events.batch import PartSettled as PartSettled
from perdure.events.batch import PollRecovered as PollRecovered
from perdure.events.batch import PollTroubled as PollTroubled
from perdure.events.batch import ResultsTaken as ResultsTaken
from perdure.events.budget import Budget as Budget
from perdure.events.budget import BudgetThresholdPassed as BudgetThresholdPassed
from perdure.events.budget import BudgetUsedUp as BudgetUsedUp
from perdure.events.cost import Cost as Cost
from perdure.events.cost import CostRecorded as CostRecorded
from perdure.events.cost import Tariff as Tariff
from perdure.events.cost import Units as Units
from perdure.events.errors import AuthenticationFailed as AuthenticationFailed
from perdure.events.errors import BlobLost as BlobLost
from perdure.events.errors import BudgetExceeded as BudgetExceeded
from perdure.events.errors import Closed as Closed
from perdure.events.errors import Conflict as Conflict
from perdure.events.errors import Corrupt as Corrupt
from perdure.events.errors import DiskFull as DiskFull
from perdure.events.errors import Fenced as Fenced
from perdure.events.errors import FileDeleted as FileDeleted
from perdure.events.errors import FileExpired as FileExpired
from perdure.events.errors import InvalidRequest as InvalidRequest
from perdure.events.errors import InvalidSource as InvalidSource
from perdure.events.errors import InvalidWebhook as InvalidWebhook
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
from perdure.events.event import Event as Event
from perdure.events.event import Recorded as Recorded
from perdure.events.file import ContentReleased as ContentReleased
from perdure.events.file import CopyDeleted as CopyDeleted
from perdure.events.file import CopyExpired as CopyExpired
from perdure.events.file import CopyFailed as CopyFailed
from perdure.events.file import CopyLeft as CopyLeft
from perdure.events.file import CopyLost as CopyLost
from perdure.events.file import CopyOrdered as CopyOrdered
from perdure.events.file import CopyReady as CopyReady
from perdure.events.file import CopySessionKept as CopySessionKept
from perdure.events.file import CopyStored as CopyStored
from perdure.events.file import CopyWithdrawn as CopyWithdrawn
from perdure.events.file import FileCreated as FileCreated
from perdure.events.file import FileRemoved as FileRemoved
from perdure.events.file import FileTimedOut as FileTimedOut
from perdure.events.file import SurplusFound as SurplusFound
from perdure.events.file_warnings import FileInlined as FileInlined
from perdure.events.file_warnings import FileNotFound as FileNotFound
from perdure.events.file_warnings import FileSkipped as FileSkipped
from perdure.events.file_warnings import FileTypeCorrected as FileTypeCorrected
from perdure.events.files import FileInfo as FileInfo
from perdure.events.files import ProviderCopy as ProviderCopy
from perdure.events.files import ProviderFile as ProviderFile
from perdure.events.files import RemoteOrphan as RemoteOrphan
from perdure.events.files import SweptOrphan as SweptOrphan
from perdure.events.media import ImageEdit as ImageEdit
from perdure.events.media import ImageRequest as ImageRequest
from perdure.events.media import MediaAnswered as MediaAnswered
from perdure.events.media import MediaCancelled as MediaCancelled
from perdure.events.media import MediaExpired as MediaExpired
from perdure.events.media import MediaFailed as MediaFailed
from perdure.events.media import MediaFilesReleased as MediaFilesReleased
from perdure.events.media import MediaLost as MediaLost
from perdure.events.media import MediaOrdered as MediaOrdered
from perdure.events.media import MediaStored as MediaStored
from perdure.events.media import SpeechRequest as SpeechRequest
from perdure.events.media import StoredItem as StoredItem
from perdure.events.messages import Audio as Audio
from perdure.events.messages import DataUrl as DataUrl
from perdure.events.messages import Document as Document
from perdure.events.messages import FileReference as FileReference
from perdure.events.messages import Image as Image
from perdure.events.messages import Inline as Inline
from perdure.events.messages import Message as Message
from perdure.events.messages import ProviderRef as ProviderRef
from perdure.events.messages import Text as Text
from perdure.events.messages import Url as Url
from perdure.events.messages import Video as Video
from perdure.events.orphan import OrphanDeleted as OrphanDeleted
from perdure.events.orphan import OrphanFound as OrphanFound
from perdure.events.orphan import OrphanLeft as OrphanLeft
from perdure.events.pricing import Rates as Rates
from perdure.events.pricing import TierRates as TierRates
from perdure.events.provider_file import FileProcessed as FileProcessed
from perdure.events.provider_file import FileUploaded as FileUploaded
from perdure.events.provider_file import OwnerTold as OwnerTold
from perdure.events.provider_file import OwnerWarned as OwnerWarned
from perdure.events.provider_file import UploadFailed as UploadFailed
from perdure.events.provider_file import UploadOrdered as UploadOrdered
from perdure.events.provider_file import UploadSessionKept as UploadSessionKept
from perdure.events.provider_file import UploadWithdrawn as UploadWithdrawn
from perdure.events.purchase import DuplicatePurchase as DuplicatePurchase
from perdure.events.purchase import PurchaseAbsent as PurchaseAbsent
from perdure.events.purchase import PurchaseIntended as PurchaseIntended
from perdure.events.purchase import PurchaseLost as PurchaseLost
from perdure.events.purchase import PurchaseRefused as PurchaseRefused
from perdure.events.purchase import PurchaseResubmitted as PurchaseResubmitted
from perdure.events.purchase import PurchaseResumed as PurchaseResumed
from perdure.events.purchase import PurchaseUncertain as PurchaseUncertain
from perdure.events.request import RequestAnswered as RequestAnswered
from perdure.events.request import RequestCancelled as RequestCancelled
from perdure.events.request import RequestExpired as RequestExpired
from perdure.events.request import RequestFailed as RequestFailed
from perdure.events.request import RequestFilesReleased as RequestFilesReleased
from perdure.events.request import RequestOpened as RequestOpened
from perdure.events.requests import Answer as Answer
from perdure.events.requests import BatchSummary as BatchSummary
from perdure.events.requests import Line as Line
from perdure.events.requests import LineError as LineError
from perdure.events.requests import Prompt as Prompt
from perdure.events.requests import RawRequest as RawRequest
from perdure.events.requests import Usage as Usage
from perdure.events.supervision import EffectFailed as EffectFailed
from perdure.events.supervision import EffectRecovered as EffectRecovered
from perdure.events.supervision import Parked as Parked
from perdure.events.supervision import Revived as Revived

if TYPE_CHECKING:
    from perdure.actors.audit import Audit as Audit
    from perdure.actors.audit import Costs as Costs
    from perdure.actors.audit import Spent as Spent
    from perdure.actors.batch.opening import Polling as Polling
    from perdure.actors.batch.strategy import BatchStrategy as BatchStrategy
    from perdure.actors.batch.strategy import MarkedRequestors as MarkedRequestors
    from perdure.actors.batch.strategy import Requestors as Requestors
    from perdure.actors.batch.strategy import Submission as Submission
    from perdure.actors.batch.strategy import Window as Window
    from perdure.actors.batch.views import BatchHandle as BatchHandle
    from perdure.actors.batch.views import BatchView as BatchView
    from perdure.actors.event_log import EventLog as EventLog
    from perdure.actors.media.views import StoredMedia as StoredMedia
    from perdure.actors.resolving.facts import Decision as Decision
    from perdure.actors.resolving.facts import FileFacts as FileFacts
    from perdure.actors.resolving.facts import InlineIt as InlineIt
    from perdure.actors.resolving.facts import NativeUrl as NativeUrl
    from perdure.actors.resolving.facts import ProviderFacts as ProviderFacts
    from perdure.actors.resolving.facts import Refer as Refer
    from perdure.actors.resolving.facts import RemoteCopy as RemoteCopy
    from perdure.actors.resolving.facts import Reupload as Reupload
    from perdure.actors.resolving.facts import Skip as Skip
    from perdure.actors.resolving.facts import UploadIt as UploadIt
    from perdure.actors.resolving.strategy import DefaultFileStrategy as DefaultFileStrategy
    from perdure.actors.resolving.strategy import FileStrategy as FileStrategy
    from perdure.actors.service import Reader as Reader
    from perdure.actors.service import Service as Service
    from perdure.actors.subscription import Subscription as Subscription
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
    from perdure.adapters.webhooks import WebhookOutcome as WebhookOutcome
    from perdure.adapters.webhooks import Webhooks as Webhooks
    from perdure.store.cursor_store import CursorStore as CursorStore
    from perdure.store.cursor_store import FileCursor as FileCursor
    from perdure.store.recorded_event import RecordedEvent as RecordedEvent

__version__ = "0.1.0"

_LATER = {
    "Audit": ("perdure.actors.audit", "Audit"),
    "BatchHandle": ("perdure.actors.batch.views", "BatchHandle"),
    "BatchStrategy": ("perdure.actors.batch.strategy", "BatchStrategy"),
    "Decision": ("perdure.actors.resolving.facts", "Decision"),
    "FileFacts": ("perdure.actors.resolving.facts", "FileFacts"),
    "InlineIt": ("perdure.actors.resolving.facts", "InlineIt"),
    "NativeUrl": ("perdure.actors.resolving.facts", "NativeUrl"),
    "ProviderFacts": ("perdure.actors.resolving.facts", "ProviderFacts"),
    "Refer": ("perdure.actors.resolving.facts", "Refer"),
    "RemoteCopy": ("perdure.actors.resolving.facts", "RemoteCopy"),
    "Reupload": ("perdure.actors.resolving.facts", "Reupload"),
    "Skip": ("perdure.actors.resolving.facts", "Skip"),
    "UploadIt": ("perdure.actors.resolving.facts", "UploadIt"),
    "DefaultFileStrategy": ("perdure.actors.resolving.strategy", "DefaultFileStrategy"),
    "FileStrategy": ("perdure.actors.resolving.strategy", "FileStrategy"),
    "BatchView": ("perdure.actors.batch.views", "BatchView"),
    "Config": ("perdure.adapters.config", "Config"),
    "Costs": ("perdure.actors.audit", "Costs"),
    "CursorStore": ("perdure.store.cursor_store", "CursorStore"),
    "Env": ("perdure.adapters.config", "Env"),
    "EventLog": ("perdure.actors.event_log", "EventLog"),
    "FileCursor": ("perdure.store.cursor_store", "FileCursor"),
    "Handle": ("perdure.actors.views", "Handle"),
    "Limits": ("perdure.adapters.config", "Limits"),
    "MarkedRequestors": ("perdure.actors.batch.strategy", "MarkedRequestors"),
    "Polling": ("perdure.actors.batch.opening", "Polling"),
    "Progress": ("perdure.actors.views", "Progress"),
    "ProviderConfig": ("perdure.adapters.config", "ProviderConfig"),
    "Reader": ("perdure.actors.service", "Reader"),
    "RecordedEvent": ("perdure.store.recorded_event", "RecordedEvent"),
    "Requestors": ("perdure.actors.batch.strategy", "Requestors"),
    "Secret": ("perdure.adapters.config", "Secret"),
    "Service": ("perdure.actors.service", "Service"),
    "Spent": ("perdure.actors.audit", "Spent"),
    "StoredMedia": ("perdure.actors.media.views", "StoredMedia"),
    "Submission": ("perdure.actors.batch.strategy", "Submission"),
    "Subscription": ("perdure.actors.subscription", "Subscription"),
    "Summary": ("perdure.actors.views", "Summary"),
    "View": ("perdure.actors.views", "View"),
    "WebhookOutcome": ("perdure.adapters.webhooks", "WebhookOutcome"),
    "Webhooks": ("perdure.adapters.webhooks", "Webhooks"),
    "Window": ("perdure.actors.batch.strategy", "Window"),
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
