"""Rules that a JSON Schema cannot express: relations between fields, and the paths and modules of a spec.

All faults are reported at once, so each rule must accept any merged document: the schema reports a field of the wrong
type, and the rules ignore it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.schema.faults import Fault
from qatbuild.schema.methods import DEFAULT, FIELDS_OF_METHOD, a_fifth
from qatbuild.schema.model import PATHS
from qatbuild.schema.nearest import suggest
from qatbuild.schema.routes import MEMORY_MODES, SYSTEM_CONFIGS

_BITS = 8
_ENDS = 2
_NAME_BYTES, _PATH_BYTES = 255, 4095
_NARROWEST, _WIDEST = 2.0**-8, 2.0**16


class AllowedPaths(NamedTuple):
    """The paths allowed in a spec: files below `root` or one of `allowed`, code below `root`."""

    root: Path
    allowed: tuple[Path, ...] = ()

    def holds(self, path: Path | str) -> bool:
        """Returns whether a path is allowed. Links are not resolved: a link inside the project may lead anywhere."""
        normal = f"{os.path.normpath(path)}{os.sep}"
        return any(normal.startswith(os.path.join(place, "")) for place in (self.root, *self.allowed))  # noqa: PTH118

    def module(self, name: str) -> Path | None:
        """Returns the file of a Python module below the root, or None."""
        parts = name.split(".")
        stem = self.root.joinpath(*parts)
        candidates = (stem.with_suffix(".py"), stem / "__init__.py") if all(map(str.isidentifier, parts)) else ()
        return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113  Names may be too long.


def rule_violations(document: Any, folder: Path, allowed_paths: AllowedPaths) -> Iterator[Fault]:
    """Yields a fault for every violated rule. The document's paths are relative to `folder`."""
    yield from _steps(document)
    yield from _method(document)
    yield from _mode(document)
    yield from _overrides(document)
    yield from _checkpoint(document)
    yield from _learning_rate(document, ("train", "learning_rate"), _integer(document, "train", "steps"))
    yield from _learning_rate(document, ("quantize", "learning_rate"), _quantized_steps(document))
    yield from _start(document)
    yield from _meta_graph(document)
    yield from _deploy(document)
    yield from _places(document, folder, allowed_paths)


def _steps(document: Any) -> Iterator[Fault]:
    steps = _quantized_steps(document)
    for name, otherwise in (("quant_delay", "nothing is quantized"), ("freeze_bn_delay", "nothing is frozen")):
        delay = _integer(document, "quantize", name)
        if steps is not None and delay is not None and delay >= steps:
            text = f"must be less than the {steps} steps of its training, or {otherwise}; got {delay}."
            yield Fault(("quantize", name), text)


def _method(document: Any) -> Iterator[Fault]:
    """Yields a fault for each field of the other method (a patch that changes the method drops such fields)."""
    ptq = _ptq(document)
    for name in FIELDS_OF_METHOD["qat" if ptq else "ptq"]:
        value = _at(document, "quantize", name)
        if value is None or (name, value) == ("start", "float"):
            continue
        reason = "ptq does not train" if ptq else "calibration is for ptq; qat learns ranges in training"
        yield Fault(("quantize", name), f'{reason}: remove this field, or write "method": "{"qat" if ptq else "ptq"}".')
    if _at(document, "quantize", "calibration", "percentile") is not None:
        wanted = _at(document, "quantize", "calibration", "range")
        if wanted != "percentile":
            text = f'needs "range": "percentile", got {wanted or "min_max"}.'
            yield Fault(("quantize", "calibration", "percentile"), text)


def _mode(document: Any) -> Iterator[Fault]:
    if _at(document, "quantize", "mode") != "tf1":
        return
    if _at(document, "quantize", "scheme") == "int8_per_channel":
        text = 'tf.contrib.quantize has no ranges per channel: with "mode": "tf1" write uint8, or int8 (symmetric).'
        yield Fault(("quantize", "scheme"), text)
    if _at(document, "quantize", "overrides"):
        text = 'tf.contrib.quantize has no exceptions by layer: remove them, or write "mode": "integer".'
        yield Fault(("quantize", "overrides"), text)


