"""Finding the batch norms: which layer each one follows, its parameters, and whether it can be folded into the layer.

Two forms, both recognised by structure: the fused operation, and what tf.nn.batch_normalization builds,

    x factor + (beta - mean factor),   factor = gamma / sqrt(variance + epsilon)

In front of either stands the layer, with at most a BatchToSpaceND (atrous convolution), a Reshape (a dense layer's
fused form works on four dimensions) or an Identity between them and, where biases are allowed, the addition of the
layer's bias (Keras adds one unless it is told not to). tf.contrib.quantize knew none there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.batch_norm.moving_average import MovingAverage, moving_average_of
from qatbuild.quantize.graph.pattern import ANYTHING, Pattern, Roles, either, match, op
from qatbuild.quantize.tf1.layers import BATCH_NORM_TYPES, LAYER_TYPES, bias_of, is_read

_ADD = "Add|AddV2"
_BETWEEN = frozenset({"BatchToSpaceND", "Identity", "Reshape"})
_CHANNELS_LAST = {b"NHWC", b"NDHWC"}


@dataclass(frozen=True)
class BatchNorm:
    """A batch norm behind a layer: output = gamma (x - mean) / sqrt(variance + epsilon) + beta.

    `operation` is the fused operation or the last addition of an unfused one; `between` what stands between the layer
    and x, the layer's side first; `result` the tensor that the network goes on with (in front of it, in a dense
    layer's fused form, `output` is reshaped back). gamma, beta, mean and variance have the shape [channels]; gamma or
    beta None is 1 or 0. `bias` is what is added to the layer's result to get x, [channels], None if nothing is. In
    training mean and variance are the batch's own and the moving averages follow them, else `moving_mean` and
    `moving_variance` are None.
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
        """What it normalizes."""
        before: tf.Tensor = (self.between[-1] if self.between else self.layer).outputs[0]
        return before

    @property
    def training(self) -> bool:
        """Whether it normalizes with the statistics of the batch."""
        return self.moving_variance is not None

    @property
    def fused(self) -> bool:
        """Whether it is one operation, whose variance is the unbiased one (n - 1 in the denominator)."""
        return self.operation.type in BATCH_NORM_TYPES


@dataclass(frozen=True)
class Unfoldable:
    """A batch norm that cannot be folded, and why. `layer` is the layer straight in front of it, if there is one.

    `x` is what it normalizes. `alone` says that nothing else is wrong with it than that no layer stands in front.
    """

    operation: tf.Operation
    layer: tf.Operation | None
    why: str
    x: tf.Tensor | None = None
    alone: bool = False


@dataclass(frozen=True)
class _Form:
    """What the fused and the unfused form have in common, before looking at what stands around it."""

    operation: tf.Operation
    x: tf.Tensor
    gamma: tf.Tensor | None
    beta: tf.Tensor | None
    mean: tf.Tensor
    variance: tf.Tensor
    epsilon: float


def find_batch_norms(graph: tf.Graph, *, training: bool, biased: bool = False) -> tuple[BatchNorm | Unfoldable, ...]:
    """Every batch norm of the graph whose result is used, in the graph's order.

    `training` says whether the graph may normalize with the statistics of its batches, `biased` whether the bias of a
    layer may stand between it and its batch norm.
    """
    forms = (_fused(operation) or _unfused(operation) for operation in graph.get_operations())
    return tuple(_place(form, training=training, biased=biased) for form in forms if form is not None)


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
    return op(_ADD, scaled, either(op("Sub", ANYTHING, mean, role="offset"), op("Neg", mean)), ordered=False)


_UNFUSED = _unfused_pattern()


def _unfused(operation: tf.Operation) -> _Form | None:
    roles = match(_UNFUSED, operation)
    if roles is None or not is_read(operation.outputs[0]):
        return None
    factor = roles.get("factor", roles["rsqrt"]).outputs[0]
    mean = _other(roles["scaled_mean"], factor)
    epsilon = tf.get_static_value(roles["epsilon"].outputs[0])
    if mean is None or epsilon is None or epsilon.size != 1:
        return None
    return _Form(
        operation,
        x=_operand(roles, "scaled", factor),
        gamma=_vector(_operand(roles, "factor", roles["rsqrt"].outputs[0])) if "factor" in roles else None,
        beta=_vector(roles["offset"].inputs[0]) if "offset" in roles else None,
        mean=_vector(mean),
        variance=_vector(_operand(roles, "shifted_variance", roles["epsilon"].outputs[0])),
        epsilon=float(epsilon),
    )


