"""Facts about the converter of TensorFlow 2.21: the operations that it computes in integers, tried one by one.

The converter never refuses an operation that it cannot compute in integers: it puts DEQUANTIZE before it and QUANTIZE
behind it and reports success. The table OPS keeps such operations out of a network.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import tensorflow as tf

from qatbuild.quantize.graph.fake_quant import FAKE_QUANT_TYPES
from qatbuild.quantize.graph.layer_ops import ACTIVATION_TYPES, is_batch_norm

Scale = Literal["own_scale", "same_scale_requantized", "same_scale", "shared_scale", "fixed_output_range"]
"""How an operation's output gets its scale and zero point.

own_scale                a range of its own                                conv output
same_scale_requantized   its input's; new values are rounded to it         average pool
same_scale               its input's; quantized values are only moved      max pool, reshape
shared_scale             one scale for all inputs and the output           concatenation
fixed_output_range       the runtime dictates it                           softmax: 1/256 from 0
"""


class IntegerOp(NamedTuple):
    """One operation type that has an integer kernel.

    `in_tf1`: mode tf1 takes it as well; mode integer takes all. `elementwise`: adds or multiplies element by element,
    the second operand an activation or a constant, and is computed in one step with a ReLU or ReLU6 behind it.
    `data`, `weights`: the index of the operand with the network's values, and with weights; None where all operands are
    values. `fixed`: the (min, max) of a fixed output range. `only_uint8`: its int8 kernel cannot be loaded.
    """

    scale: Scale
    in_tf1: bool = True
    elementwise: bool = False
    data: int | None = None
    weights: int | None = None
    fixed: tuple[float, float] | None = None
    only_uint8: bool = False


OPS = {
    "Add": IntegerOp("own_scale", elementwise=True),
    "AddV2": IntegerOp("own_scale", elementwise=True),
    "AvgPool": IntegerOp("same_scale_requantized"),
    "BatchToSpaceND": IntegerOp("same_scale"),
    "BiasAdd": IntegerOp("own_scale", elementwise=True, data=0),
    "CheckNumerics": IntegerOp("same_scale", in_tf1=False),
    "ConcatV2": IntegerOp("shared_scale"),
    "Conv2D": IntegerOp("own_scale", data=0, weights=1),
    "Conv2DBackpropInput": IntegerOp("own_scale", in_tf1=False, data=2, weights=1),
    # int8: the converter writes a version that LiteRT 2.3's reference kernels do not have.
    "DepthToSpace": IntegerOp("same_scale", only_uint8=True),
    "DepthwiseConv2dNative": IntegerOp("own_scale", data=0, weights=1),
    "EnsureShape": IntegerOp("same_scale", in_tf1=False),
    "ExpandDims": IntegerOp("same_scale"),
    "GatherV2": IntegerOp("same_scale"),
    "Identity": IntegerOp("same_scale"),
    "IdentityN": IntegerOp("same_scale", in_tf1=False),
    "LeakyRelu": IntegerOp("own_scale", in_tf1=False),
    "MatMul": IntegerOp("own_scale", data=0, weights=1),
    "Max": IntegerOp("same_scale"),
    "MaxPool": IntegerOp("same_scale"),
    "Maximum": IntegerOp("shared_scale", in_tf1=False),
    "Mean": IntegerOp("same_scale_requantized"),
    "Minimum": IntegerOp("shared_scale", in_tf1=False),
    "MirrorPad": IntegerOp("same_scale"),
    "Mul": IntegerOp("own_scale", in_tf1=False, elementwise=True),
    "Neg": IntegerOp("own_scale", in_tf1=False, elementwise=True),
    "Pack": IntegerOp("shared_scale"),
    "Pad": IntegerOp("same_scale"),  # it adds zeros, which every range can represent
    "PadV2": IntegerOp("same_scale_requantized"),
    "PlaceholderWithDefault": IntegerOp("same_scale", in_tf1=False),
    "Pow": IntegerOp("own_scale", in_tf1=False, data=0),
    "PreventGradient": IntegerOp("same_scale", in_tf1=False),
    "RealDiv": IntegerOp("own_scale", in_tf1=False, elementwise=True),
    "Relu": IntegerOp("same_scale_requantized"),
    "Relu6": IntegerOp("same_scale_requantized"),
    "Reshape": IntegerOp("same_scale"),
    "ResizeBilinear": IntegerOp("same_scale_requantized"),
    "ResizeNearestNeighbor": IntegerOp("same_scale"),
    "Sigmoid": IntegerOp("fixed_output_range", fixed=(0.0, 255 / 256)),
    "Slice": IntegerOp("same_scale"),
    "Snapshot": IntegerOp("same_scale", in_tf1=False),
    "Softmax": IntegerOp("fixed_output_range", fixed=(0.0, 255 / 256)),
    "SpaceToBatchND": IntegerOp("same_scale"),
    "SpaceToDepth": IntegerOp("same_scale"),
    "Split": IntegerOp("same_scale"),
    "SplitV": IntegerOp("same_scale"),
    "Square": IntegerOp("own_scale", in_tf1=False, elementwise=True),
    "Squeeze": IntegerOp("same_scale"),
    "StopGradient": IntegerOp("same_scale"),
    "StridedSlice": IntegerOp("same_scale"),
    "Sub": IntegerOp("own_scale", in_tf1=False, elementwise=True),
    "Tanh": IntegerOp("fixed_output_range", fixed=(-1.0, 127 / 128)),
    "Tile": IntegerOp("same_scale", only_uint8=True),
    "Transpose": IntegerOp("same_scale"),
    "Unpack": IntegerOp("same_scale", in_tf1=False),
}

NEEDS_RANGE = frozenset(name for name, op in OPS.items() if op.in_tf1 and op.scale == "own_scale") | ACTIVATION_TYPES
"""Operations of mode tf1 whose output needs a FakeQuant, at the end of the chain that is computed in one step."""

POOLS = frozenset({"AvgPool", "MaxPool"})
"""A ReLU directly behind one of these is computed in the same step and needs no range of its own."""

SPLITS = frozenset({"Split", "SplitV", "Unpack"})

CONSTRUCTS = frozenset({"LRN", "BatchNorm", "Dropout", "PerImageStandardization", "Loop"})
"""Kinds that tell a user more than the type of one operation does."""

SCALING = "InputScaling"
"""The kind of a layer that an input's scaling by channel cannot become a part of."""

