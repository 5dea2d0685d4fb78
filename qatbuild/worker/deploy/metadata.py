"""TFLite metadata: a model's purpose, what its inputs and outputs are, the normalization of images, names of classes.

The format is that of TFLite Support's metadata_schema.fbs (identifier M001, schema 1.1.0), which Android Studio, the
Task Library and MediaPipe read: a flatbuffer in the model's metadata entry TFLITE_METADATA, and its associated files in
a ZIP archive behind the model. The package for writing it, tflite-support, is no longer maintained. This module writes
the few tables that say what a model takes and gives, each field by its number in the schema.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert.tools import flatbuffer_utils
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table

ENTRY = b"TFLITE_METADATA"
LABELS_FILE = "labels.txt"

_IDENTIFIER = b"M001"
_MIN_PARSER_VERSION = "1.0.0"
_TENSOR_AXIS_LABELS = 2
_FEATURE, _IMAGE = 1, 2
_NORMALIZATION = 1
_COLORS = {3: 1, 1: 2}  # channels: RGB, GRAYSCALE
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)

_Fields = dict[int, int | tuple[str, int]]
"""Fields of a table by number: an offset of an earlier object, or (kind, number)."""


@dataclass(frozen=True)
class End:
    """The metadata of an input or output.

    `lowest` and `highest` are the limits of the tensor's values. `image` is [height, width, channels] of an input that
    is an image, None for features; `mean` and `std` are those of its bytes, normalized as (byte - mean) / std. `labels`
    are the names of an output's classes, in the file `labels_file` of the archive.
    """

    name: str
    description: str
    lowest: float
    highest: float
    image: tuple[int, ...] | None = None
    mean: float = 0.0
    std: float = 1.0
    labels: tuple[str, ...] = ()
    labels_file: str = ""


@dataclass(frozen=True)
class Metadata:
    """The metadata of a model; inputs and outputs are in the file's order."""

    name: str
    description: str
    version: str
    author: str
    license: str
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]


def write(model: Path, metadata: Metadata, target: Path) -> None:
    """Writes the .tflite file `target`: the model with metadata and labels. Equal arguments give equal bytes."""
    content = flatbuffer_utils.read_model(str(model))
    buffer = flatbuffer_utils.schema_fb.BufferT()
    buffer.data = list(_packed(metadata))
    entry = flatbuffer_utils.schema_fb.MetadataT()
    entry.name, entry.buffer = ENTRY, len(content.buffers)
    content.buffers.append(buffer)
    content.metadata = [each for each in content.metadata or [] if each.name != ENTRY] + [entry]
    flatbuffer_utils.write_model(content, str(target))
    labelled = [each for each in metadata.outputs if each.labels]
    if labelled:
        with zipfile.ZipFile(target, "a") as archive:
            for each in labelled:
                member = zipfile.ZipInfo(each.labels_file, _ZIP_DATE)
                archive.writestr(member, "".join(f"{label}\n" for label in each.labels))


def read(path: Path) -> Metadata:
    """Reads the metadata of a .tflite file; KeyError if it has no metadata."""
    content = flatbuffer_utils.read_model(str(path))
    buffers = {entry.name: entry.buffer for entry in content.metadata or []}
    data = bytes(content.buffers[buffers[ENTRY]].data)
    root = _Reader(Table(bytearray(data), encode.Get(packer.uoffset, data, 0)))
    (subgraph,) = root.tables(3)
    return Metadata(
        name=root.text(0),
        description=root.text(1),
        version=root.text(2),
        author=root.text(4),
        license=root.text(5),
        inputs=tuple(_end(each, path) for each in subgraph.tables(2)),
        outputs=tuple(_end(each, path) for each in subgraph.tables(3)),
    )


def _end(tensor: _Reader, path: Path) -> End:
    end = End(tensor.text(0), tensor.text(1), tensor.table(5).floats(1)[0], tensor.table(5).floats(0)[0])
    for unit in tensor.tables(4):
        normalization = unit.table(1)
        end = replace(end, mean=normalization.floats(0)[0], std=normalization.floats(1)[0])
    if tensor.table(3).number(0, number_types.Uint8Flags) == _IMAGE:
        colors = {color: channels for channels, color in _COLORS.items()}
        image = tensor.table(3).table(1)
        size = image.table(1)
        height, width = (size.number(slot, number_types.Uint32Flags) for slot in (1, 0))
        end = replace(end, image=(height, width, colors[image.number(0, number_types.Int8Flags)]))
    for file in tensor.tables(6):
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            labels = tuple(archive.read(file.text(0)).decode().splitlines())
        end = replace(end, labels=labels, labels_file=file.text(0))
    return end


