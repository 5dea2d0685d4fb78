"""The code behind code digests: which modules it was, and their texts, for the lines that differ.

Both are named after their content, so each is kept once, by however many stages it is used.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from qatbuild.engine.code_digest import TALK, source_fingerprint
from qatbuild.exchange.files import read_bytes, read_json, write_bytes, write_text


class CodeArchive:
    """DIGEST.json, module -> fingerprint, for each code digest; FINGERPRINT.z, the text of a module, compressed."""

    def __init__(self, folder: Path) -> None:
        """Opens the archive in a folder, which is created for the first digest."""
        self._folder = folder
        self._kept = set[str]()

    def has(self, digest: str) -> bool:
        """Returns whether the modules of a code digest are kept, or could not be."""
        if digest not in self._kept and self._table(digest).is_file():
            self._kept.add(digest)
        return digest in self._kept

    def keep(self, digest: str, closure: Iterable[tuple[str, Path, str]]) -> None:
        """Keeps modules with their texts, given as (module, file, fingerprint)."""
        self._kept.add(digest)
        table = {module: (file, fingerprint) for module, file, fingerprint in closure if module not in TALK}
        with contextlib.suppress(OSError):
            for file, fingerprint in table.values():
                text = self._text(fingerprint)
                if not text.is_file():
                    write_bytes(text, zlib.compress(read_bytes(file), 9))
            write_text(
                self._table(digest), json.dumps({module: fingerprint for module, (_, fingerprint) in table.items()})
            )

    def table(self, digest: str) -> Mapping[str, str]:
        """Returns module -> fingerprint for a code digest; empty if it is not kept."""
        with contextlib.suppress(OSError, ValueError):
            table = read_json(self._table(digest))
            return table if isinstance(table, dict) else {}
        return {}

    def text(self, fingerprint: str) -> str | None:
        """Returns the text of a module with this fingerprint, None if it is not kept, or is another module's."""
        with contextlib.suppress(OSError, ValueError, zlib.error):
            source = zlib.decompress(read_bytes(self._text(fingerprint)))
            if source_fingerprint(source) == fingerprint:
                return source.decode()
        return None

    def keep_only(self, digests: Collection[str]) -> None:
        """Removes the tables of other code digests, and the texts that no table has. OSError if that is impossible."""
        texts = {fingerprint for digest in digests for fingerprint in self.table(digest).values()}
        for path in self._folder.glob("*"):
            if path.stem not in (digests if path.suffix == ".json" else texts):
                path.unlink()

    def _table(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"

    def _text(self, fingerprint: str) -> Path:
        return self._folder / f"{fingerprint}.z"
