"""The methods of quantization, and which fields of `quantize` belong to one of them alone.

A patch that changes the method leaves the other one's fields behind: the variant {"quantize": {"method": "ptq"}} of a
spec with quantize.steps has no steps. Written beside its method, a field of the other one is a fault (see rules.py).
"""

from __future__ import annotations

from typing import Any

DEFAULT = "qat"
OWN = {
    "qat": ("start", "steps", "quant_delay", "freeze_bn_delay", "learning_rate", "checkpoint_every"),
    "ptq": ("calibration",),
}


def left_behind(document: Any, patch: Any) -> Any:
    """The document without what belongs to its method alone, if the patch changes the method."""
    former, wanted = _method(document) or DEFAULT, _method(patch)
    if wanted is None or wanted == former or former not in OWN:
        return document
    kept = {name: value for name, value in (document.get("quantize") or {}).items() if name not in OWN[former]}
    return {**document, "quantize": kept}


def _method(document: Any) -> str | None:
    quantize = document.get("quantize") if isinstance(document, dict) else None
    method = quantize.get("method") if isinstance(quantize, dict) else None
    return method if isinstance(method, str) else None
