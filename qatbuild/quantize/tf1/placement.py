"""From layers to instructions: which tensor gets which FakeQuant, under which name, for which consumers.

The instructions are plain records, made before the graph is touched. Roles, names and initial ranges are those of
tf.contrib.quantize, so that checkpoints of either restore in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from qatbuild.quantize.tf1.layers import ACTIVATION_TYPES, LayerMatch

Role = Literal["weights_quant", "act_quant", "conv_quant", "add_quant", "post_activation_bypass_quant"]


@dataclass(frozen=True)
class Numbers:
    """The number formats of a rewrite: bits of weights and activations, and whether ranges are symmetric about 0."""

    weight_bits: int = 8
    activation_bits: int = 8
    symmetric: bool = False


@dataclass(frozen=True)
class Placement:
    """One FakeQuant to be made: on `tensor`, in the name scope `prefix`, read by `consumers`.

    `learns` says how the range follows the data in training: "last" takes each step's minimum and maximum, "average"
    an exponential moving average of them.
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


def place(match: LayerMatch, numbers: Numbers, scope: str = "") -> Iterator[Placement]:
    """The FakeQuants that one layer asks for, those outside the name scope `scope` left out."""
    context = parent(match.layer.name)
    if match.layer.name.startswith(scope):
        weights = match.weight.outputs[0]
        yield _weights(match.layer, weights, context, numbers)

    around = context if match.bypass is None else parent(context)
    if match.activation.name.startswith(scope):
        # The activation was never negative in the networks this was made for, so its range starts at 0.
        yield _activations("act_quant", match, match.activation, around, numbers, initial_min=0.0)

    if match.bypass is not None and match.bias_add is not None:
        biased = match.passed or match.bias_add
        if _all_within(scope, biased, (match.bypass,)):
            yield _activations("conv_quant", match, biased, context, numbers, consumers=(match.bypass,))
        if not _fuses_into_activation(match.bypass) and _all_within(scope, match.bypass, _consumers(match.bypass)):
            yield _activations("add_quant", match, match.bypass, around, numbers)

    late = match.post_activation_bypass
    if late is not None and not _fuses_into_activation(late) and late.name.startswith(scope):
        yield _activations("post_activation_bypass_quant", match, late, parent(late.name), numbers)


def parent(name: str) -> str:
    """The name scope that a name stands in, '' at the root."""
    return name.rpartition("/")[0]


def _weights(layer: tf.Operation, tensor: tf.Tensor, context: str, numbers: Numbers) -> Placement:
    # Codes 1..255 only: the products of two codes then fit the accumulators of the fast 8-bit kernels.
    # Only the layer reads the fake-quantized weights: weight decay goes on to see the float ones.
    return Placement(
        role="weights_quant",
        layer=layer.name,
        tensor=tensor,
        consumers=(layer,),
        prefix=_join(context, "weights_quant"),
        learns="last",
        initial_min=-6.0,
        bits=numbers.weight_bits,
        narrow_range=True,
        symmetric=numbers.symmetric,
    )


def _activations(
    role: Role,
    match: LayerMatch,
    producer: tf.Operation,
    context: str,
    numbers: Numbers,
    *,
    initial_min: float = -6.0,
    consumers: tuple[tf.Operation, ...] | None = None,
) -> Placement:
    return Placement(
        role=role,
        layer=match.layer.name,
        tensor=producer.outputs[0],
        consumers=_consumers(producer) if consumers is None else consumers,
        prefix=_join(context, role),
        learns="average",
        initial_min=initial_min,
        bits=numbers.activation_bits,
        narrow_range=False,
        symmetric=numbers.symmetric,
    )


def _join(context: str, name: str) -> str:
    return f"{context}/{name}" if context else name


def _consumers(producer: tf.Operation) -> tuple[tf.Operation, ...]:
    """The operations that read the producer's output, each once, in the order of the graph's edges."""
    return tuple(dict.fromkeys(producer.outputs[0].consumers()))


def _fuses_into_activation(addition: tf.Operation) -> bool:
    """The runtime computes an addition and the ReLU behind it in one step: the range belongs behind the ReLU."""
    return any(consumer.type in ACTIVATION_TYPES for consumer in _consumers(addition))


def _all_within(scope: str, producer: tf.Operation, consumers: tuple[tf.Operation, ...]) -> bool:
    return all(operation.name.startswith(scope) for operation in (producer, *consumers))
