"""The tables of a result: the sides, two trainings beside each other, and the wanted ratios."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.training.side_by_side import WAYS
from tests.benchmarks.training.sides import SIDES, TFMOT

QUOTED = {"float": 0.469, "quantized": 0.529}
"""Seconds a CifarNet step took in TensorFlow 1.10.1 with tf.contrib.quantize, batch 128, 2 threads, float32, medians:
measured for this project on an idle Xeon with 2 cores and AMX. It cannot be a side here: it does not run on Python 3.7
and later."""

_NAMES = {"cifarnet": "CifarNet", "resnet8": "ResNet-8", "tfmot": "CifarNet, `fit` of tfmot and tf_keras"}
_STEPS = {"float": "float", "quantized": "quantized", "frozen": "quantized, batch norms frozen"}


@dataclass(frozen=True)
class Wish:
    """A ratio of two sides' times, and its wanted limit: at most, or at least for the inverse."""

    what: str
    side: str
    other: str
    wanted: float
    at_least: bool = False


WISHES = (
    Wish("CifarNet float32: quantized / float", "cifarnet/float32/quantized", "cifarnet/float32/float", 1.2),
    Wish("CifarNet quantized: bfloat16 / float32", "cifarnet/bfloat16/quantized", "cifarnet/float32/quantized", 0.6),
    Wish(
        "CifarNet quantized: steps/s in bfloat16 / in tfmot's `fit`",
        "tfmot/float32/quantized",
        "cifarnet/bfloat16/quantized",
        1.7,
        at_least=True,
    ),
    Wish("ResNet-8: quantized / float, before the freeze", "resnet8/float32/quantized", "resnet8/float32/float", 1.6),
    Wish("ResNet-8: quantized / float, after the freeze", "resnet8/float32/frozen", "resnet8/float32/float", 1.25),
)
PARALLEL_WANTED = 1.15
PEAK_WANTED_MIB = 2048


def markdown(result: dict[str, Any]) -> str:
    """The text of a result. A side that was left out is a row with the reason."""
    parts = [_sides(result)]
    if "side_by_side" in result:
        parts.append(_side_by_side(result["side_by_side"]))
    return "\n\n".join([*parts, _wishes(result), _about(result)]) + "\n"


def ratio(result: dict[str, Any], side: str, other: str) -> float | None:
    """The ratio of the two sides' medians in a round, as the median over all rounds; None unless both ran."""
    own, its = _ran(result, side), _ran(result, other)
    if own is None or its is None:
        return None
    pairs = zip(own["rounds"], its["rounds"], strict=True)
    return statistics.median(statistics.median(mine) / statistics.median(theirs) for mine, theirs in pairs)


def _ran(result: dict[str, Any], side: str) -> dict[str, Any] | None:
    """What was measured of a side, if it ran in the precision that it is named after."""
    measured = result["sides"].get(side)
    return measured if measured is not None and measured["precision"] == side.split("/")[1] else None


def _sides(result: dict[str, Any]) -> str:
    lines = ["| network | precision | step | ms | steps/s | peak MiB |", "|---|---|---|--:|--:|--:|"]
    for side in SIDES:
        network, precision, step = side.split("/")
        row = f"| {_NAMES[network]} | {precision} | {_STEPS[step]} |"
        if side not in result["sides"]:
            if side in result["left_out"]:
                lines.append(f"{row} {result['left_out'][side]} | | |")
            continue
        measured = result["sides"][side]
        if measured["precision"] != precision:
            ran = f"{measured['precision']}, for this processor has no {precision}"
            row = f"| {_NAMES[network]} | {ran} | {_STEPS[step]} |"
        median = _median(measured)
        lines.append(f"{row} {1000 * median:.1f} | {1 / median:.1f} | {measured['peak_bytes'] / 2**20:.0f} |")
    for step, seconds in QUOTED.items():
        row = f"| CifarNet, TensorFlow 1.10.1, quoted | float32 | {_STEPS[step]} |"
        lines.append(f"{row} {1000 * seconds:.0f} | {1 / seconds:.1f} | |")
    return "\n".join(lines)


def _wishes(result: dict[str, Any]) -> str:
    lines = ["| | found | wanted |", "|---|--:|--:|"]
    for wish in WISHES:
        figure = ratio(result, wish.side, wish.other)
        shown = "not measured" if figure is None else f"{figure:.2f}"
        lines.append(f"| {wish.what} | {shown} | {'>=' if wish.at_least else '<='} {wish.wanted} |")
    own = _ran(result, "cifarnet/bfloat16/quantized")
    if own is not None:
        across = f"{QUOTED['quantized'] / _median(own):.1f}"
        lines.append(
            f"| CifarNet quantized: steps/s in bfloat16, here / in TensorFlow 1.10.1, there | {across} | >= 8 |"
        )
    if "side_by_side" in result:
        after, beside = (result["side_by_side"]["ways"][way] for way in WAYS)
        pairs = zip(beside, after, strict=True)
        quotient = statistics.median(mine["wall_seconds"] / its["wall_seconds"] for mine, its in pairs)
        lines.append(f"| two trainings: side by side / one after the other | {quotient:.2f} | <= {PARALLEL_WANTED} |")
        peak = max(each["peak_bytes"] for each in (*after, *beside)) / 2**20
        lines.append(f"| peak MiB of a CifarNet training | {peak:.0f} | <= {PEAK_WANTED_MIB} |")
    return "\n".join(lines)


def _side_by_side(result: dict[str, Any]) -> str:
    title = f"two trainings of CifarNet, {result['steps']} steps each on {result['images']} images, with doit's start"
    lines = [f"| {title} | s | CPU s | peak MiB |", "|---|--:|--:|--:|"]
    for way, costs in result["ways"].items():
        wall, cpu, peak = (
            statistics.median(each[name] for each in costs) for name in ("wall_seconds", "cpu_seconds", "peak_bytes")
        )
        lines.append(f"| {way} | {wall:.1f} | {cpu:.1f} | {peak / 2**20:.0f} |")
    return "\n".join(lines)


def _about(result: dict[str, Any]) -> str:
    host = result["host"]
    counts = [len(side["rounds"]) for side in result["sides"].values()]
    rounds, steps = max(counts, default=0), result["steps"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    unfair = " tfmot's are not deterministic, qatbuild's are." if set(TFMOT) & set(result["sides"]) else ""
    return (
        f"Batch {result['batch']}, {host['threads']} threads on {host['cores']} cores; medians of {rounds} rounds of "
        f"{steps} steps, the sides in turns; a ratio is the median of the rounds'. Random images, always the same "
        f"batch: no time goes into data.{unfair} The rows of TensorFlow 1.10.1 are of another machine (an idle Xeon, 2 "
        f"cores, AMX), and so is one side of the ratio with them. MiB are of the largest process. {host['date']}, "
        f"commit {host['commit']}, {host['cpu']}, load {host['load']} at the end, Python {host['python']}, {versions}."
    )


def _median(side: dict[str, Any]) -> float:
    return statistics.median(second for block in side["rounds"] for second in block)
