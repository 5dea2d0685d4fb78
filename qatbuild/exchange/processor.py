"""The name of this machine's processor: on another one floats may differ in their last bit."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from pathlib import Path

_FLOATS = ("sse", "avx", "fma", "f16c", "amx", "asimd", "fp", "sve", "sme", "bf16")
"""Beginnings of the names of instructions that compute with floats."""


@cache
def processor() -> str:
    """Returns the model's name, or else the architecture, and a digest of the instructions that compute with floats.

    Such as "AMD EPYC 9654 [8e07b7]": on one model floats may differ, too, where a virtual machine hides instructions.
    """
    try:
        rows = (line.partition(":") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines())
        fields = {name.strip(): value.strip() for name, _, value in rows}
    except (OSError, ValueError):
        fields = {}
    names = set((fields.get("flags") or fields.get("Features") or "").split())
    instructions = sorted(name for name in names if name.startswith(_FLOATS))
    digest = hashlib.sha256(" ".join(instructions).encode()).hexdigest()[:6]
    return f"{fields.get('model name') or platform.machine()} [{digest}]"
