"""Finds the batch norms of a graph: the layer that each one follows, its parameters, whether it can be folded.

Two forms are recognised by structure: the fused operation, and what tf.nn.batch_normalization builds,

    x factor + (beta - mean factor),   factor = gamma / sqrt(variance + epsilon)

Between layer and batch norm there may be a BatchToSpaceND (atrous convolution), a Reshape (the fused form of a dense
layer works on four dimensions) and an Identity. tf.contrib.quantize accepted no more; mode integer also takes the
addition of the layer's bias (Keras adds one by default), any operation that only moves values and leaves the channels
where they are (the Squeeze of a convolution over one dimension), and transposed convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.batch_norm.moving_average import MovingAverage, moving_average_of
from qatbuild.quantize.graph.layer_ops import (
    BATCH_NORM_TYPES,
    LAYER_TYPES,
    TRANSPOSED_TYPES,
    bias_of,
    is_read,
    keeps_channels,
    vector_of,
)
from qatbuild.quantize.graph.pattern import ANYTHING, Pattern, Roles, either, match, op
from qatbuild.quantize.graph.walk import producers, reachable

_ADD = "Add|AddV2"
_BETWEEN = frozenset({"BatchToSpaceND", "Identity", "Reshape"})
_CHANNELS_LAST = {b"NHWC", b"NDHWC"}


@dataclass(frozen=True)
class BatchNorm:
    """A batch norm behind a layer: output = gamma (x - mean) / sqrt(variance + epsilon) + beta.

    operation        the fused operation, or the last addition of an unfused one
    layer, between   the layer, and the operations from the layer to x, in this order
    output           the operation's output
    result           the tensor that the rest of the network reads: `output`, reshaped back behind a dense layer
    gamma, beta      float32 [channels]; None stands for 1 and 0
    mean, variance   float32 [channels]: variables, or in training the batch's statistics
    bias             the layer's own bias, float32 [channels], added before the batch norm; None without one
    moving_mean, moving_variance   the moving averages of the batch's statistics, in training only
    """

    operation: tf.Operation
    layer: tf.Operation
    between: tuple[tf.Operation, ...]
    output: tf.Tensor
    result: tf.Tensor
    gamma: tf.Tensor | None
    beta: tf.Tensor | None
    mean: tf.Tensor
    variance: tf.Tensor
    epsilon: float
    bias: tf.Tensor | None = None
    moving_mean: MovingAverage | None = None
    moving_variance: MovingAverage | None = None

    @property
    def x(self) -> tf.Tensor:
        """The input tensor."""
        before: tf.Tensor = (self.between[-1] if self.between else self.layer).outputs[0]
        return before

    @property
    def training(self) -> bool:
        """Whether it normalizes with the batch's statistics."""
        return self.moving_variance is not None

    @property
    def fused(self) -> bool:
        """Whether it is one operation, with an unbiased variance (denominator n - 1) as output."""
        return self.operation.type in BATCH_NORM_TYPES


@dataclass(frozen=True)
class Unfoldable:
    """A batch norm that cannot be folded, and why. `layer` is the layer directly in front of it, or None.

    `x` is the input tensor. `standalone`: the only reason is that no layer precedes it.
    """

    operation: tf.Operation
    layer: tf.Operation | None
    why: str
    x: tf.Tensor | None = None
    standalone: bool = False


@dataclass(frozen=True)
class _Form:
    """Operation, input and parameters of a batch norm of either form, without its surroundings."""

    operation: tf.Operation
    x: tf.Tensor
    gamma: tf.Tensor | None
    beta: tf.Tensor | None
    mean: tf.Tensor
    variance: tf.Tensor
    epsilon: float


def find_batch_norms(graph: tf.Graph, *, training: bool, as_tf1: bool = True) -> tuple[BatchNorm | Unfoldable, ...]:
    """Returns the batch norms of the graph whose result is read, in the graph's order.

    `training`: the graph may normalize with each batch's statistics. `as_tf1`: only what tf.contrib.quantize accepted
    may stand between a layer and its batch norm.
    """
    forms = (_fused(operation) or _unfused(operation) for operation in graph.get_operations())
    return tuple(_place(form, training=training, as_tf1=as_tf1) for form in forms if form is not None)


def _fused(operation: tf.Operation) -> _Form | None:
    if operation.type not in BATCH_NORM_TYPES or not is_read(operation.outputs[0]):
        return None
    x, gamma, beta, mean, variance = operation.inputs
    if operation.get_attr("is_training"):
        _, mean, variance, *_ = operation.outputs
    return _Form(operation, x, gamma, beta, mean, variance, operation.get_attr("epsilon"))


def _unfused_pattern() -> Pattern:
    shifted = op("Add|AddV2", ANYTHING, op("Const", role="epsilon"), role="shifted_variance", ordered=False)
    root = op("Rsqrt", shifted, role="rsqrt")
    factor = either(op("Mul", root, ANYTHING, role="factor", ordered=False), op("Rsqrt", shifted, role="rsqrt"))
    scaled = op("Mul", ANYTHING, factor, role="scaled", ordered=False)
    mean = op("Mul", role="scaled_mean")
    negated = op("Mul", op("Neg", role="negated_mean"), factor, ordered=False)  # -mean factor, without beta
    return op(_ADD, scaled, either(op("Sub", ANYTHING, mean, role="offset"), op("Neg", mean), negated), ordered=False)


_UNFUSED = _unfused_pattern()


