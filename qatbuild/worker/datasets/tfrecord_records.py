"""Records of TFRecord files, read in any order: eight bytes of memory for each.

The format: length (8 bytes), its checksum (4), the record, its checksum (4). TensorFlow's reader goes through each file
once, verifies the checksums and so shows where every record begins. A compressed file is unpacked for the time.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import tensorflow as tf

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.files import make_folder
from qatbuild.worker.datasets.archive import DAMAGE
from qatbuild.worker.datasets.columns import no_room

_GZIP = b"\x1f\x8b"
_HEAD_BYTES = 12
_FRAME_BYTES = 16
_COMPRESSIONS = ("", "GZIP", "ZLIB")


class Records:
    """The records of several files, by number."""

    def __init__(self, files: Iterable[Path], scratch: Path) -> None:
        """Begins with no record; `scratch` is a folder for what is unpacked."""
        self._files = list(files)
        self._scratch = scratch
        self._unpacked: IO[bytes] | None = None
        self._starts = array("q")
        self._first: list[int] = []
        self._is_plain: list[bool] = []

    def __len__(self) -> int:
        return len(self._starts)

    def verify(self) -> Iterator[tuple[int, bytes]]:
        """Yields the number and the bytes of each record while the files are read through; call it once.

        DatasetError for a damaged or truncated file, with the record.
        """
        for file in self._files:
            compression = self._compression(file)
            self._first.append(len(self))
            self._is_plain.append(compression == "")
            at = 0
            try:
                for record in _reader(file, compression):
                    self._starts.append(at if compression == "" else self._unpack(record))
                    at += len(record) + _FRAME_BYTES
                    yield len(self) - 1, record
            except tf.errors.OpError as fault:
                raise self._damaged(file, len(self) - self._first[-1], fault.message) from fault
        if self._unpacked is not None:
            self._unpacked.flush()

    def read(self, number: int) -> bytes:
        """Returns a record; several threads may read."""
        shard = bisect_right(self._first, number) - 1
        start = self._starts[number]
        if not self._is_plain[shard]:
            assert self._unpacked is not None
            return _record(self._unpacked.fileno(), start)
        with self._files[shard].open("rb", buffering=0) as file:
            return _record(file.fileno(), start)

    def place(self, number: int) -> list[tuple[str, object]]:
        """Returns a record's file and number within it, for an error."""
        shard = bisect_right(self._first, number) - 1
        return [("file", self._files[shard]), ("record", number - self._first[shard])]

    def _compression(self, file: Path) -> str:
        if not file.stat().st_size:
            return ""
        faults = ["it ends within its first record"]
        for compression in _COMPRESSIONS:
            try:
                if next(iter(_reader(file, compression)), None) is not None:
                    return compression
            except tf.errors.OpError as fault:
                faults.append(fault.message)
        with file.open("rb") as stream:
            is_zipped = stream.read(2) == _GZIP
        if not is_zipped:
            raise self._damaged(file, 0, faults[1] if len(faults) > 1 else faults[0])
        try:  # TensorFlow takes a damaged head for the end.
            with gzip.open(file) as unzipped:
                unzipped.read(1)
        except DAMAGE as fault:
            raise self._damaged(file, 0, fault) from fault
        return "GZIP"

    def _unpack(self, record: bytes) -> int:
        if self._unpacked is None:
            make_folder(self._scratch)
            self._unpacked = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115  It lives as long as the records.
        start = self._unpacked.tell()
        try:
            self._unpacked.write(len(record).to_bytes(_HEAD_BYTES, "little") + record)
        except OSError as fault:
            raise no_room(self._scratch / "unpacked", start + len(record), fault) from fault
        return start

    def _damaged(self, file: Path, record: int, reason: object) -> DatasetError:
        return DatasetError(
            "The file is damaged or truncated, or no TFRecord file.",
            [("file", file), ("record", record), ("reason", reason)],
            "Fetch or write it again; a TFRecord file may be compressed with gzip or zlib.",
        )

    def __del__(self) -> None:
        if self._unpacked is not None:
            self._unpacked.close()


def _reader(file: Path, compression: str) -> Iterator[bytes]:
    options = tf.io.TFRecordOptions(compression_type=compression)
    records: Iterator[bytes] = tf.compat.v1.io.tf_record_iterator(str(file), options)
    return records


def _record(descriptor: int, start: int) -> bytes:
    length = int.from_bytes(os.pread(descriptor, 8, start), "little")
    return os.pread(descriptor, length, start + _HEAD_BYTES)
