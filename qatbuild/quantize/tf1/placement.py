"""Decides on the FakeQuants of each layer: tensor, name and consumers, as records, before the graph is edited.

Roles, names and initial ranges are those of tf.contrib.quantize: checkpoints of either restore in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from qatbuild.quantize.graph.layer_ops import ACTIVATION_TYPES
from qatbuild.quantize.graph.names import join, parent_scope
from qatbuild.quantize.graph.walk import consumers
from qatbuild.quantize.tf1.layers import LayerMatch

Role = Literal["weights_quant", "act_quant", "conv_quant", "add_quant", "post_activation_bypass_quant"]


@dataclass(frozen=True)
class Precision:
    """Bits of weights and activations, and whether ranges are symmetric about 0."""

    weight_bits: int = 8
    activation_bits: int = 8
    symmetric: bool = False


@dataclass(frozen=True)
class Placement:
    """One FakeQuant to insert: on `tensor`, in the name scope `prefix`, read by `consumers`.

    `learns`: in training the range is each step's minimum and maximum ("last"), or an exponential moving average of
    them ("average").
    """

    role: Role
    layer: str
    tensor: tf.Tensor
    consumers: tuple[tf.Operation, ...]
    prefix: str
    learns: Literal["last", "average"]
    initial_min: float
    bits: int
    narrow_range: bool
    symmetric: bool
    initial_max: float = 6.0


def place(match: LayerMatch, precision: Precision, scope: str = "") -> Iterator[Placement]:
    """Returns the FakeQuants of one layer, without those outside the name scope `scope`."""
    context = parent_scope(match.layer.name)
    if match.layer.name.startswith(scope):
        weights = match.weight.outputs[0]
        yield _weights(match.layer, weights, context, precision)

    around = context if match.bypass is None else parent_scope(context)
    if match.activation.name.startswith(scope):
        # tf.contrib.quantize expected a ReLU, so the initial range starts at 0.
        yield _activations("act_quant", match, match.activation, around, precision, initial_min=0.0)

    if match.bypass is not None and match.bias_add is not None:
        biased = match.passed or match.bias_add
        if _all_within(scope, biased, (match.bypass,)):
            yield _activations("conv_quant", match, biased, context, precision, readers=(match.bypass,))
        if not _fuses_into_activation(match.bypass) and _all_within(
            scope, match.bypass, consumers(match.bypass.outputs[0])
        ):
            yield _activations("add_quant", match, match.bypass, around, precision)

    late = match.post_activation_bypass
    if late is not None and not _fuses_into_activation(late) and late.name.startswith(scope):
        yield _activations("post_activation_bypass_quant", match, late, parent_scope(late.name), precision)


def _weights(layer: tf.Operation, tensor: tf.Tensor, context: str, precision: Precision) -> Placement:
    # narrow_range, 1..255: the products of two quantized values then fit the accumulators of the fast 8-bit kernels.
    # Only the layer reads the fake-quantized weights: weight decay still reads the float ones.
    return Placement(
        role="weights_quant",
        layer=layer.name,
        tensor=tensor,
        consumers=(layer,),
        prefix=join(context, "weights_quant"),
        learns="last",
        initial_min=-6.0,
        bits=precision.weight_bits,
        narrow_range=True,
        symmetric=precision.symmetric,
    )


def _activations(
    role: Role,
    match: LayerMatch,
    producer: tf.Operation,
    context: str,
    precision: Precision,
    *,
    initial_min: float = -6.0,
    readers: tuple[tf.Operation, ...] | None = None,
) -> Placement:
    return Placement(
        role=role,
        layer=match.layer.name,
        tensor=producer.outputs[0],
        consumers=consumers(producer.outputs[0]) if readers is None else readers,
        prefix=join(context, role),
        learns="average",
        initial_min=initial_min,
        bits=precision.activation_bits,
        narrow_range=False,
        symmetric=precision.symmetric,
    )


def _fuses_into_activation(addition: tf.Operation) -> bool:
    """Returns whether a ReLU follows: the runtime computes both in one step, and the range belongs behind the ReLU."""
    return any(consumer.type in ACTIVATION_TYPES for consumer in consumers(addition.outputs[0]))


def _all_within(scope: str, producer: tf.Operation, readers: tuple[tf.Operation, ...]) -> bool:
    return all(operation.name.startswith(scope) for operation in (producer, *readers))
