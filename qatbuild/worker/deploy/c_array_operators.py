"""The operators of TFLite Micro, by the functions of its MicroMutableOpResolver that register them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

AS_OF = "2026-10-23"
"""The day of the TFLite Micro whose operators are listed; its releases have no numbers."""

_REGISTERED = """
Abs Add AddN ArgMax ArgMin AssignVariable AveragePool2D BatchMatMul BatchToSpaceNd BroadcastArgs BroadcastTo CallOnce
Cast Ceil Concatenation Conv2D Cos CumSum DepthToSpace DepthwiseConv2D Dequantize Div DynamicUpdateSlice Elu
EmbeddingLookup Equal Exp ExpandDims Fill Floor FloorDiv FloorMod FullyConnected Gather GatherNd Greater GreaterEqual
HardSwish If L2Normalization L2Pool2D LeakyRelu Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr Logistic
MaxPool2D Maximum Mean Minimum MirrorPad Mul Neg NotEqual Pack Pad PadV2 Prelu Quantize ReadVariable ReduceAll ReduceMax
ReduceMin Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt SelectV2 Shape Sin Slice Softmax
SpaceToBatchNd SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StridedSlice Sub Sum Svdf Tanh Transpose
TransposeConv UnidirectionalSequenceLSTM Unpack VarHandle While ZerosLike
"""
_BY_OPERATOR = {name.lower(): f"Add{name}" for name in _REGISTERED.split()}


class Resolver(NamedTuple):
    """What a file needs: `adders`, the resolver's functions (AddConv2D), and `missing`, operators that it has not."""

    adders: tuple[str, ...]
    missing: tuple[str, ...]


def resolver(operators: Iterable[str]) -> Resolver:
    """Returns what a resolver needs for the operators of a .tflite, which may repeat: CONV_2D, SOFTMAX."""
    names = sorted(set(operators))
    adders = {name: _BY_OPERATOR.get(name.replace("_", "").lower()) for name in names}
    return Resolver(
        tuple(adder for adder in adders.values() if adder), tuple(name for name in names if adders[name] is None)
    )
