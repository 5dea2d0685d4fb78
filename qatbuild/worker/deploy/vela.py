"""The .tflite for an Arm Ethos-U NPU: compiled by Vela, whose estimates are read from its own table.

What Vela writes holds NPU commands in a custom operator: no interpreter on this machine runs it, so no outputs are
compared. What is judged is read from the compiled file: that it takes and gives what the model does, and the share of
the model's operators that are no longer in it. (Vela counts what it makes of them, and of one softmax it makes 30.)
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import DeployError
from qatbuild.worker.deploy import Outcome, Subject, tools
from qatbuild.worker.tflite import inspect

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

_NPU_OPERATOR = "CUSTOM"
"""The models that are compiled have none of their own."""

_WHY = (
    "the compiled model holds NPU commands, which no interpreter on this machine runs; compared is what it takes and"
    " gives, and which of the model's operators are left in it"
)


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Write model_vela.tflite, Vela's summary and its report; the gate: the share of operators on the NPU."""
    tools.module("ethosu.vela", "vela")
    config = subject.sources.get("config")
    if config is not None and not config.is_file():
        raise DeployError("Vela's configuration file is not there.", [("deploy.vela.config", config)])
    command: list[object] = [sys.executable, "-m", "ethosu.vela", subject.tflite, "--output-dir", out]
    command += ["--accelerator-config", options["accelerator"], "--config", config or _OWN_CONFIG]
    command += ["--system-config", options["system_config"], "--memory-mode", options["memory_mode"]]
    command += ["--optimise", options["optimise"], "--show-cpu-operations"]
    printed = tools.called(command, "Vela cannot compile the model.", "see Vela's last line")
    (out / "vela.txt").write_text("".join(printed.partition("Network summary")[1:]) or printed, encoding="utf-8")
    compiled = out / f"{subject.tflite.stem}_vela.tflite"
    model, result = inspect.read(subject.tflite), inspect.read(compiled)
    left = on_cpu(result)
    share = round(100 * (1 - len(left) / max(1, len(model.operators), len(left))), 2)
    figures = {
        **_estimates(out),
        **_counts(printed),
        "npu_percent": share,
        "operators": len(model.operators),
        "on_cpu": list(left),
    }
    gates = (
        {
            "name": "input and output",
            "wanted": _ends(model),
            "got": _ends(result),
            "passed": _ends(model) == _ends(result),
        },
        {
            "name": "min_npu_percent",
            "wanted": f"at least {options['min_npu_percent']:g} % of the model's operators on the NPU",
            "got": f"{share:g} %: {len(left)} of {len(model.operators)} on the CPU"
            + "".join(f"\n{line}" for line in (*left, *_reasons(printed))),
            "passed": share >= options["min_npu_percent"],
        },
    )
    notes = (
        f"{share:g} % of the operators on the NPU",
        f"{figures['cycles']:,} cycles",
        f"{figures['inferences_per_second']:,.0f} inferences/s at {figures['clock_hz'] / 1e6:g} MHz (estimates)",
        f"SRAM {figures['sram_kib']:.1f} KiB",
        f"flash {figures['on_chip_flash_kib'] + figures['off_chip_flash_kib']:.1f} KiB",
        *([f"DRAM {figures['dram_kib']:.1f} KiB"] if figures["dram_kib"] else []),
    )
    return Outcome(
        artifact=compiled.name,
        versions={"ethos-u-vela": tools.version("ethos-u-vela")},
        why_not_run=_WHY,
        gates=gates,
        figures=figures,
        notes=notes,
    )


def on_cpu(compiled: inspect.Flatbuffer) -> tuple[str, ...]:
    """The operators of a compiled model that are not the NPU's, by layer. Vela leaves them as they were."""
    rest = [operator for operator in compiled.operators if operator.name != _NPU_OPERATOR]
    return tuple(f"{compiled.layer(operator)} ({operator.name})" for operator in rest)


def _ends(model: inspect.Flatbuffer) -> str:
    ends = [(what, model.tensors[index]) for what, index in (("takes", model.inputs[0]), ("gives", model.outputs[0]))]
    return "; ".join(
        f"{what} {end.dtype} {[1, *end.shape[1:]]}, scale {end.scales[0]:.7g}, zero point {end.zero_points[0]}"
        for what, end in ends
    )


def _counts(printed: str) -> dict[str, int]:
    """What Vela counts: of what it made of the operators."""
    counts = {kind: int(number) for kind, number in re.findall(r"^(CPU|NPU) operators = (\d+)", printed, re.MULTILINE)}
    if set(counts) != {"CPU", "NPU"}:
        raise DeployError("Vela does not say where the operators run.", [("its end", printed[-500:])])
    return {"vela_npu_operators": counts["NPU"], "vela_cpu_operators": counts["CPU"]}


def _reasons(printed: str) -> list[str]:
    """Why Vela left operators to the CPU, in its own words."""
    blocks = re.findall(r"^Warning \(.*?\) operator: (\w+),.*\n((?:\S.*\n)*)", printed, re.MULTILINE)
    return list(dict.fromkeys(f"{name}: {' '.join(said.split())}" for name, said in blocks))


def _estimates(out: Path) -> dict[str, Any]:
    (summary,) = out.glob("*_summary_*.csv")
    with summary.open(encoding="utf-8", newline="") as stream:
        row = list(csv.DictReader(stream))[-1]
    found = {name: round(kind(float(row[column])), 6) for column, (name, kind) in _FIGURES.items()}
    return {**found, "system_config": row["system_config"], "memory_mode": row["memory_mode"]}
