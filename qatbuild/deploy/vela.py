"""The .tflite for an Arm Ethos-U NPU: compiled by Vela, whose estimates are read from its own table.

What Vela writes holds NPU commands in a custom operator: no interpreter on this machine runs it, so what is compared is
nothing, and what is judged is the share of operators that the NPU takes.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qatbuild.deploy import Outcome, Subject, needs
from qatbuild.errors import DeployError

_OWN_CONFIG = "Arm/vela.ini"
_FIGURES = {
    "cycles_total": ("cycles", int),
    "cycles_npu": ("npu_cycles", int),
    "inferences_per_second": ("inferences_per_second", float),
    "inference_time": ("inference_s", float),
    "nn_macs": ("macs", int),
    "core_clock": ("clock_hz", float),
    "sram_memory_used": ("sram_kib", float),
    "dram_memory_used": ("dram_kib", float),
    "on_chip_flash_memory_used": ("on_chip_flash_kib", float),
    "off_chip_flash_memory_used": ("off_chip_flash_kib", float),
}
"""Columns of Vela's summary -> names with units."""

_WHY = "the compiled model holds NPU commands, which no interpreter on this machine runs"


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write model_vela.tflite, Vela's summary and its report; the gate: the share of operators on the NPU."""
    needs.module("ethosu.vela", "vela")
    config = subject.sources.get("config")
    if config is not None and not config.is_file():
        raise DeployError("Vela's configuration file is not there.", [("deploy.vela.config", config)])
    command: list[object] = [sys.executable, "-m", "ethosu.vela", subject.tflite, "--output-dir", out]
    command += ["--accelerator-config", options["accelerator"], "--config", config or _OWN_CONFIG]
    command += ["--system-config", options["system_config"], "--memory-mode", options["memory_mode"]]
    command += ["--optimise", options["optimise"], "--show-cpu-operations"]
    printed = needs.called(command, "Vela cannot compile the model.", "see Vela's last line")
    (out / "vela.txt").write_text(printed.partition("Network summary")[2] or printed, encoding="utf-8")
    share, on_npu, on_cpu = _operators(printed)
    figures = {**_estimates(out), "npu_percent": share, "npu_operators": on_npu, "cpu_operators": on_cpu}
    gate = {
        "name": "min_npu_percent",
        "wanted": f"at least {options['min_npu_percent']:g} % of the operators on the NPU",
        "got": f"{share:g} %: {on_cpu} of {on_npu + on_cpu} on the CPU{_left(printed)}",
        "passed": share >= options["min_npu_percent"],
    }
    notes = (
        f"{share:g} % of the operators on the NPU",
        f"{figures['cycles']:,} cycles",
        f"{figures['inferences_per_second']:,.0f} inferences/s at {figures['clock_hz'] / 1e6:g} MHz (estimates)",
        f"SRAM {figures['sram_kib']:.1f} KiB",
        f"flash {figures['on_chip_flash_kib'] + figures['off_chip_flash_kib']:.1f} KiB",
        *([f"DRAM {figures['dram_kib']:.1f} KiB"] if figures["dram_kib"] else []),
    )
    return Outcome(
        artifact=f"{subject.tflite.stem}_vela.tflite",
        versions={"ethos-u-vela": needs.version("ethos-u-vela")},
        why_not_run=_WHY,
        gates=(gate,),
        figures=figures,
        notes=notes,
    )


def _operators(printed: str) -> tuple[float, int, int]:
    """Percent on the NPU, operators on the NPU, operators on the CPU."""
    counts = {kind: int(number) for kind, number in re.findall(r"^(CPU|NPU) operators = (\d+)", printed, re.MULTILINE)}
    if set(counts) != {"CPU", "NPU"} or not sum(counts.values()):
        raise DeployError("Vela does not say where the operators run.", [("its end", printed[-500:])])
    return round(100 * counts["NPU"] / sum(counts.values()), 2), counts["NPU"], counts["CPU"]


def _left(printed: str) -> str:
    """The operators that stay on the CPU, with Vela's reasons."""
    lines = [line.strip() for line in printed.splitlines()]
    reasons = [line for line in lines if line.startswith(("Warning: ", "Info: ")) and "CPU" in line]
    return "".join(f"\n{line.partition(': ')[2]}" for line in dict.fromkeys(reasons))


def _estimates(out: Path) -> dict[str, Any]:
    (summary,) = out.glob("*_summary_*.csv")
    with summary.open(encoding="utf-8", newline="") as stream:
        row = list(csv.DictReader(stream))[-1]
    found = {name: round(kind(float(row[column])), 6) for column, (name, kind) in _FIGURES.items()}
    return {**found, "system_config": row["system_config"], "memory_mode": row["memory_mode"]}
