"""Errors for Keras models that cannot be used as a network, with hints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from qatbuild.exchange.errors import StageError

_AUGMENTS = frozenset({"AugMix", "AutoContrast", "CutMix", "MixUp", "RandAugment", "Solarization", "Equalization"})
_PREPARES = frozenset({"CenterCrop", "Resizing", "MaxNumBoundingBoxes"})
_NO_CLASSES = frozenset({"Sigmoid", "Tanh", "Relu", "Relu6", "Elu", "Softplus"})
_NO_PROBABILITIES = _NO_CLASSES - {"Sigmoid"} | {"Softmax"}
_LISTED = 10
_REASON_LETTERS = 300


def is_keras(result: object) -> bool:
    """Returns whether a value is a Keras model, of Keras 2 or 3."""
    names = {f"{each.__module__.partition('.')[0]}.{each.__name__}" for each in type(result).__mro__}
    return bool(names & {"keras.Model", "tf_keras.Model"})


def check(model: keras.Model, origin: str, *, trained: bool = False) -> None:
    """Raises StageError unless a model is functional or sequential, of Keras 3, and made for inputs of known shapes.

    A `trained` model may augment its images: that is over, and in inference such a layer does nothing.
    """
    facts = [("model", origin), ("got", described(model))]
    if not isinstance(model, keras.Model):
        hint = "Build it with `import keras` (Keras 3), or save it as an .h5 file and name that in model.keras."
        raise StageError("The model is a Keras 2 model, which TensorFlow 2.21 cannot run.", facts, hint)
    if not _is_made_of_layers(model):
        hint = "Build it as keras.Model(inputs, outputs) or keras.Sequential, so that its layers can be copied."
        raise StageError("The network is a subclassed Keras model, whose layers cannot be read.", facts, hint)
    if not model.built or not model.inputs:
        raise StageError(
            "A Keras model has no input yet.", facts, "Begin it with keras.Input((height, width, channels))."
        )
    refused = [each for each in _out_of_place(model) if not (trained and augments(each[0]))]
    if refused:
        hint = "; ".join(dict.fromkeys(hint for _, _, hint in refused))
        facts += [(layer.name, f"{type(layer).__name__}: {why}") for layer, why, _ in refused]
        raise StageError("The Keras model has layers for steps that the spec defines.", facts, hint)


def augments(layer: keras.Layer) -> bool:
    """Returns whether a layer changes images at random, in training only."""
    kind = type(layer).__name__
    return kind.startswith("Random") or kind in _AUGMENTS


def described(model: object) -> str:
    """Describes a model by Keras' version and its kind: "Keras 3.15.1, Functional model "resnet50"."""
    kind = type(model)
    root = kind.__module__.partition(".")[0]
    version = f"Keras {keras.__version__}"
    if not isinstance(model, keras.Model):
        origin = next((each.__module__ for each in kind.__mro__ if each.__module__.startswith("tf_keras")), root)
        version = f"Keras 2 ({origin.partition('.')[0]})"
    name = getattr(model, "name", "")
    return f'{version}, {kind.__name__} model "{name}"'


def unreadable(path: Path, fault: Exception) -> StageError:
    """Returns the error for a file that cannot be loaded."""
    text = str(fault).strip()
    facts = [("model.keras", path.name), ("Keras", keras.__version__)]
    if "Lambda" in text or "unsafe" in text:
        hint = "Files must not contain code. Build the model in a function of the project, and name it in model.call."
        return StageError("The Keras file has Lambda layers: loading it would run code from the file.", facts, hint)
    facts.append(("reason", "\n".join(text.splitlines()[:3]) or type(fault).__name__))
    if "Could not locate" in text or "Unknown" in text or "custom" in text.lower():
        hint = "Build the model, with its custom classes, in a function of the project, and name it in model.call."
        if path.suffix != ".keras":
            hint += " Operators and keras.ops are only read from a .keras file."
        return StageError("The Keras file has classes that Keras does not read.", facts, hint)
    hint = "Use a .keras file of Keras 3, or an .h5 file of a whole Keras 2 model (not of its weights only)."
    return StageError("A Keras file cannot be read.", facts, hint)


def loaded_weights(assignments: Iterable[tf.Operation]) -> StageError:
    """Returns the error for a function that loads weights into the model that it returns."""
    facts = [("assignments", len(list(assignments)))]
    hint = 'Save the model once (model.save("net.keras")) and name the file: "model": {"keras": "net.keras"}.'
    return StageError("The network's function loads weights into its Keras model; they would be lost.", facts, hint)