def _unfused(operation: tf.Operation) -> _Form | None:
    roles = match(_UNFUSED, operation)
    if roles is None or not is_read(operation.outputs[0]):
        return None
    factor = roles.get("factor", roles["rsqrt"]).outputs[0]
    negated = roles.get("negated_mean")
    mean = _other(roles["scaled_mean"], factor) if negated is None else negated.inputs[0]
    epsilon = tf.get_static_value(roles["epsilon"].outputs[0])
    if mean is None or epsilon is None or epsilon.size != 1:
        return None
    return _Form(
        operation,
        x=_operand(roles, "scaled", factor),
        gamma=vector_of(_operand(roles, "factor", roles["rsqrt"].outputs[0])) if "factor" in roles else None,
        beta=vector_of(roles["offset"].inputs[0]) if "offset" in roles else None,
        mean=vector_of(mean),
        variance=vector_of(_operand(roles, "shifted_variance", roles["epsilon"].outputs[0])),
        epsilon=float(epsilon),
    )


def _operand(roles: Roles, role: str, other: tf.Tensor) -> tf.Tensor:
    """Returns the operand of the operation `role` beside `other`, which the pattern has matched there."""
    return _other(roles[role], other)


def _other(operation: tf.Operation, operand: tf.Tensor) -> tf.Tensor | None:
    """Returns the second operand of a binary operation; None if `operand` is not one of the two."""
    first, second = operation.inputs
    if first is operand:
        return second
    return first if second is operand else None


def _place(form: _Form, *, training: bool, as_tf1: bool) -> BatchNorm | Unfoldable:
    """Returns the batch norm with its layer, or the first reason why it cannot be folded."""
    *between, layer = _upstream(form.x, as_tf1=as_tf1)
    between.reverse()
    output = form.operation.outputs[0]
    result = _result(output, layer, between)
    if not as_tf1 and (result is None or layer.type != "MatMul"):
        result = output
    of_batch = form.x.op in reachable([form.mean.op], producers)
    mean = moving_average_of(form.mean) if of_batch else None
    variance = moving_average_of(form.variance) if of_batch else None
    standalone = layer.type not in (LAYER_TYPES if as_tf1 else LAYER_TYPES | TRANSPOSED_TYPES)
    reason = _why_not(form, layer, between if not standalone else [], as_tf1=as_tf1)
    if result is None and not standalone:
        reason = "its result is not reshaped back to the shape of its layer's output"
    elif of_batch and not training:
        reason = "it normalizes with each batch's own statistics, in an inference graph (is_training is True)"
    elif of_batch and (mean is None or variance is None):
        reason = "nothing in the graph keeps moving averages of its mean and variance (without zero_debias)"
    if standalone:
        why = f"no convolution or dense layer stands directly in front of it ({layer.type} does)"
        if layer.type == "Switch":
            why += ": build it with is_training True or False instead of a tensor"
        return Unfoldable(form.operation, None, "; ".join(filter(None, [why, reason])), form.x, standalone=not reason)
    if reason:
        return Unfoldable(form.operation, layer, reason, form.x)
    return BatchNorm(
        operation=form.operation,
        layer=layer,
        between=tuple(between),
        output=output,
        result=result,
        gamma=form.gamma,
        beta=form.beta,
        mean=form.mean,
        variance=form.variance,
        epsilon=form.epsilon,
        bias=next((bias for each in between if (bias := bias_of(each)) is not None), None),
        moving_mean=mean,
        moving_variance=variance,
    )


def _upstream(x: tf.Tensor, *, as_tf1: bool) -> Iterator[tf.Operation]:
    """Returns the operations in front of x, nearest first, up to the first that computes anything but a bias."""
    operation, biased = x.op, not as_tf1
    yield operation
    while True:
        bias = bias_of(operation) if biased else None
        if bias is not None:
            biased = False  # one at most
            operation = next(tensor for tensor in operation.inputs if vector_of(tensor) is not bias).op
        elif (operation.type in _BETWEEN) if as_tf1 else keeps_channels(operation):
            operation = operation.inputs[0].op
        else:
            return
        yield operation


def _result(output: tf.Tensor, layer: tf.Operation, between: list[tf.Operation]) -> tf.Tensor | None:
    """Returns the tensor with the layer's own shape: `output`, or its reshaped form if x was reshaped."""
    if not any(each.type == "Reshape" for each in between):
        return output
    consumers = output.consumers()
    if len(consumers) == 1 and consumers[0].type == "Identity":  # it waits for the moving averages' updates
        consumers = consumers[0].outputs[0].consumers()
    if len(consumers) != 1 or consumers[0].type != "Reshape":
        return None
    reshaped = consumers[0].outputs[0]
    return reshaped if reshaped.shape.rank == layer.outputs[0].shape.rank else None


def _why_not(form: _Form, layer: tf.Operation, between: list[tf.Operation], *, as_tf1: bool) -> str:
    types = {each.type for each in between}
    wrong = types & ({"BatchToSpaceND"} if layer.type == "MatMul" else {"Reshape"})
    if wrong and as_tf1:
        return f"a {wrong.pop()} stands between it and the layer"
    formats = {each.node_def.attr["data_format"].s for each in (layer, *between, form.operation)} - {b""}
    if formats - _CHANNELS_LAST:
        return "it has its channels first (NCHW)"
    vectors = [each for each in (form.gamma, form.beta, form.mean, form.variance) if each is not None]
    if not as_tf1 and any(each.shape.rank and each.shape[-1:] != form.x.shape[-1:] for each in vectors):
        return "it does not normalize the last axis, the channels"
    if form.mean.op is form.operation and form.operation.get_attr("exponential_avg_factor") != 1:
        return "the operation itself averages its statistics over the steps (exponential_avg_factor)"
    return ""
