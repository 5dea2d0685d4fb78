"""What Arm NN 20.08, the release that Debian has, does not read, or computes otherwise than LiteRT.

Tried one by one with its parser and its backend CpuRef.
"""

from __future__ import annotations

from pathlib import Path

from qatbuild.worker.tflite import inspect

_PARSED = frozenset({
    "ADD", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "DIV",
    "EXP", "FULLY_CONNECTED", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU", "LOGISTIC", "MAX_POOL_2D", "MAXIMUM",
    "MEAN", "MINIMUM", "MUL", "NEG", "PACK", "PAD", "QUANTIZE", "RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE",
    "SUB", "TANH", "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK",
})  # fmt: skip
"""The operators that its parser knows."""

_BIAS_HINT = "give {} a bias: Arm NN 20.08 cannot parse a dense layer without one"
_HINTS = {
    "ARG_MAX": 'write "values": "logits" in the output, and take the index of the greatest in the application',
    "PRELU": "take LeakyReLU or ReLU",
    "REDUCE_MAX": "take a max pool as large as its input, such as MaxPooling2D((height, width))",
}
_PADS = ("PAD", "PADV2", "MIRROR_PAD")


def parser_hint(model: inspect.Flatbuffer) -> str:
    """Returns what to write instead of what the parser refuses, '' if it refuses nothing."""
    texts = []
    if bare := biasless(model):
        texts.append(_BIAS_HINT.format(", ".join(bare)))
    for name in sorted({operator.name for operator in model.operators} - _PARSED):
        layers = dict.fromkeys(model.layer(operator) for operator in model.operators if operator.name == name)
        instead = f": {_HINTS[name]}" if name in _HINTS else ""
        texts.append(f"Arm NN 20.08 has no {name} ({', '.join(layers)}){instead}")
    return "; ".join(texts)


def biasless(model: inspect.Flatbuffer) -> tuple[str, ...]:
    """Returns the dense layers without a bias (input index -1 in the file), which the parser refuses."""
    return tuple(
        model.layer(operator)
        for operator in model.operators
        if operator.name == "FULLY_CONNECTED" and len(operator.inputs) == 2  # noqa: PLR2004
    )


def shifted_pads(model: inspect.Flatbuffer) -> tuple[str, ...]:
    """Returns the layers with a standalone PAD and a zero point other than 0, which is padded with raw zeros.

    A PAD that is only read by CONV_2D is left out: Arm NN folds it into the convolution, which pads correctly.
    """
    pads = []
    for operator in model.operators:
        zero_points = model.tensors[operator.inputs[0]].zero_points
        if operator.name in _PADS and any(zero_points):
            readers = {reader.name for reader in model.operators if operator.outputs[0] in reader.inputs}
            if readers != {"CONV_2D"}:
                pads.append(f"{model.layer(operator)} ({operator.name}, zero point {zero_points[0]})")
    return tuple(pads)


def shifted_resizes(path: Path) -> tuple[str, ...]:
    """Returns the layers of a .tflite whose resizes have half-pixel centres, which are computed without them.

    All of Keras and TensorFlow 2 have; those of tf.compat.v1.image and with align_corners do not. A nearest resize to a
    whole multiple is the same either way.
    """
    model, resizes = inspect.read(path), []
    for operator, fields in zip(model.operators, inspect.load(path).subgraphs[0].operators, strict=False):
        if operator.name.startswith("RESIZE_") and fields.builtinOptions.halfPixelCenters:
            sizes, results = (model.tensors[each[0]].shape[1:3] for each in (operator.inputs, operator.outputs))
            is_whole = all(result % size == 0 for size, result in zip(sizes, results, strict=True))
            if sizes != results and not (is_whole and operator.name == "RESIZE_NEAREST_NEIGHBOR"):
                resizes.append(f"{model.layer(operator)} ({operator.name}, half-pixel centres)")
    return tuple(resizes)
