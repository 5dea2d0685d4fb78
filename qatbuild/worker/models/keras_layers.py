"""The layers of Keras that have no integer form, whatever their operations are, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import keras

from qatbuild.worker.models import unrolled_loops


class Without(NamedTuple):
    """Why a class of layers has no integer form, and a hint, which works when it is followed."""

    why: str
    hint: str = ""


_CONVOLVE = (
    "take convolutions over time (Conv1D, or Conv2D with padding), which see as many steps as their kernels reach"
)
_LOOP = Without("a recurrent loop, whose steps the integer runtime does not compute in integers", _CONVOLVE)
_ROLLED = Without(
    _LOOP.why,
    "write unroll=True, or set layer.unroll = True and save the model again: each step becomes layers of its own; "
    f"for many steps {_CONVOLVE}",
)
_NORMALIZES = Without(
    "it normalizes with each image's own statistics, for which integers have no form",
    "take keras.layers.BatchNormalization, behind a convolution or dense layer: it becomes a part of that layer",
)
_ATTENDS = Without(
    "attention multiplies two results of the network as matrices, of which only one may change from image to image",
    "take convolutions, or a gate: keras.layers.Multiply of a tensor and a sigmoid of its pooled values",
)
_VOLUME = Without(
    "the integer runtime has nothing with three dimensions",
    "take the two-dimensional layer of that name, with one of the dimensions as channels (keras.layers.Reshape)",
)
_LOOKS_UP = Without(
    "it looks values up by whole numbers, which a network of bytes (byte - mean) / std_dev does not have",
    "leave it out and prepare the dataset",
)
_CURVE = Without(
    "integers have no form of its activation function",
    'take "relu", "relu6", "leaky_relu", "hard_silu" (hard-swish), "silu" (swish), "sigmoid" or "tanh"',
)
_JUMPS = Without(
    "a ReLU with a threshold, or with both a slope and a largest value, has no integer form",
    "take one of negative_slope and max_value, and no threshold",
)
_ACTIVATIONS = frozenset({
    "ELU", "celu", "elu", "exponential", "gelu", "hard_shrink", "log_sigmoid", "log_softmax", "mish", "selu",
    "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "Celu", "Elu",
    "Exp", "Gelu", "HardShrink", "LogSigmoid", "LogSoftmax", "Mish", "Selu", "SoftShrink", "Softplus", "Softsign",
    "SparsePlus", "SparseSigmoid", "Sparsemax", "Squareplus",
})  # fmt: skip
"""Functions of Keras without integer form: the layer's, those of activation=..., and the classes of keras.ops."""
_CLASSES: Mapping[str, Without] = {
    **dict.fromkeys(("SimpleRNN", "GRU", "LSTM"), _ROLLED),
    **dict.fromkeys(("RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _LOOP),
    **dict.fromkeys(("LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"), _NORMALIZES),
    **dict.fromkeys(("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupedQueryAttention"), _ATTENDS),
    **dict.fromkeys(("Conv3D", "Conv3DTranspose", "MaxPooling3D", "AveragePooling3D", "UpSampling3D"), _VOLUME),
    **dict.fromkeys(("GlobalMaxPooling3D", "GlobalAveragePooling3D", "ZeroPadding3D", "Cropping3D"), _VOLUME),
    **dict.fromkeys(("AdaptiveMaxPooling3D", "AdaptiveAveragePooling3D"), _VOLUME),
    **dict.fromkeys(("Embedding", "ReversibleEmbedding", "CategoryEncoding", "Discretization", "Hashing"), _LOOKS_UP),
    **dict.fromkeys(("HashedCrossing", "IntegerLookup", "StringLookup", "TextVectorization"), _LOOKS_UP),
    **dict.fromkeys(("MelSpectrogram", "STFTSpectrogram"), Without(
        "spectra are computed in float", "leave it out and compute the spectra when the dataset is prepared"
    )),
    "Masking": Without("it leaves steps out by their values, which integers cannot", "leave it out"),
}  # fmt: skip


def without_integer_form(operation: keras.Operation) -> Iterator[tuple[str, str, Without]]:
    """Yields (name, class, why) for a layer that has no integer form, or for the layers inside it that have none.

    `operation` may also be one on tensors, such as keras.ops.gelu.
    """
    why = _without(operation)
    if why is not None:
        yield operation.name, described(operation), why
    elif isinstance(operation, keras.Layer):
        # Wrappers and layers of the user's own have no other list of the layers inside them.
        for inner in operation._flatten_layers(include_self=False, recursive=False):  # noqa: SLF001
            for name, kind, why_inside in without_integer_form(inner):
                yield f"{operation.name}/{name}", kind, why_inside


def described(operation: keras.Operation) -> str:
    """Returns the class of a layer, and the function of an Activation: 'Activation("gelu")'."""
    kind = type(operation).__name__
    return f'{kind}("{_activation(operation)}")' if kind == "Activation" else kind


def _without(operation: keras.Operation) -> Without | None:
    # A class of the user's own that is derived from one of Keras is called by its own name.
    names = [each.__name__ for each in type(operation).__mro__ if each.__module__.partition(".")[0] == "keras"]
    without = next((_CLASSES[name] for name in names if name in _CLASSES), None)
    if without is _ROLLED:
        return _of_loop(operation)
    if "ReLU" in names and (operation.threshold or (operation.negative_slope and operation.max_value is not None)):
        return _JUMPS
    if without is None and {*names[:1], _activation(operation)} & _ACTIVATIONS:
        return _CURVE
    return without


def _of_loop(layer: keras.Layer) -> Without | None:
    if not unrolled_loops.is_known(layer) or layer.stateful:
        return _LOOP
    if not unrolled_loops.is_unrolled(layer):
        return _ROLLED
    curves = {_activation(layer), _activation(layer, "recurrent_activation")}
    return _CURVE if curves & _ACTIVATIONS else None


def _activation(operation: keras.Operation, name: str = "activation") -> str:
    return getattr(getattr(operation, name, None), "__name__", "")
