"""The question whether a .tflite is fully integer, with the error that the convert stage raises."""

from __future__ import annotations

from qatbuild.worker.tflite.inspect import Flatbuffer, refusal, unsupported_ops


def check_integer(model: Flatbuffer, scheme: str) -> None:
    """ConversionError with all operations that are not of the scheme's integer type, and hints."""
    if unsupported := unsupported_ops(model, scheme):
        raise refusal(unsupported)
