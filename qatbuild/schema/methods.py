"""The methods of quantization, the fields that belong to one method only, and a default that both use.

A patch that changes the method drops the former method's fields: the variant {"quantize": {"method": "ptq"}} of a spec
with quantize.steps has no steps. A field written beside the other method is a fault (see rules.py).
"""

from __future__ import annotations

from typing import Any

DEFAULT = "qat"
FIELDS_OF_METHOD = {
    "qat": ("start", "steps", "quant_delay", "freeze_bn_delay", "learning_rate", "checkpoint_every"),
    "ptq": ("calibration",),
}


def without_other_method(document: Any, patch: Any) -> Any:
    """Drops the fields of a document's method, if the patch changes the method."""
    current, wanted = _method(document) or DEFAULT, _method(patch)
    if wanted is None or wanted == current or current not in FIELDS_OF_METHOD:
        return document
    fields = document.get("quantize") if isinstance(document, dict) else None
    if not isinstance(fields, dict):  # The schema reports a value of another type.
        return document
    return {**document, "quantize": {name: fields[name] for name in fields if name not in FIELDS_OF_METHOD[current]}}


def _method(document: Any) -> str | None:
    quantize = document.get("quantize") if isinstance(document, dict) else None
    method = quantize.get("method") if isinstance(quantize, dict) else None
    return method if isinstance(method, str) else None


def a_fifth(steps: int) -> int:
    """Returns the default for fine-tuning steps and for checkpoint intervals: a fifth of `steps`, at least 1."""
    return max(1, steps // 5)
