"""The rules of the deployment routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.faults import Fault
from qatbuild.schema.nearest import suggest
from qatbuild.schema.routes import MEMORY_MODES, SYSTEM_CONFIGS
from qatbuild.schema.rules.reading import at


def violations(document: Any) -> Iterator[Fault]:
    """Yields a fault for each combination that a target cannot run, even if its compiler would accept it."""
    yield from _c_array(document)
    yield from _vela(document)


def _c_array(document: Any) -> Iterator[Fault]:
    scheme = at(document, "quantize", "scheme") or "uint8"
    if at(document, "deploy", "c_array", "runtime") == "tflm" and scheme == "uint8":
        yield Fault(
            ("deploy", "c_array", "runtime"),
            "TFLite Micro has had no uint8 kernels since 2021: it takes int8 only, and quantize.scheme is uint8.",
        )


def _vela(document: Any) -> Iterator[Fault]:
    accelerator = at(document, "deploy", "vela", "accelerator") or "ethos-u55-128"
    system = at(document, "deploy", "vela", "system_config")
    has_config = at(document, "deploy", "vela", "config") is not None
    if isinstance(system, str) and isinstance(accelerator, str) and not has_config:
        family = accelerator.rpartition("-")[0].replace("ethos-u", "Ethos_U")
        fitting = [name for name in SYSTEM_CONFIGS if name.startswith(family)]
        if family and system not in fitting:
            text = f"of {accelerator} must be one of {', '.join(fitting)}, got {system}.{suggest(system, fitting)}"
            yield Fault(("deploy", "vela", "system_config"), text)
    mode = at(document, "deploy", "vela", "memory_mode")
    if isinstance(mode, str) and not has_config and mode not in MEMORY_MODES:
        text = f"must be one of {', '.join(MEMORY_MODES)}, got {mode}.{suggest(mode, MEMORY_MODES)}"
        yield Fault(("deploy", "vela", "memory_mode"), text)
    if isinstance(mode, str) and "u55" in str(accelerator) and mode.startswith("Dedicated_Sram") and not has_config:
        yield Fault(
            ("deploy", "vela", "memory_mode"), f"an ethos-u55 has no DRAM for {mode}: Shared_Sram or Sram_Only."
        )
