"""Sources: where a new file's bytes come from, read as one stream.

| module | holds |
| --- | --- |
| `opening`, `content` | opening any source, and what comes out of it |
| `disk_file`, `data_url` | paths and file objects, `data:` URLs (what lies in the web is read by an adapter) |
| `media_type`, `signatures`, `filename` | what a file is, and what it may be called: pure |
"""

from perdure.actors.sources.content import Content as Content
from perdure.actors.sources.content import Opened as Opened
from perdure.actors.sources.content import UrlReader as UrlReader
from perdure.actors.sources.filename import FileName as FileName
from perdure.actors.sources.filename import name_file as name_file
from perdure.actors.sources.media_type import MediaType as MediaType
from perdure.actors.sources.media_type import accepted as accepted
from perdure.actors.sources.media_type import recognise as recognise
from perdure.actors.sources.opening import Source as Source
from perdure.actors.sources.opening import open_source as open_source
