"""The layout of a remote store, the same on every server: a folder may be reached by its path and as a web server.

cas/SHA256      a blob
ac/KEY          an entry (action_result.py)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

BLOBS, ENTRIES = "cas", "ac"

_KEY = re.compile("[0-9a-f]{64}")


def blob(sha256: str) -> str:
    """Returns the path of a blob below the store's top."""
    return f"{BLOBS}/{sha256}"


def entry(key: str) -> str:
    """Returns the path of an entry below the store's top."""
    return f"{ENTRIES}/{key}"


def keys(names: Iterable[str]) -> Iterator[str]:
    """Yields those names in the folder of entries that are keys, not those of drafts."""
    return filter(_KEY.fullmatch, names)
