"""The code behind code digests in a remote store: its modules, and the texts of the project's own.

qatbuild's modules go without their texts: a writer's version says which they are.
"""

from __future__ import annotations

import json
import threading
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

from qatbuild.engine.code_digest import PACKAGE, digest_of, source_fingerprint
from qatbuild.engine.history.code_archive import CodeArchive
from qatbuild.engine.store.remote import Remote, named
from qatbuild.exchange.files import parse_json


class Bundle(NamedTuple):
    """The code of one digest: module -> fingerprint, and fingerprint -> text."""

    table: Mapping[str, str]
    texts: Mapping[str, str]


_NOTHING = Bundle({}, {})


class SharedCode:
    """Bundles of code by code digest. RemoteError for what the remote store cannot do."""

    def __init__(self, remote: Remote) -> None:
        """Opens the bundles in a remote store."""
        self._remote = remote
        self._sent = set[str]()
        self._lock = threading.Lock()

    def send(self, digest: str, archive: CodeArchive) -> None:
        """Keeps the code of a digest, which is in this machine's archive, unless it is there already."""
        with self._lock:
            is_sent = digest in self._sent
            self._sent.add(digest)
        table = {} if is_sent else archive.table(digest)
        if not table or self._remote.read_entry(_name(digest)) is not None:
            return
        of_project = (each for module, each in table.items() if module.partition(".")[0] != PACKAGE.name)
        texts = {fingerprint: text for fingerprint in of_project if (text := archive.text(fingerprint)) is not None}
        packed = zlib.compress(json.dumps({"table": dict(table), "texts": texts}).encode(), 9)
        self._remote.write_entry(_name(digest), json.dumps({"code": b64encode(packed).decode()}), {})

    def bundle(self, digest: str) -> Bundle:
        """Returns the code of a digest, after comparing it with the digest; an empty bundle if it is not kept."""
        text = self._remote.read_entry(_name(digest))
        if text is None:
            return _NOTHING
        try:
            return _sound(parse_json(zlib.decompress(b64decode(parse_json(text)["code"]))), digest)
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
            return _NOTHING


def _sound(fields: Any, digest: str) -> Bundle:
    table = {str(module): str(fingerprint) for module, fingerprint in fields["table"].items()}
    if digest_of(table) != digest:
        return _NOTHING
    texts = {each: str(text) for each, text in fields["texts"].items() if source_fingerprint(text.encode()) == each}
    return Bundle(table, texts)


def _name(digest: str) -> str:
    return named(f"code {digest}")