def _overrides(document: Any) -> Iterator[Fault]:
    overrides = _at(document, "quantize", "overrides")
    scheme = _at(document, "quantize", "scheme") or "uint8"
    for index, override in enumerate(overrides if isinstance(overrides, list) else ()):
        path = ("quantize", "overrides", index)
        ends, bits, stays_float = (_at(override, name) for name in ("range", "bits", "float"))
        if isinstance(override, dict) and ends is None and bits is None and not stays_float:
            yield Fault(path, "must set range, bits or float.")
        if stays_float and not (ends is None and bits is None):
            yield Fault(path, 'must not set range or bits with "float": true.')
        if _is_pair(ends) and not ends[0] <= 0 <= ends[1]:
            text = f"must contain 0, which padding and ReLU need exactly; got {ends[0]} .. {ends[1]}."
            yield Fault((*path, "range"), text)
        elif _is_pair(ends) and not ends[0] < ends[1]:
            yield Fault(
                (*path, "range"), f"must be [minimum, maximum] with minimum < maximum; got {ends[0]} .. {ends[1]}."
            )
        elif _is_pair(ends) and not _NARROWEST <= ends[1] - ends[0] <= _WIDEST:
            text = f"must be {_NARROWEST:g} to {_WIDEST:g} wide, as the kernels require; got {ends[0]} .. {ends[1]}."
            yield Fault((*path, "range"), text)
        if scheme == "uint8" and isinstance(bits, int) and bits != _BITS:
            text = f"must be {_BITS} with uint8, whose kernels compute wrongly with fewer; got {bits}. Use int8."
            yield Fault((*path, "bits"), text)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == _ENDS and all(isinstance(end, int | float) for end in value)


def _ptq(document: Any) -> bool:
    return (_at(document, "quantize", "method") or DEFAULT) == "ptq"


def _checkpoint(document: Any) -> Iterator[Fault]:
    path = ("convert", "checkpoint")
    wanted, steps = _at(document, *path), _quantized_steps(document)
    if _ptq(document) and isinstance(wanted, int):
        yield Fault(path, f'ptq does not train and has one checkpoint: write "last"; got {wanted}.')
    if isinstance(wanted, int) and wanted > 0 and steps is not None and steps > 0:
        scratch = _at(document, "quantize", "start") == "scratch"
        every = _integer(document, "train" if scratch else "quantize", "checkpoint_every") or a_fifth(steps)
        if every > 0 and not (wanted == steps or (wanted < steps and wanted % every == 0)):
            yield Fault(
                path, f"must be a step with a checkpoint: every {every} steps, and the last, {steps}; got {wanted}."
            )
    if wanted == "best" and _at(document, "dataset", "validation") == 0:
        yield Fault(path, '"best" needs validation images, but dataset.validation is 0.')


def _quantized_steps(document: Any) -> int | None:
    """Returns the number of steps of the quantized training, with its default; None for ptq."""
    train, own = _integer(document, "train", "steps"), _integer(document, "quantize", "steps")
    if _ptq(document):
        return None
    if _at(document, "quantize", "start") == "scratch":
        return train
    return own if own is not None or train is None else a_fifth(train)


def _learning_rate(document: Any, path: tuple[str, str], steps: int | None) -> Iterator[Fault]:
    warm_up = _integer(document, *path, "warm_up_steps")
    if warm_up is not None and steps is not None and warm_up >= steps:
        yield Fault((*path, "warm_up_steps"), f"must be less than the {steps} steps of the training, got {warm_up}.")
    boundaries, values = _at(document, *path, "boundaries"), _at(document, *path, "values")
    if isinstance(boundaries, list) and isinstance(values, list) and len(boundaries) != len(values):
        yield Fault(
            (*path, "values"),
            f"must have one value for each boundary; got {len(boundaries)} boundaries, {len(values)} values.",
        )
    if (
        isinstance(boundaries, list)
        and all(isinstance(step, int) for step in boundaries)
        and boundaries != sorted(set(boundaries))
    ):
        yield Fault((*path, "boundaries"), f"must increase, got {boundaries}.")


def _start(document: Any) -> Iterator[Fault]:
    scratch = _at(document, "quantize", "start") == "scratch"
    weights = _at(document, "model", "weights")
    if _at(document, "train") is None:
        yield from _without_train(document, scratch=scratch)
    if scratch and weights is not None:
        yield Fault(
            ("model", "weights"), 'a training from "scratch" starts from random weights; use quantize.start "float".'
        )
    if scratch:
        for name in ("steps", "learning_rate"):
            if _at(document, "quantize", name) is not None:
                yield Fault(
                    ("quantize", name), f'with quantize.start "scratch", train.{name} applies: remove this field.'
                )


