"""The .tflite for an Arm Ethos-U NPU, compiled by Vela, with Vela's estimates.

Vela's file holds NPU commands in a custom operator. No interpreter on this machine runs it, so no outputs are compared.
The gates read the compiled file: it has the model's input and output, and the required share of the model's operators
runs on the NPU. (Vela counts operators after its own rewrite, which turns one softmax into 30.)
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import DeployError
from qatbuild.exchange.facts import Gate
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
"""The type of the operator with NPU commands, which only Vela writes."""

_WHY = (
    "the compiled model holds NPU commands, which no interpreter on this machine runs; instead, its inputs and"
    " outputs and its remaining operators are compared with the model's"
)


def build(subject: Subject, options: Mapping[str, Any], out: Path) -> Outcome:
    """Writes model_vela.tflite, Vela's summary and its report. Gate: the share of operators on the NPU."""
    printed = _compile(subject, options, out)
    (out / "vela.txt").write_text("".join(printed.partition("Network summary")[1:]) or printed, encoding="utf-8")
    compiled = out / f"{subject.tflite.stem}_vela.tflite"
    model, result = inspect.read(subject.tflite), inspect.read(compiled)
    rest, operators = on_cpu(result), len(model.operators)
    share = round(100 * (1 - len(rest) / max(1, operators, len(rest))), 2)
    counts = {"npu_percent": share, "operators": operators, "on_cpu": list(rest)}
    figures = {**_estimates(out), **_counts(printed), **counts}
    return Outcome(
        artifact=compiled.name,
        versions={"ethos-u-vela": tools.version("ethos-u-vela")},
        why_not_run=_WHY,
        gates=(_same_ends(model, result), _least_share(options["min_npu_percent"], figures, _reasons(printed))),
        figures=figures,
        notes=_notes(figures),
    )


def _compile(subject: Subject, options: Mapping[str, Any], out: Path) -> str:
    """Runs Vela and returns its output."""
    tools.module("ethosu.vela", "vela")
    config = subject.sources.get("config")
    if config is not None and not config.is_file():
        raise DeployError("Vela's configuration file does not exist.", [("deploy.vela.config", config)])
    command: list[object] = [sys.executable, "-m", "ethosu.vela", subject.tflite, "--output-dir", out]
    command += ["--accelerator-config", options["accelerator"], "--config", config or _OWN_CONFIG]
    command += ["--system-config", options["system_config"], "--memory-mode", options["memory_mode"]]
    command += ["--optimise", options["optimise"], "--show-cpu-operations"]
    return tools.called(command, "Vela cannot compile the model.")


def _same_ends(model: inspect.Flatbuffer, result: inspect.Flatbuffer) -> Gate:
    wanted, got = _ends(model), _ends(result)
    return Gate("input and output", wanted, got, passed=wanted == got)


def _least_share(least: float, figures: Mapping[str, Any], reasons: Iterable[str]) -> Gate:
    share, rest = figures["npu_percent"], figures["on_cpu"]
    wanted = f"at least {least:g} % of the model's operators on the NPU"
    got = f"{share:g} %: {len(rest)} of {figures['operators']} on the CPU"
    return Gate("min_npu_percent", wanted, "\n".join((got, *rest, *reasons)), passed=share >= least)


def _notes(figures: Mapping[str, Any]) -> tuple[str, ...]:
    flash_kib = figures["on_chip_flash_kib"] + figures["off_chip_flash_kib"]
    return (
        f"{figures['npu_percent']:g} % of the operators on the NPU",
        f"{figures['cycles']:,} cycles",
        f"{figures['inferences_per_second']:,.0f} inferences/s at {figures['clock_hz'] / 1e6:g} MHz (estimates)",
        f"SRAM {figures['sram_kib']:.1f} KiB",
        f"flash {flash_kib:.1f} KiB",
        *([f"DRAM {figures['dram_kib']:.1f} KiB"] if figures["dram_kib"] else []),
    )


def on_cpu(compiled: inspect.Flatbuffer) -> tuple[str, ...]:
    """Returns the operators of a compiled model that run on the CPU, by layer; Vela leaves them unchanged."""
    rest = [operator for operator in compiled.operators if operator.name != _NPU_OPERATOR]
    return tuple(f"{compiled.layer(operator)} ({operator.name})" for operator in rest)


def _ends(model: inspect.Flatbuffer) -> str:
    ends = [("takes", model.tensors[index]) for index in model.inputs]
    ends += [("gives", model.tensors[index]) for index in model.outputs]
    several = max(len(model.inputs), len(model.outputs)) > 1
    return "; ".join(
        f"{what} {f'{end.name} ' if several else ''}{end.dtype} {[1, *end.shape[1:]]}, {_scaling(end)}"
        for what, end in ends
    )


def _scaling(end: inspect.Tensor) -> str:
    """Returns scale and zero point in words; whole numbers, such as classes, have none."""
    return f"scale {end.scales[0]:.7g}, zero point {end.zero_points[0]}" if end.scales else "whole numbers"


def _counts(printed: str) -> dict[str, int]:
    """Returns Vela's own counts of operators, after its rewrite."""
    counts = {kind: int(number) for kind, number in re.findall(r"^(CPU|NPU) operators = (\d+)", printed, re.MULTILINE)}
    if set(counts) != {"CPU", "NPU"}:
        raise DeployError("Vela's output lacks the numbers of CPU and NPU operators.", [("its end", printed[-500:])])
    return {"vela_npu_operators": counts["NPU"], "vela_cpu_operators": counts["CPU"]}


def _reasons(printed: str) -> list[str]:
    """Returns Vela's reasons for operators on the CPU, in its own words."""
    blocks = re.findall(r"^Warning \(.*?\) operator: (\w+),.*\n((?:\S.*\n)*)", printed, re.MULTILINE)
    return list(dict.fromkeys(f"{name}: {' '.join(text.split())}" for name, text in blocks))


def _estimates(out: Path) -> dict[str, Any]:
    (summary,) = out.glob("*_summary_*.csv")
    with summary.open(encoding="utf-8", newline="") as stream:
        row = list(csv.DictReader(stream))[-1]
    estimates = {name: round(kind(float(row[column])), 6) for column, (name, kind) in _FIGURES.items()}
    return {**estimates, "system_config": row["system_config"], "memory_mode": row["memory_mode"]}