ONLY_AS_UINT8 = "LiteRT's reference kernels have it in uint8 only"
UNREAD_PARTS = "not all of its parts are read: the converter then sometimes computes it in float"
"""Whether it does depends on the order of addresses in its memory: the same graph converts either way."""

ATROUS = "between SpaceToBatchND and BatchToSpaceND, and not as one dilated layer, the converter computes it in float"
CHANNELS_FIRST = "it has its channels first (NCHW)"
EXPLICIT_POOL = "the integer runtime pools with padding SAME or VALID only"
POOLED_CHANNELS = "the integer runtime pools within images and channels, not across them"
ONLY_IN_INTEGER = "mode tf1 does not give its output a range; it would be computed in float"
ONLY_LOGITS_IN_TF1 = "mode tf1 gives an output no range, unless it is an activation or the logits of a softmax"
NOT_INTEGER = "it is not among the operations that convert to integers; it would be computed in float"
DILATED_TRANSPOSED = "the integer runtime has no transposed convolution with dilations"

_REASONS = {
    **dict.fromkeys(FAKE_QUANT_TYPES, "the network brings fake quantization of its own, beside the build's"),
    "LRN": "local response normalization has no integer kernel; the converter would compute it in float",
    "BatchNorm": "it is not folded into a layer; the converter would compute it, and the layer before it, in float",
    "Dropout": "it draws random numbers, also in the .tflite",
    "Sum": "its integer kernels compute wrongly",
    "Loop": "the steps of a loop are not known when the network is converted, and are computed in float",
    "Maximum": "only that of two tensors, or of a tensor and a number that leaves 0 in its range, has an integer form",
    "Minimum": "only that of two tensors, or of a tensor and a number that leaves 0 in its range, has an integer form",
    "Switch": "it chooses between training and inference at run time, which integer kernels cannot",
    "XlaCallModule": "it is a whole program of PyTorch or JAX (StableHLO), whose layers cannot be read",
    "PerImageStandardization": "each image gets a scale of its own; integers have one for all: (byte - mean) / std_dev",
}
_LOOPS = frozenset({"While", "StatelessWhile", "Enter"})
ACTIVATIONS = 'use ReLU or ReLU6; "mode": "integer" also has leaky ReLU, hard-swish and swish'

