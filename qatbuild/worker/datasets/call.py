"""The user's own function: arrays by name, as an .npz file would hold them."""

from __future__ import annotations

import hashlib
import importlib
import os
import traceback
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.files import canonical_json
from qatbuild.worker.datasets import Dataset, npz
from qatbuild.worker.datasets.source import Source

_HINT = (
    "It is called as function(**options) and returns a dictionary of NumPy arrays: train_NAME and test_NAME, perhaps "
    "validation_NAME, and class_names."
)


def load(source: Source, downloads: Path) -> Dataset:
    """Calls the function, keeps its arrays as an .npz file in the folder `downloads`, and reads that: see datasets.npz.

    DatasetError if the function cannot be imported, raises an exception, or returns something else than arrays.
    """
    call = str(source.call)
    arrays = _called(call, source.options)
    options = hashlib.sha256(canonical_json(source.options).encode()).hexdigest()[:12]
    path = downloads / "called" / f"{call.replace(':', '.')}-{options}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")  # Two builds may call it at a time.
    _save(draft, arrays)
    draft.replace(path)
    try:
        return npz.load(source._replace(path=path), downloads)
    except DatasetError as fault:  # The user has never seen the file.
        facts = [("dataset.call", call), *(fact for fact in fault.facts if fact[0] != "file")]
        raise DatasetError(fault.message, facts, _HINT if fault.hint == npz.HINT else fault.hint) from fault


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an .npz file as numpy.savez does, which cannot take the names of its own arguments."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, each in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, each, allow_pickle=False)


def _called(call: str, options: Mapping[str, Any]) -> dict[str, Any]:
    module, _, name = call.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        arrays = function(**options)
    except Exception as fault:
        last = traceback.extract_tb(fault.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}: {last.line}"
        facts = [("dataset.call", call), ("at", place), ("raised", f"{type(fault).__name__}: {fault}")]
        raise DatasetError("The function of the dataset failed.", facts, _HINT) from fault
    wrong = type(arrays).__name__
    if isinstance(arrays, Mapping):
        wrong = ", ".join(f"{key}: {_shown(key, each)}" for key, each in arrays.items() if not _is_array(key, each))
    if wrong:
        raise DatasetError(
            "The function of the dataset returns no arrays.", [("dataset.call", call), ("got", wrong)], _HINT
        )
    return dict(arrays)


def _is_array(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, np.ndarray) and not value.dtype.hasobject


def _shown(key: object, value: object) -> str:
    if not isinstance(key, str):
        return f"named by {type(key).__name__}"
    return f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
