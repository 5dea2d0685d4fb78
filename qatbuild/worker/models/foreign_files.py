"""Files of other formats than their place in the spec says, and what to write instead."""

from __future__ import annotations

import zipfile
from pathlib import Path

from qatbuild.exchange.errors import StageError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEAD_BYTES = 4096
_PROTOCOLS = range(2, 6)


def check(path: Path, where: str) -> None:
    """Raises StageError if a file is of a format that is no network of TensorFlow, or of one that goes elsewhere."""
    kind, hint = _kind(path)
    if kind:
        facts = [(where, path.name), ("it is", kind)]
        raise StageError("The file cannot be read as a network.", facts, hint)


def unreadable(path: Path, where: str, message: str) -> StageError:
    """Returns the error for a file that is not what its place in the spec says."""
    kind, hint = _kind(path)
    facts = [(where, path.name), ("it is", kind or "of a format that is not recognised")]
    return StageError(message, facts, hint or _FORMATS)


_FORMATS = (
    'Take "keras" for .keras and .h5, "saved_model" for a folder with saved_model.pb, "graph_def" for a frozen .pb, '
    '"meta_graph" for .meta.'
)
_FROM_PYTORCH = "Build its layers in Keras, copy the weights, save the model as .keras, and name that file."
_FLOAT = "Name the float model it was made from, such as a .keras file or a SavedModel."


def _kind(path: Path) -> tuple[str, str]:
    """Returns (the format of a file that is no frozen graph or SavedModel, a hint); "" if it may be one."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model, which is already converted", _FLOAT
    if head.startswith(_HDF5) or path.suffix == ".keras":
        return "a Keras file", f'Write "keras": "{path.name}"'
    if path.name == "saved_model.pb":
        return "a SavedModel's file", f'Name its folder: "saved_model": "{path.absolute().parent.name}"'
    if path.suffix == ".meta":
        return "a meta graph", f'Write "meta_graph": "{path.name}"'
    if path.suffix in {".pt", ".pth", ".safetensors"} or (zipfile.is_zipfile(path) and _is_torch(path)):
        return "a PyTorch model", _FROM_PYTORCH
    if path.suffix == ".onnx" or (head[:1] == b"\x08" and b"onnx" in head.lower()):
        return "an ONNX model", _FROM_PYTORCH
    if head[:1] == b"\x80" and len(head) > 1 and head[1] in _PROTOCOLS:
        return "a pickled Python object, which runs code when it is read", _FROM_PYTORCH
    return "", ""


def _is_torch(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())
