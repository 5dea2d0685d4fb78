"""The model card of a built model, from the facts of its stages, its settings, and the spec's own `card`.

Nothing is invented: a field without a source is left out. Latencies are measured anew in every build, so they stay in
report.json. Fields: https://cyclonedx.org/docs/1.6/json/#components_items_modelCard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from qatbuild.schema.model import About

FORMS = {"float": "the float network", "fake_quant": "the fake-quantized network", "tflite": "model.tflite"}

_Z95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""

_COUNTED = ("top1", "top5")
"""Metrics that count examples: each has a confidence interval."""

_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D"}
_LEARNING = {"reconstruction": "unsupervised", "call": ""}
"""Task -> the learning approach; "supervised" for every other task, and for a task of the user's own unknown."""

Json = Mapping[str, Any]


class BuiltModel(NamedTuple):
    """A built model as its papers describe it.

    settings       the spec, with every default filled in
    facts          the facts of each stage's manifest
    files          name -> (bytes, SHA-256) of the model's artifacts, by their place in its folder
    dataset        SHA-256 of the dataset's manifest, which has those of its files; '' without one
    packages       (name, version, package URL)
    processors     names of the processors that the stages ran on
    """

    label: str
    about: About
    settings: Mapping[str, Any]
    facts: Mapping[str, Json]
    files: Mapping[str, tuple[int, str]]
    dataset: str
    packages: tuple[tuple[str, str, str], ...]
    processors: tuple[str, ...]

    def facts_of(self, stage: str) -> Json:
        """Returns a stage's facts, empty if it has none."""
        return self.facts.get(stage, {})


def model_card(model: BuiltModel) -> dict[str, Any]:
    """Returns the card as CycloneDX' modelCard object, without empty fields."""
    return pruned(
        {
            "bom-ref": "model-card",
            "modelParameters": _parameters(model),
            "quantitativeAnalysis": {"performanceMetrics": list(_metrics(model.facts_of("evaluate")))},
            "considerations": _considerations(model),
        }
    )


def pruned(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields, and those of objects in them, without empty texts, lists and objects."""
    inner = {name: pruned(value) if isinstance(value, dict) else value for name, value in fields.items()}
    return {name: value for name, value in inner.items() if value not in ("", [], {}, None)}


def _parameters(model: BuiltModel) -> dict[str, Any]:
    tasks = list(dict.fromkeys(output["task"] for output in model.settings.get("outputs", {}).values()))
    convert = model.facts_of("convert")
    return {
        "approach": {"type": _approach(tasks)},
        "task": ", ".join(tasks),
        "architectureFamily": model.about.card.architecture_family or _family(convert.get("operators", ())),
        "modelArchitecture": _architecture(model.settings.get("model", {})),
        "datasets": [{"ref": "dataset"}] if model.dataset else [],
        "inputs": [_format(*each) for each in convert.get("inputs", ())],
        "outputs": [_format(*each) for each in convert.get("outputs", ())],
    }


def _approach(tasks: Iterable[str]) -> str:
    """Returns how the network learns, '' if its tasks differ in that, or do not say."""
    kinds = {_LEARNING.get(task, "supervised") for task in tasks}
    return kinds.pop() if len(kinds) == 1 else ""


def _family(operators: Iterable[str]) -> str:
    present = set(operators)
    if present & _CONVOLUTIONS:
        return "convolutional neural network"
    return "fully connected neural network" if "FULLY_CONNECTED" in present else ""


def _architecture(network: Json) -> str:
    """Returns the shipped network's name, the user's function, or the file that has the network."""
    kinds = ("name", "call", "keras", "saved_model", "graph_def", "meta_graph")
    return next((str(network[kind]) for kind in kinds if network.get(kind)), "")


def _format(name: str, tensor: Json) -> dict[str, str]:
    shape = "x".join(map(str, tensor["shape"]))
    scale, zero_point = tensor["scale"], tensor["zero_point"]
    return {"format": f"{name}: {tensor['dtype']} {shape}, scale {scale!r}, zero point {zero_point}"}


def _metrics(facts: Json) -> Iterator[dict[str, Any]]:
    """Yields the metrics of each form of the model, its size, and its agreement with the network it was made from."""
    examples = facts.get("examples", 0)
    for name, figures in facts.get("metrics", {}).items():
        for form, words in FORMS.items():
            unit = " (%)" if figures["percent"] else ""
            metric = {
                "type": f"{name}{unit}",
                "value": _number(figures[form]),
                "slice": f"{words}, {examples} test examples",
            }
            yield metric | (_interval(figures[form], examples) if name.rpartition(".")[2] in _COUNTED else {})
    if (size_bytes := facts.get("bytes")) is not None:
        yield {"type": "size (bytes)", "value": str(size_bytes["tflite"]), "slice": FORMS["tflite"]}
    for name, each in facts.get("agreements", {}).items():
        where = f"output {name}, {examples} test examples"
        if each["top1_percent"] is not None:
            yield {"type": "agreement (%)", "value": _number(each["top1_percent"]), "slice": where}
        yield {"type": "largest difference (LSB)", "value": _number(each["max_lsb"]), "slice": where}


def _interval(percent: float, examples: int) -> dict[str, Any]:
    """Returns the 95 % confidence interval of a percentage of examples (Wilson 1927, eq. 3)."""
    if not examples:
        return {}
    part, square = percent / 100, _Z95**2 / examples
    middle = (part + square / 2) / (1 + square)
    half = _Z95 / (1 + square) * math.sqrt(part * (1 - part) / examples + square / (4 * examples))
    ends = {"lowerBound": middle - half, "upperBound": middle + half}
    return {"confidenceInterval": {name: _number(100 * end) for name, end in ends.items()}}


def _number(value: float) -> str:
    return f"{value:.6g}"


def _considerations(model: BuiltModel) -> dict[str, Any]:
    card = model.about.card
    steps = {stage: model.facts_of(stage).get("last") for stage in ("float", "quantize")}
    cost = [{"name": f"qatbuild:{stage}_steps", "value": str(last)} for stage, last in steps.items() if last]
    cost += [{"name": "qatbuild:processor", "value": name} for name in model.processors]
    return {
        "users": list(card.users),
        "useCases": list(card.use_cases),
        "technicalLimitations": [*card.limitations, *_limitations(model)],
        "performanceTradeoffs": list(_tradeoffs(model.facts_of("evaluate"))),
        "ethicalConsiderations": [{"name": name, "mitigationStrategy": text} for name, text in card.risks.items()],
        "environmentalConsiderations": {"properties": cost},
        "fairnessAssessments": [
            {"groupAtRisk": group, "mitigationStrategy": text} for group, text in card.fairness.items()
        ],
    }


def _limitations(model: BuiltModel) -> Iterator[str]:
    """Yields the warnings of the report, what runtimes cannot compute, and the notes about the dataset."""
    facts = model.facts_of("evaluate")
    yield from facts.get("warnings", ())
    yield from (f"{runtime} cannot compute: {text}" for runtime, text in facts.get("runtimes", {}).items() if text)
    yield from model.facts_of("dataset").get("notes", ())


def _tradeoffs(facts: Json) -> Iterator[str]:
    for name, figures in facts.get("metrics", {}).items():
        unit = " %" if figures["percent"] else ""
        before, after = (_number(figures[form]) for form in ("float", "tflite"))
        yield f"{name}: {before}{unit} in float, {after}{unit} in integers"
    if (size_bytes := facts.get("bytes")) is not None:
        yield f"{size_bytes['tflite']} bytes, {size_bytes['ratio']:g} times smaller than the frozen graph"