def _vector(tensor: tf.Tensor) -> tf.Tensor:
    """The vector that was reshaped to [1, .., channels]: Keras does so if the axis is written as a positive number."""
    whole = tensor.op.inputs[0] if tensor.op.type == "Reshape" else tensor
    return whole if whole.shape.rank == 1 and whole.shape[-1:] == tensor.shape[-1:] else tensor


def _operand(roles: Roles, role: str, known: tf.Tensor) -> tf.Tensor:
    """The operand of `role` beside the known one, which the pattern has found there."""
    return _other(roles[role], known)


def _other(operation: tf.Operation, known: tf.Tensor) -> tf.Tensor | None:
    first, second = operation.inputs
    if first is known:
        return second
    return first if second is known else None


def _place(form: _Form, *, training: bool, biased: bool) -> BatchNorm | Unfoldable:
    """The batch norm in its surroundings, or the first reason why it cannot be folded there."""
    *between, layer = _upstream(form.x, biased=biased)
    between.reverse()
    output = form.operation.outputs[0]
    result = _result(output, layer, between)
    of_batch = _is_computed_from(form.x, form.mean)
    mean = moving_average_of(form.mean) if of_batch else None
    variance = moving_average_of(form.variance) if of_batch else None
    alone = layer.type not in LAYER_TYPES
    reason = _why_not(form, layer, between if not alone else [])
    if result is None and not alone:
        reason = "its result is not reshaped back to what the layer in front of it gives"
    elif of_batch and not training:
        reason = "it normalizes with each batch's own statistics, in an inference graph (is_training is True)"
    elif of_batch and (mean is None or variance is None):
        reason = "nothing in the graph keeps moving averages of its mean and variance (without zero_debias)"
    if alone:
        why = f"no convolution or dense layer stands straight in front of it ({layer.type} does)"
        if layer.type == "Switch":
            why += ": build it with is_training True or False instead of a tensor"
        return Unfoldable(form.operation, None, "; ".join(filter(None, [why, reason])), form.x, alone=not reason)
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


def _upstream(x: tf.Tensor, *, biased: bool) -> Iterator[tf.Operation]:
    """What stands in front of x, nearest first, up to the first operation that computes something else than a bias."""
    operation = x.op
    yield operation
    while True:
        bias = bias_of(operation) if biased else None
        if bias is not None:
            biased = False  # one at most
            operation = next(tensor for tensor in operation.inputs if tensor is not bias).op
        elif operation.type in _BETWEEN:
            operation = operation.inputs[0].op
        else:
            return
        yield operation


def _result(output: tf.Tensor, layer: tf.Operation, between: list[tf.Operation]) -> tf.Tensor | None:
    """The tensor that has the layer's own shape: `output`, or its reshaped form if x was reshaped."""
    if not any(each.type == "Reshape" for each in between):
        return output
    consumers = output.consumers()
    if len(consumers) == 1 and consumers[0].type == "Identity":  # which waits for the moving averages' updates
        consumers = consumers[0].outputs[0].consumers()
    if len(consumers) != 1 or consumers[0].type != "Reshape":
        return None
    reshaped = consumers[0].outputs[0]
    return reshaped if reshaped.shape.rank == layer.outputs[0].shape.rank else None


def _why_not(form: _Form, layer: tf.Operation, between: list[tf.Operation]) -> str:
    types = {each.type for each in between}
    wrong = types & ({"BatchToSpaceND"} if layer.type == "MatMul" else {"Reshape"})
    if wrong:
        return f"a {wrong.pop()} stands between it and the layer"
    formats = {each.node_def.attr["data_format"].s for each in (layer, *between, form.operation)} - {b""}
    if formats - _CHANNELS_LAST:
        return "it has its channels first (NCHW)"
    if form.mean.op is form.operation and form.operation.get_attr("exponential_avg_factor") != 1:
        return "the operation itself averages its statistics over the steps (exponential_avg_factor)"
    return ""


def _is_computed_from(x: tf.Tensor, mean: tf.Tensor) -> bool:
    """Whether `mean` depends on x: then it is the batch's, else it is a variable's."""
    seen: set[tf.Operation] = set()
    waiting = [mean.op]
    while waiting:
        operation = waiting.pop()
        if operation is x.op:
            return True
        if operation not in seen:
            seen.add(operation)
            waiting.extend(tensor.op for tensor in operation.inputs)
    return False