DEFAULT_HINTS = {  # by kind, or by the reason
    "LRN": "leave it out, or put a batch norm behind the layer before it",
    **dict.fromkeys(("Elu", "Selu", "Softplus", "Softsign", "Erf", "Erfc"), ACTIVATIONS),
    "BatchNorm": (
        "put it, with moving averages of mean and variance, directly behind a convolution or dense layer without "
        "biases, or leave it out"
    ),
    ATROUS: "write it as tf.nn.conv2d(..., dilations=...), or with Keras' dilation_rate",
    CHANNELS_FIRST: 'build it with its channels last (NHWC, or "channels_last" of Keras)',
    DILATED_TRANSPOSED: "take a larger kernel, or a resize (UpSampling2D) with a dilated convolution behind it",
    EXPLICIT_POOL: 'take padding "SAME" or "VALID"; behind a ReLU, pad with tf.pad before the pool',
    ONLY_LOGITS_IN_TF1: 'write "mode": "integer", in which every output has a range',
    POOLED_CHANNELS: "take a convolution with a kernel of 1 x 1 to join channels",
    "SelectV2": "use ReLU, ReLU(max_value=...), leaky ReLU or PReLU",
    "Pow": "multiply the tensor by itself",
    **dict.fromkeys(("Maximum", "Minimum"), "clip to a range that contains 0, as ReLU(max_value=...) does"),
    "Sum": "use the mean instead (keras.ops.mean, tf.reduce_mean)",
    **dict.fromkeys(sorted(SPLITS), "take the parts that are read by slicing, x[..., :2]"),
    **dict.fromkeys(
        (name for name, op in OPS.items() if op.only_uint8),
        'use "scheme": "uint8", or resize (nearest neighbour or bilinear)',
    ),
    "Abs": "use tf.nn.relu(x) + tf.nn.relu(-x)",
    "ArgMax": "end the network with the scores; the application takes the index of the greatest",
    "BatchMatMulV2": "take a dense layer, whose weights are the second operand; two results cannot be multiplied so",
    "BroadcastTo": "leave it out: sums and products broadcast",
    "Cast": "build the network in float32",
    "Einsum": "take a dense layer or a convolution with a kernel of 1 x 1, which multiply the last axis",
    **dict.fromkeys(sorted(FAKE_QUANT_TYPES), "leave it out: the build inserts what is needed"),
    "GatherNd": "use tf.gather, or slices",
    "Loop": "write the steps one after another",
    "MaxPoolWithArgmax": "use tf.nn.max_pool2d",
    "Min": "use -tf.reduce_max(-x)",
    "PyFunc": "write it with operations of TensorFlow",
    "ResizeBicubic": "resize with nearest neighbour or bilinear",
    "ReverseV2": "use a slice with step -1, x[:, ::-1]",
    "SquaredDifference": "use (x - y) ** 2",
    "AddN": "add two tensors at a time",
    "XlaCallModule": "build its layers in Keras, copy the weights, save the model as .keras, and name that file",
    "Switch": "build the network with training True or False, not with a tensor",
    "Dropout": "leave it out where training is False; keras.layers.Dropout does so by itself",
    "PerImageStandardization": 'scale all images alike: "input": {"mean": ..., "std_dev": ...}',
}


GENERAL_HINT = "take convolutions, dense layers, pools, sums, ReLU, sigmoid, tanh, softmax, concatenations, slices"
"""For operations that are not integer and have no hint of their own."""


def kind(operation: tf.Operation) -> str:
    """Returns the name that users know: the construct that the operation belongs to (CONSTRUCTS), or its type."""
    if "per_image_standardization" in operation.name:
        return "PerImageStandardization"
    if is_batch_norm(operation):
        return "BatchNorm"
    if operation.type in _LOOPS:
        return "Loop"
    if operation.type in {"Merge", "If", "StatelessIf"}:
        return "Switch"
    return str(operation.type)


def reason(name: str) -> str:
    """Returns why an operation of the kind `name` is not computed in integers."""
    if name in NEEDS_RANGE:
        return "nothing gives its output a range; the converter would compute it in float"
    return _REASONS.get(name, NOT_INTEGER)
