"""Converts a valid document to typed values, with all defaults that depend on other fields."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qatbuild.schema import ends, model, routes
from qatbuild.schema.methods import a_fifth

_PERCENTILE = 99.99


def typed(label: str, file: Path, document: Mapping[str, Any]) -> model.Variant:
    """Converts a valid document to a typed variant. The document's paths are relative to the folder of `file`."""
    part = {name: dict(document.get(name) or {}) for name in ("dataset", "model", "train", "quantize")}

    def absolute(path: str) -> str:
        return os.path.normpath(file.parent.absolute() / path)

    for section, name in (path for path in model.PATHS if path[0] in part):
        if part[section].get(name) is not None:
            part[section][name] = each(part[section][name], absolute)
    keywords = {name: part["model"].pop(name) for name in sorted({*part["model"]} - {*model.Model._fields})}
    options = keywords or part["model"].pop("options", {})
    quantize = _quantize(part["quantize"])
    train = _train(part["train"])
    return model.Variant(
        label=label,
        file=file,
        description=document.get("description", ""),
        dataset=_dataset(part["dataset"]),
        inputs=ends.inputs(document),
        outputs=ends.outputs(document),
        augment=model.Augment(**document.get("augment", {})),
        model=model.Model(**{**part["model"], "options": options, "files": tuple(part["model"].get("files", ()))}),
        train=train,
        quantize=_tuned(quantize, train),
        convert=model.Convert(**document.get("convert", {})),
        evaluate=_evaluate(document.get("evaluate", {})),
        deploy={
            name: routes.typed(name, options, label, absolute)
            for name, options in sorted(document.get("deploy", {}).items())
        },
        card=_card(document.get("card", {})),
    )


def each(paths: Any, change: Callable[[str], str]) -> Any:
    """Applies `change` to a path or to each path of a list. Other values stay: the schema refuses them."""
    if isinstance(paths, list):
        return [each(path, change) for path in paths]
    return change(paths) if isinstance(paths, str) else paths


def _dataset(fields: Mapping[str, Any]) -> model.Dataset:
    typed: dict[str, Any] = {name: tuple(fields[name]) for name in ("size", "background") if fields.get(name)}
    features = fields.get("features") or {}
    typed["features"] = {name: _feature(feature) for name, feature in sorted(features.items())}
    return model.Dataset(**{**fields, **typed, "splits": model.Splits(**fields.get("splits", {}))})


def _feature(fields: Mapping[str, Any]) -> model.Feature:
    shape = fields.get("shape")
    return model.Feature(**{**fields, "shape": None if shape is None else tuple(shape)})


def _evaluate(fields: Mapping[str, Any]) -> model.Evaluate:
    gates = {
        name: model.Gate(**{limit: float(value) for limit, value in gate.items()})
        for name, gate in sorted(fields.get("gates", {}).items())
    }
    return model.Evaluate(**{**fields, "gates": gates})


def _card(fields: Mapping[str, Any]) -> model.Card:
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return model.Card(**{**fields, **lists})


def _rate(fields: Mapping[str, Any] | None) -> model.LearningRate | None:
    if fields is None:
        return None
    lists = {name: tuple(fields[name]) for name in ("boundaries", "values") if name in fields}
    return model.LearningRate(**{**fields, **lists})


def _quantize(fields: Mapping[str, Any]) -> model.Quantize:
    calibration = dict(fields.get("calibration", {}))
    if calibration.get("range") == "percentile":
        calibration.setdefault("percentile", _PERCENTILE)
    typed = {
        "learning_rate": _rate(fields.get("learning_rate")),
        "calibration": model.Calibration(**calibration),
        "overrides": tuple(_override(each) for each in fields.get("overrides", ())),
    }
    return model.Quantize(**{**fields, **typed})


def _override(fields: Mapping[str, Any]) -> model.Override:
    options = {
        name: value for name, value in fields.items() if value is not None
    }  # A merge patch keeps nulls inside lists.
    ends = options.pop("range", None)
    return model.Override(**options, range=None if ends is None else (float(ends[0]), float(ends[1])))


def _train(fields: Mapping[str, Any]) -> model.Train:
    if not fields:  # Trained weights without `train`: the fine-tuning uses the default batch size, optimizer and seed.
        return model.Train(0, model.LearningRate(1e-3), checkpoint_every=1)
    rate = _rate(fields["learning_rate"])
    optimizer = model.Optimizer(**fields.get("optimizer", {}))
    every = fields.get("checkpoint_every") or a_fifth(fields["steps"])
    return model.Train(**{**fields, "learning_rate": rate, "optimizer": optimizer, "checkpoint_every": every})


def _tuned(quantize: model.Quantize, train: model.Train) -> model.Quantize:
    if quantize.method == "ptq":
        return quantize
    if quantize.start == "scratch":
        return quantize._replace(
            steps=train.steps, learning_rate=train.learning_rate, checkpoint_every=train.checkpoint_every
        )
    steps = quantize.steps or a_fifth(train.steps)
    rate = quantize.learning_rate or model.LearningRate(train.learning_rate.initial / 10, "cosine")
    return quantize._replace(
        steps=steps, learning_rate=rate, checkpoint_every=quantize.checkpoint_every or a_fifth(steps)
    )
