"""What the uint8 toolchain computes in integers: tried, operation by operation, with the converter of TensorFlow 2.21.

The converter never refuses an operation that it cannot compute in integers: it puts DEQUANTIZE before and QUANTIZE
behind it and reports success. This table is what stands between a network and such a float island.
"""

from __future__ import annotations

import tensorflow as tf

from qatbuild.quantize.tf1.layers import BATCH_NORM_TYPES, is_batch_norm_product

DATA_OPERAND = {"Conv2D": 0, "DepthwiseConv2dNative": 0, "MatMul": 0, "Conv2DBackpropInput": 2, "BiasAdd": 0}
"""Which operand of an operation carries the network's values; the others are weights, biases and shapes."""

WEIGHTS_OPERAND = {"Conv2D": 1, "DepthwiseConv2dNative": 1, "MatMul": 1, "Conv2DBackpropInput": 1}

MOVES = frozenset({
    "BatchToSpaceND", "CheckNumerics", "DepthToSpace", "EnsureShape", "ExpandDims", "GatherV2", "Identity", "IdentityN",
    "Max", "MaxPool", "MirrorPad", "Pad", "PlaceholderWithDefault", "PreventGradient", "Reshape", "Slice", "Snapshot",
    "ResizeNearestNeighbor", "SpaceToBatchND", "SpaceToDepth", "Split", "SplitV", "Squeeze", "StopGradient",
    "StridedSlice", "Tile", "Transpose", "Unpack",
})  # fmt: skip
"""They move their input's codes, and choose among them; what Pad adds is 0, which is a code."""

ROUNDS_AS_ITS_INPUT = frozenset({"AvgPool", "Mean", "PadV2", "Relu", "Relu6", "ResizeBilinear"})
"""They compute new values and round them to their input's codes."""

JOINS = frozenset({"ConcatV2", "Maximum", "Minimum", "Pack"})
"""They move the codes of several inputs into one tensor, so all of them must mean the same."""

ARITHMETIC = frozenset({"Add", "AddV2", "BiasAdd", "Mul", "RealDiv", "Sub"})
"""Element by element, the second operand an activation or a constant; with a ReLU or ReLU6 behind it in one step."""

HAS_OWN_RANGE = frozenset({"LeakyRelu"})

FIXED = {"Sigmoid": (0.0, 255 / 256), "Softmax": (0.0, 255 / 256), "Tanh": (-1.0, 127 / 128)}
"""The runtime forces these ranges: scale 1/256 from 0 on, of Tanh 1/128 from -1 on."""

KEEPS_ITS_RANGE = frozenset({
    "AvgPool", "BatchToSpaceND", "ConcatV2", "DepthToSpace", "ExpandDims", "GatherV2", "Identity", "Max", "MaxPool",
    "Mean", "MirrorPad", "Pack", "Pad", "PadV2", "Reshape", "ResizeBilinear", "ResizeNearestNeighbor", "Slice",
    "SpaceToBatchND", "SpaceToDepth", "Split", "SplitV", "Squeeze", "StopGradient", "StridedSlice", "Tile",
    "Transpose",
})  # fmt: skip
"""Their output's codes mean what their input's codes mean (of a concat: the converter rescales where they differ)."""

HAS_A_FIXED_RANGE = frozenset({"Sigmoid", "Softmax", "Tanh"})
"""Their output's scale is part of the operation: 1/256 from 0, of Tanh 1/128 from -1."""

NEEDS_A_RANGE = frozenset({"Add", "AddV2", "BiasAdd", "Conv2D", "DepthwiseConv2dNative", "MatMul", "Relu", "Relu6"})
"""Integer if a FakeQuant tells what their output's codes mean, at the end of the chain that is computed in one step."""

POOLS = frozenset({"AvgPool", "MaxPool"})
"""A ReLU straight behind one of these is computed in the same step and needs no range of its own."""

_REASONS = {
    "LRN": "local response normalization has no integer kernel; the converter would compute it in float",
    "BatchNorm": "it is not folded into a layer; the converter would compute it, and the layer before it, in float",
    "Dropout": "it draws random numbers, also in the .tflite",
    "Sum": "its integer kernels compute wrongly",
    "Switch": "it chooses between training and inference while it runs, which integers cannot",
    "PerImageStandardization": "each image gets a scale of its own; integers have one for all: (byte - mean) / std_dev",
}

ONLY_UINT8 = frozenset({"DepthToSpace", "Tile"})
"""The converter writes their int8 form in a version that LiteRT 2.3's reference kernels do not have."""

ONLY_AS_UINT8 = "LiteRT's reference kernels have it in uint8 alone"

SPLITS = ("Split", "SplitV", "Unpack")

UNREAD_PARTS = "not all of its parts are read: the converter then computes it in float, at times"
"""Whether it does depends on the order of addresses in its memory: the same graph converts either way."""

CONSTRUCTS = frozenset({"LRN", "BatchNorm", "Dropout", "PerImageStandardization"})
"""Kinds that say more than the type of one of their operations."""

_ACTIVATIONS = "take ReLU or ReLU6; the mode integer also has leaky ReLU, hard-swish and swish"

DEFAULT_CURES = {
    "LRN": "leave it out, or take a batch norm behind the layer before it",
    **dict.fromkeys(("Elu", "Selu", "Softplus", "Softsign", "Erf", "Erfc"), _ACTIVATIONS),
    "BatchNorm": "put it straight behind a convolution or dense layer without biases, or leave it out",
    "Conv2D": "an atrous convolution is tf.nn.conv2d(..., dilations=...)",
    "Sum": "use the mean (tf.reduce_mean) instead",
    **dict.fromkeys(SPLITS, "take the parts that are read by slicing, x[..., :2]"),
    **dict.fromkeys(ONLY_UINT8, 'take "scheme": "uint8", or resize (nearest neighbour or bilinear)'),
    "Square": "multiply the tensor with itself",
    "Neg": "multiply with -1, or subtract",
    "AddN": "add two at a time",
    "Switch": "build the network with training True or False, not with a tensor",
    "Dropout": "build the inference graph with training off",
    "PerImageStandardization": 'scale all images alike: "input": {"mean": ..., "std_dev": ...}',
}


def kind(operation: tf.Operation) -> str:
    """What people call the operation: its type, or the construct that it is a part of."""
    if "per_image_standardization" in operation.name:
        return "PerImageStandardization"
    if operation.type in BATCH_NORM_TYPES or is_batch_norm_product(operation):
        return "BatchNorm"
    if operation.type in {"Merge", "If", "StatelessIf"}:
        return "Switch"
    return str(operation.type)


def reason(name: str) -> str:
    """Why an operation of that kind is no integer one."""
    if name in NEEDS_A_RANGE:
        return "nothing gives its output a range; the converter would compute it in float"
    return _REASONS.get(name, "it is not among the operations that convert to integers; it would be computed in float")