def _without_train(document: Any, *, scratch: bool) -> Iterator[Fault]:
    if _at(document, "model", "weights") is None and _at(document, "model", "keras") is None:
        text = "missing. Only with trained weights (model.weights or model.keras) may it be absent."
        yield Fault(("train",), text)
    elif scratch:
        yield Fault(("train",), 'missing. With quantize.start "scratch", train.steps is needed.')
    elif not _ptq(document):
        for name in ("steps", "learning_rate"):
            if _at(document, "quantize", name) is None:
                yield Fault(("quantize", name), "missing. Its default depends on `train`, which is absent.")


def _meta_graph(document: Any) -> Iterator[Fault]:
    if _at(document, "model", "meta_graph") is not None and _at(document, "model", "weights") is None:
        yield Fault(("model", "weights"), "missing. A meta graph holds no weights: name its checkpoint.")


def _deploy(document: Any) -> Iterator[Fault]:
    """Yields a fault for each combination that a target cannot run, even if its compiler would accept it."""
    scheme = _at(document, "quantize", "scheme") or "uint8"
    if _at(document, "deploy", "c_array", "runtime") == "tflm" and scheme == "uint8":
        yield Fault(
            ("deploy", "c_array", "runtime"),
            "TFLite Micro has had no uint8 kernels since 2021: it takes int8 only, and quantize.scheme is uint8.",
        )
    accelerator = _at(document, "deploy", "vela", "accelerator") or "ethos-u55-128"
    system = _at(document, "deploy", "vela", "system_config")
    own = _at(document, "deploy", "vela", "config") is not None
    if isinstance(system, str) and isinstance(accelerator, str) and not own:
        family = accelerator.rpartition("-")[0].replace("ethos-u", "Ethos_U")
        fitting = [name for name in SYSTEM_CONFIGS if name.startswith(family)]
        if family and system not in fitting:
            text = f"of {accelerator} must be one of {', '.join(fitting)}, got {system}.{suggest(system, fitting)}"
            yield Fault(("deploy", "vela", "system_config"), text)
    mode = _at(document, "deploy", "vela", "memory_mode")
    if isinstance(mode, str) and not own and mode not in MEMORY_MODES:
        text = f"must be one of {', '.join(MEMORY_MODES)}, got {mode}.{suggest(mode, MEMORY_MODES)}"
        yield Fault(("deploy", "vela", "memory_mode"), text)
    if isinstance(mode, str) and "u55" in str(accelerator) and mode.startswith("Dedicated_Sram") and not own:
        yield Fault(
            ("deploy", "vela", "memory_mode"), f"an ethos-u55 has no DRAM for {mode}: Shared_Sram or Sram_Only."
        )


def _places(document: Any, folder: Path, allowed_paths: AllowedPaths) -> Iterator[Fault]:
    for path in PATHS:
        named = _at(document, *path)
        names = [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str) and name]
        yield from (Fault(path, text) for text in _misplaced(names, folder, allowed_paths))
    config = _at(document, "deploy", "vela", "config")
    file = folder / config if isinstance(config, str) and config else None
    if file and allowed_paths.holds(file) and not os.path.isfile(file):  # noqa: PTH113  The name may be too long.
        yield Fault(
            ("deploy", "vela", "config"), f"the file {config} does not exist (the path is relative to the spec)."
        )
    if _at(document, "dataset", "name") in (None, "digits"):
        for name in ("path", "url"):
            if _at(document, "dataset", name) is not None:
                yield Fault(("dataset", name), "the digits are embedded: remove this field, or set dataset.name.")
    call = _at(document, "model", "call")
    if isinstance(call, str) and ":" in call and allowed_paths.module(call.partition(":")[0]) is None:
        yield Fault(("model", "call"), f"the project has no module {call.partition(':')[0]}.")


def _misplaced(names: Iterable[str], folder: Path, allowed_paths: AllowedPaths) -> Iterator[str]:
    """Yields a sentence for each path that a spec must not name."""
    for name in names:
        place = os.path.join(folder, name)  # noqa: PTH118  A list may have thousands.
        if not allowed_paths.holds(place):
            hint = "Link it into the project, or list it in [tool.qatbuild] allow."
            yield f"lies outside the project: {name}. {hint}"
        elif _is_too_long(place):
            yield f"is too long: a name has at most {_NAME_BYTES} bytes, a path {_PATH_BYTES}."


def _is_too_long(path: str) -> bool:
    """Returns whether Linux refuses a path, whatever is there: every look at it would fail."""
    text = os.fsencode(os.path.abspath(path))  # noqa: PTH100  See its call.
    return len(text) > _PATH_BYTES or max(map(len, text.split(b"/"))) > _NAME_BYTES


def _at(document: Any, *path: str) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _integer(document: Any, *path: str) -> int | None:
    value = _at(document, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
