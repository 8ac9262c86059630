"""Resolving: how a provider gets to see the files in a prompt.

| module | holds |
| --- | --- |
| `facts`, `strategy` | what is known, the decisions there are, and the rule that takes them: pure |
| `resolution`, `parts` | from the caller's messages to new ones that a provider can be told |
| `files` | the port to our files |
"""

from perdure.actors.resolving.facts import Decision as Decision
from perdure.actors.resolving.facts import FileFacts as FileFacts
from perdure.actors.resolving.facts import InlineIt as InlineIt
from perdure.actors.resolving.facts import NativeUrl as NativeUrl
from perdure.actors.resolving.facts import ProviderFacts as ProviderFacts
from perdure.actors.resolving.facts import Refer as Refer
from perdure.actors.resolving.facts import RemoteCopy as RemoteCopy
from perdure.actors.resolving.facts import Reupload as Reupload
from perdure.actors.resolving.facts import Shows as Shows
from perdure.actors.resolving.facts import Skip as Skip
from perdure.actors.resolving.facts import UploadIt as UploadIt
from perdure.actors.resolving.files import Files as Files
from perdure.actors.resolving.files import KnownFile as KnownFile
from perdure.actors.resolving.resolution import Resolution as Resolution
from perdure.actors.resolving.resolution import resolve as resolve
from perdure.actors.resolving.strategy import DefaultFileStrategy as DefaultFileStrategy
from perdure.actors.resolving.strategy import FileStrategy as FileStrategy
