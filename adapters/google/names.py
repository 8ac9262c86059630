"""What files are called at Google: ids chosen by us, and the three ways of naming a file. Pure.

Google takes the id of a file from its client: up to 40 characters of `[a-z0-9-]` without a dash at an end, and refuses
a second file under a name (`contracts/providers.md` sections 0 and 3.1). That makes an upload truly idempotent.
"""

from __future__ import annotations

import hashlib
from typing import Final
from urllib.parse import unquote, urlsplit

_COLLECTION: Final = "files/"
_ID_CHARACTERS: Final = 40


def planted_name(filename: str) -> str:
    """The name, `files/<id>`, for what was planted as `filename`: the same in every attempt and every process.

    A hash of the filename, for filenames have characters and lengths that ids may not have; and without dashes, at
    which Google's client cuts an id off that it reads out of a URI (`_transformers.t_file_name` of the SDK 3.4).
    """
    return _COLLECTION + hashlib.sha256(filename.encode()).hexdigest()[:_ID_CHARACTERS]


def name_of(id: str) -> str:
    """The name, `files/<id>`, of a file that is given by its URI, its name or its bare id (F-14)."""
    path = unquote(urlsplit(id).path) if "://" in id else id
    bare = path.rpartition(_COLLECTION)[2].partition("/")[0]
    return _COLLECTION + bare.partition(":")[0]  # a URI for downloads goes on with `:download`