def not_copied(layer: keras.Layer, fault: Exception) -> StageError:
    """Returns the error for a layer that cannot be copied from its configuration."""
    reason = " ".join(str(fault).split())[:_REASON_LETTERS] or type(fault).__name__
    facts = [("layer", layer.name), ("class", type(layer).__name__), ("reason", reason)]
    hint = "A custom layer needs get_config(), with every argument of its __init__."
    return StageError("A Keras layer cannot be copied.", facts, hint)


def foreign_value(operation: keras.Operation, value: str) -> StageError:
    """Returns the error for an operation on a tensor that belongs to no layer, in the graph of the user's function."""
    facts = [("operation", operation.name), ("class", type(operation).__name__), ("reads", value)]
    hint = "Write constants as NumPy arrays or numbers, and what is to be trained as a layer."
    return StageError("An operation of a Keras model reads a tensor that belongs to none of its layers.", facts, hint)


def not_computed(operation: keras.Operation, fault: Exception) -> StageError:
    """Returns the error for a layer or operation that fails on its input; the traceback is in the log."""
    reason = str(fault).strip().splitlines()[:1] or [""]
    facts = [("layer", operation.name), ("class", type(operation).__name__)]
    return StageError(
        "A layer of the Keras model cannot be computed.", [*facts, ("raised", f"{type(fault).__name__}: {reason[0]}")]
    )


def check_shape(model: keras.Model, name: str, end: keras.KerasTensor, tensor: tf.Tensor) -> None:
    """Raises StageError unless an input of the model, `end`, takes examples of the dataset's shape, [batch, ...]."""
    wanted, got = list(end.shape[1:]), tensor.shape[1:].as_list()
    # Keras itself removes or adds a last dimension of one.
    forms = [got, got[:-1]] if got[-1:] == [1] else [got, [*got, 1]]
    if not any(_fits(wanted, form) for form in forms):
        facts = [("network", described(model))]
        facts += [
            (name, "x".join(map(str, got))),
            ("wanted", "x".join("?" if each is None else str(each) for each in wanted)),
        ]
        raise StageError(f"The network cannot take {name} of this shape.", facts)


def _fits(wanted: Sequence[int | None], got: Sequence[int | None]) -> bool:
    return len(wanted) == len(got) and all(size in {None, present} for size, present in zip(wanted, got, strict=True))


def check_randomness(operations: Iterable[tf.Operation]) -> None:
    """Raises StageError if an operation draws random numbers from a state other than the global step."""
    drawn = [each for each in operations if any("seed_generator_state" in tensor.op.name for tensor in each.inputs)]
    if drawn:
        layers = list(dict.fromkeys(each.name.rpartition("/")[0] for each in drawn))[:_LISTED]
        hint = "Use keras.layers.Dropout and similar layers directly in the model, not inside another layer."
        facts = [("layers", "\n".join(layers))]
        raise StageError("A Keras layer draws random numbers that a resumed training cannot reproduce.", facts, hint)


def check_output(last: tf.Operation, model: keras.Model, end: str) -> None:
    """Raises StageError if an output that belongs to a task's own activation, `end`, ends in another one."""
    if end == "softmax" and last.type in _NO_CLASSES:
        facts = [("network", described(model)), ("ends in", last.type)]
        hint = "End it with a Dense layer, with softmax or without an activation (logits)."
        raise StageError("The network's output is not one score per class.", facts, hint)
    if end == "sigmoid" and last.type in _NO_PROBABILITIES:
        facts = [("network", described(model)), ("ends in", last.type)]
        hint = "End it with a Dense layer, with sigmoid or without an activation (logits)."
        raise StageError("The network's output is not one probability per label.", facts, hint)


def _is_made_of_layers(model: keras.Model) -> bool:
    is_layers = any(each.__name__ in {"Functional", "Sequential"} for each in type(model).__mro__)
    inner = (layer for layer in model.layers if isinstance(layer, keras.Model)) if is_layers else ()
    return is_layers and all(_is_made_of_layers(layer) for layer in inner)


def _out_of_place(model: keras.Model) -> Iterator[tuple[keras.Layer, str, str]]:
    """Yields (layer, reason, hint) for each layer for augmentation or preprocessing, which the spec defines."""
    for layer in model.layers:
        kind = type(layer).__name__
        if isinstance(layer, keras.Model):
            yield from _out_of_place(layer)
        elif augments(layer):
            hint = 'leave it out; use "augment" in the spec'
            yield layer, "it augments images", hint
        elif kind in _PREPARES:
            hint = "leave it out and prepare the dataset"
            yield layer, "it prepares images", hint