def _packed(metadata: Metadata) -> bytes:
    writer = _Writer()
    inputs = [_written(writer, each) for each in metadata.inputs]
    outputs = [_written(writer, each) for each in metadata.outputs]
    subgraph = writer.table({2: writer.offsets(inputs), 3: writer.offsets(outputs)})
    fields = {0: metadata.name, 1: metadata.description, 2: metadata.version, 4: metadata.author, 5: metadata.license}
    root = writer.table(
        {
            **{slot: writer.text(text) for slot, text in fields.items() if text},
            3: writer.offsets([subgraph]),
            7: writer.text(_MIN_PARSER_VERSION),
        }
    )
    return writer.finish(root)


def _written(writer: _Writer, end: End) -> int:
    """Writes the table of an input or output; returns its offset."""
    fields: _Fields = {}
    if end.image is None:
        kind, content = _FEATURE, writer.table({})
    else:
        height, width, channels = end.image
        size = writer.table({0: ("Uint32", width), 1: ("Uint32", height)})
        kind, content = _IMAGE, writer.table({0: ("Int8", _COLORS[channels]), 1: size})
        normalization = writer.table({0: writer.floats([end.mean]), 1: writer.floats([end.std])})
        unit = writer.table({0: ("Uint8", _NORMALIZATION), 1: normalization})
        fields[4] = writer.offsets([unit])
    if end.labels:
        about = "Labels of the classes that the model tells apart."
        file: _Fields = {0: writer.text(end.labels_file), 1: writer.text(about), 2: ("Int8", _TENSOR_AXIS_LABELS)}
        fields[6] = writer.offsets([writer.table(file)])
    fields |= {
        0: writer.text(end.name),
        1: writer.text(end.description),
        3: writer.table({0: ("Uint8", kind), 1: content}),
        5: writer.table({0: writer.floats([end.highest]), 1: writer.floats([end.lowest])}),
    }
    return writer.table(fields)


class _Writer:
    """Writes tables of numbered fields. A field's value is an offset of an earlier object, or (kind, number)."""

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder(1024)

    def text(self, value: str) -> int:
        return int(self._builder.CreateString(value))

    def floats(self, values: Sequence[float]) -> int:
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        return int(self._builder.EndVector())

    def offsets(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())

    def table(self, fields: _Fields) -> int:
        self._builder.StartObject(max(fields, default=-1) + 1)
        for slot, field in fields.items():
            if isinstance(field, tuple):
                kind, number = field
                getattr(self._builder, f"Prepend{kind}Slot")(slot, number, 0)
            else:
                self._builder.PrependUOffsetTRelativeSlot(slot, field, 0)
        return int(self._builder.EndObject())

    def finish(self, root: int) -> bytes:
        self._builder.Finish(root, file_identifier=_IDENTIFIER)
        return bytes(self._builder.Output())


class _Reader:
    """Reads the fields of a table by number. An absent field is '', 0 or empty, as the format defines."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def _at(self, slot: int) -> int:
        return int(self._table.Offset(4 + 2 * slot))

    def text(self, slot: int) -> str:
        at = self._at(slot)
        return self._table.String(at + self._table.Pos).decode() if at else ""

    def number(self, slot: int, flags: Any) -> int:
        at = self._at(slot)
        return int(self._table.Get(flags, at + self._table.Pos)) if at else 0

    def table(self, slot: int) -> _Reader:
        return _Reader(Table(self._table.Bytes, self._table.Indirect(self._at(slot) + self._table.Pos)))

    def tables(self, slot: int) -> list[_Reader]:
        return [_Reader(Table(self._table.Bytes, self._table.Indirect(place))) for place in self._places(slot)]

    def floats(self, slot: int) -> list[float]:
        return [float(self._table.Get(number_types.Float32Flags, place)) for place in self._places(slot)]

    def _places(self, slot: int) -> Iterable[int]:
        at = self._at(slot)
        start, count = (self._table.Vector(at), self._table.VectorLen(at)) if at else (0, 0)
        return [start + 4 * index for index in range(count)]
