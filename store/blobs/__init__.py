"""Blobs on disk: content that is too big for an event, named by its digest.

`BlobStore` writes and reads, `BlobReader` only reads; `layout` documents the files, `small` what is too small for one,
`placing` the order that makes them durable, `pins` and `sweep` what keeps and removes them.
"""

from perdure.store.blobs.layout import Blob as Blob
from perdure.store.blobs.reader import BlobReader as BlobReader
from perdure.store.blobs.store import BlobStore as BlobStore
from perdure.store.blobs.sweep import References as References
from perdure.store.blobs.sweep import Swept as Swept
from perdure.store.blobs.writer import BlobWriter as BlobWriter
