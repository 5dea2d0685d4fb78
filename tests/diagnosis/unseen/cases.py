"""Networks that no rule and no threshold of the diagnosis was made with: two rounds of broken and of sound ones.

They were written before the rules were read, and have other data, networks, places and sizes of the fault than those of
`tests.diagnosis.networks`. The second round was first diagnosed after the rules were changed for the first one.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

SOUND = ""
ANYWHERE = ()


class Case(NamedTuple):
    """A spec, what is wrong with it (SOUND: nothing), and in which layer; ANYWHERE: the fault is in all layers."""

    cause: str
    layers: tuple[str, ...]
    fields: dict[str, Any]


def _spec(data: str, network: str, steps: int = 300, **fields: Any) -> dict[str, Any]:
    """A spec: `data` and `network` are names of functions, perhaps with options behind a "?": scenes?size_px=32."""
    return {
        "dataset": {"name": "call", **_call("data", data)},
        "model": _call("networks", network),
        "train": {
            "steps": steps,
            "batch_size": 32,
            "learning_rate": {"schedule": "cosine", "initial": 0.005},
            "optimizer": {"name": "adam"},
        },
        "quantize": PTQ,
        **fields,
    }


def _small_batches(spec: dict[str, Any], batch: int) -> dict[str, Any]:
    """The spec with trainings of small batches."""
    return {**spec, "train": {**spec["train"], "batch_size": batch}}


def _call(module: str, text: str) -> dict[str, Any]:
    name, _, rest = text.partition("?")
    options = {}
    for option in rest.split("&") if rest else ():
        key, _, value = option.partition("=")
        options[key] = value if value[0].isalpha() else json.loads(value)
    return {"call": f"{module}:{name}", "options": options}


def _gates(**limits: dict[str, float]) -> dict[str, Any]:
    return {"gates": {name.replace("__", "."): each for name, each in limits.items()}, "latency_runs": 1}


def _override(layer: str, **fields: Any) -> dict[str, Any]:
    return {**PTQ, "overrides": [{"layer": layer, **fields}]}


PTQ: dict[str, Any] = {"method": "ptq", "scheme": "int8_per_channel"}
PTQ_TENSOR: dict[str, Any] = {"method": "ptq", "scheme": "int8"}
BYTES: dict[str, Any] = {"mean": 0, "std_dev": 255}

MOTORS: dict[str, Any] = {"inputs": {"motion": {"real": True}}, "evaluate": _gates(top1={"max_drop": 1.0, "min": 85})}
FEATURES: dict[str, Any] = {
    "inputs": {"features": {"real": True}},
    "evaluate": _gates(top1={"max_drop": 1.0, "min": 85}),
}
PATIENTS: dict[str, Any] = {
    "inputs": {"features": {"real": True}},
    "outputs": {"values": {"task": "regression"}},
    "evaluate": _gates(r2={"max_drop": 0.03}),
}
PIXELS: dict[str, Any] = {
    "inputs": {"pixels": BYTES},
    "outputs": {"again": {"task": "reconstruction"}},
    "evaluate": _gates(rmse={"max_drop": 0.005}),
}
SCENES: dict[str, Any] = {
    "input": BYTES,
    "outputs": {"mask": {"task": "segmentation"}},
    "evaluate": _gates(miou={"max_drop": 1.0, "min": 60}),
}
TAGS: dict[str, Any] = {
    "input": BYTES,
    "outputs": {"digits": {"task": "multilabel"}},
    "evaluate": _gates(auc={"max_drop": 0.005}),
}
COLOURED: dict[str, Any] = {"input": BYTES, "evaluate": _gates(top1={"max_drop": 1.0, "min": 85})}
PARCELS: dict[str, Any] = {
    "inputs": {"images": BYTES, "scales": {"real": True}},
    "outputs": {"product": {"task": "classification"}, "price": {"task": "regression"}},
    "evaluate": _gates(product__top1={"max_drop": 1.0}, price__r2={"max_drop": 0.02}),
}

FIRST_ROUND = {
    "wide": Case(
        "wide_override",
        ("merge",),
        _spec("scenes", "segmenter", **SCENES | {"quantize": _override("merge", range=[0, 400])}),
    ),
    "narrow": Case(
        "narrow_override",
        ("hidden2",),
        _spec("patients", "perceptron", **PATIENTS | {"quantize": _override("hidden2", range=[0, 0.3])}),
    ),
    "percentile": Case(
        "percentile",
        ("peaks",),
        _spec(
            "scenes",
            "tagger",
            **TAGS | {"quantize": {**PTQ, "calibration": {"range": "percentile", "percentile": 97}}},
        ),
    ),
    "outliers": Case("outliers", ("energy",), _spec("motors?loudness=1.5", "energies", 600, **MOTORS)),
    "weights": Case(
        "weight_channels",
        ("depth1",),
        _spec("coloured?faint=0.02", "separable", **COLOURED | {"quantize": PTQ_TENSOR}),
    ),
    "loud": Case("output_channels", ("block1_b",), _spec("coloured", "residual?loud=block1_b", **COLOURED)),
    "columns": Case("input_columns", ("features",), _spec("wines?measured=1", "perceptron", 600, **FEATURES)),
    "joined": Case("mixed_ranges", ("digit",), _spec("parcels?grams=1000", "parcel", 600, **PARCELS)),
    "unsettled": Case("batch_norm", ("conv1",), _spec("motors?unit=200", "listener?slow=conv1", 200, **MOTORS)),
    "few-steps": Case(
        "few_steps",
        ANYWHERE,
        _small_batches(
            _spec("parcels", "parcel", 600, **PARCELS | {"quantize": {"scheme": "int8_per_channel", "steps": 1}}), 2
        ),
    ),
    "few-images": Case(
        "few_images",
        ANYWHERE,
        _spec("patients", "perceptron", **PATIENTS | {"quantize": {**PTQ, "calibration": {"images": 1}}}),
    ),
    "unlike": Case("unlike_test", ANYWHERE, _spec("pixels?dim=0.2", "autoencoder", 800, **PIXELS)),
    "hot": Case(
        "learning_rate",
        ANYWHERE,
        _spec(
            "motors",
            "listener",
            **MOTORS | {"quantize": {"scheme": "int8", "steps": 50, "learning_rate": {"initial": 2.0}}},
        ),
    ),
    "bits": Case(
        "few_bits",
        ("block1_a",),
        _spec("coloured", "residual", **COLOURED | {"quantize": _override("block1_a", bits=2)}),
    ),
    "sound-scenes": Case(SOUND, (), _spec("scenes", "segmenter", **SCENES)),
    "sound-images": Case(
        SOUND,
        (),
        _spec("coloured", "separable", 900, **COLOURED | {"quantize": {**PTQ, "calibration": {"images": 64}}}),
    ),
    "sound-steps": Case(
        SOUND, (), _spec("motors", "listener", **MOTORS | {"quantize": {"scheme": "int8_per_channel", "steps": 40}})
    ),
    "sound-patients": Case(
        SOUND,
        (),
        _spec("patients", "perceptron", **PATIENTS | {"quantize": _override("hidden2", range=[0, 8])}),
    ),
}

SECOND_ROUND = {
    "wide": Case(
        "wide_override",
        ("hidden1",),
        _spec("patients", "perceptron", **PATIENTS | {"quantize": _override("hidden1", range=[0, 300])}),
    ),
    "narrow": Case(
        "narrow_override",
        ("fine",),
        _spec("scenes", "segmenter", **SCENES | {"quantize": _override("fine", range=[0, 0.4])}),
    ),
    "percentile": Case(
        "percentile",
        ANYWHERE,
        _spec(
            "pixels",
            "autoencoder",
            800,
            **PIXELS | {"quantize": {**PTQ, "calibration": {"range": "percentile", "percentile": 90}}},
        ),
    ),
    "outliers": Case(
        "outliers",
        ANYWHERE,
        _spec("flowers?glitch=400", "perceptron", **FEATURES),
    ),
    "weights": Case(
        "weight_channels",
        ("depth2",),
        _spec("coloured", "separable?faint=depth2", **COLOURED | {"quantize": PTQ_TENSOR}),
    ),
    "loud": Case(
        "output_channels",
        ("values",),
        _spec("patients?second=100", "perceptron?values=2", 800, **PATIENTS),
    ),
    "joined": Case("mixed_ranges", ("fine", "deep"), _spec("scenes", "segmenter?place=3000", **SCENES)),
    "unsettled": Case("batch_norm", ("stem",), _spec("coloured", "residual?slow=stem", 150, **COLOURED)),
    "few-steps": Case(
        "few_steps",
        ANYWHERE,
        _small_batches(
            _spec("patients", "perceptron", 900, **PATIENTS | {"quantize": {"scheme": "int8", "steps": 3}}), 1
        ),
    ),
    "few-images": Case(
        "few_images",
        ANYWHERE,
        _spec("parcels", "parcel", 600, **PARCELS | {"quantize": {**PTQ, "calibration": {"images": 2}}}),
    ),
    "unlike": Case("unlike_test", ANYWHERE, _spec("patients?test_gain=4", "perceptron", **PATIENTS)),
    "hot": Case(
        "learning_rate",
        ANYWHERE,
        _spec(
            "patients",
            "perceptron",
            **PATIENTS | {"quantize": {"scheme": "int8", "steps": 100, "learning_rate": {"initial": 1.0}}},
        ),
    ),
    "bits": Case(
        "few_bits", ("hidden2",), _spec("wines", "perceptron", **FEATURES | {"quantize": _override("hidden2", bits=2)})
    ),
    "sound-pixels": Case(SOUND, (), _spec("pixels", "autoencoder", 800, **PIXELS)),
    "sound-parcels": Case(SOUND, (), _spec("parcels", "parcel", 600, **PARCELS)),
    "sound-residual": Case(
        SOUND, (), _spec("coloured", "residual", **COLOURED | {"quantize": {"scheme": "uint8", "steps": 100}})
    ),
    "sound-percentile": Case(
        SOUND,
        (),
        _spec(
            "motors",
            "listener",
            **MOTORS | {"quantize": {**PTQ, "calibration": {"range": "percentile", "percentile": 99.9}}},
        ),
    ),
}

ROUNDS = {"first": FIRST_ROUND, "second": SECOND_ROUND}
