"""Finds the layers of a graph: the operations with weights, and the end of the chain that is computed with each.

The integer runtime computes a convolution, its bias and its activation in one step, so the range belongs on the end of
this chain and nowhere inside. The chains are those of tf.contrib.quantize, longest first: one with an addition behind
the activation (inverted residuals), one with an activation (with or without a residual addition before it), and one
with a bias addition alone (the logits).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.graph.fake_quant import FAKE_QUANT_TYPES
from qatbuild.quantize.graph.layer_ops import BATCH_NORM_TYPES, LAYER_TYPES, bias_of, is_batch_norm, is_read
from qatbuild.quantize.graph.pattern import ANYTHING, Pattern, Roles, either, match, matches, op, role

_ADD = "Add|AddV2"
_PASSING = frozenset({"Identity", "Reshape", "BatchToSpaceND", "Squeeze"})
_MOMENT_TYPES = frozenset({"Mean", "SquaredDifference"})


@dataclass(frozen=True)
class LayerMatch:
    """One layer, by the roles of its operations.

    layer                    the convolution or matrix product
    weight                   the operation that gives its weights
    activation               the end of the chain: a ReLU, ReLU6 or Identity, or else the bias addition
    bias_add, passed         the bias addition, and an Identity directly behind it
    bypass                   a residual addition between bias and activation
    post_activation_bypass   a residual addition behind the activation
    """

    layer: tf.Operation
    weight: tf.Operation
    activation: tf.Operation
    bias_add: tf.Operation | None = None
    passed: tf.Operation | None = None
    bypass: tf.Operation | None = None
    post_activation_bypass: tf.Operation | None = None


def _weight_pattern() -> Pattern:
    """Returns the pattern of weights: a variable read by Identity (also in two parts) or ReadVariableOp, maybe scaled.

    Scaled weights (Mul) are those of a folded batch norm, in training graphs by two factors. A Mul without a variable
    is not a weight: those of dropout and squeeze-and-excite multiply activations.
    """
    variable = op("Variable|VariableV2")
    part = op("Identity", variable)
    parts = op("ConcatV2", part, part, ANYTHING)
    resource = op("ReadVariableOp")
    read = either(op("Identity", either(part, parts, variable, resource)), resource)
    once = op("Mul", read, ANYTHING, ordered=False)
    twice = op("Mul", once, ANYTHING, ordered=False)
    return role("weight", read, once, twice)


def _patterns() -> tuple[Pattern, Pattern, Pattern]:
    """Returns the patterns of the three chains, longest first."""
    layer = op("|".join(sorted(LAYER_TYPES)), ANYTHING, _weight_pattern(), role="layer", ordered=False)
    output = either(op("BatchToSpaceND", layer, ANYTHING, ANYTHING), layer)  # behind an atrous convolution
    rescaled = op("Mul", ANYTHING, output, ordered=False)  # by sigma_moving / sigma_batch, in folded training graphs
    corrected = op(_ADD, rescaled, ANYTHING, ordered=False)
    folded_bias = op(_ADD, either(corrected, output), ANYTHING, role="bias_add", ordered=False)
    bias = op(f"{_ADD}|BiasAdd", output, ANYTHING, role="bias_add", ordered=False)
    biased = either(bias, folded_bias, op("Identity", folded_bias, role="passed"))  # it waits for moving averages
    bypass = op(_ADD, biased, ANYTHING, role="bypass", ordered=False)
    activation = op("Relu|Relu6|Identity", either(biased, bypass, layer), role="activation")
    late_bypass = op(_ADD, ANYTHING, activation, role="post_activation_bypass", ordered=False)
    return late_bypass, activation, either(bias, folded_bias)


def find_layers(graph: tf.Graph) -> tuple[LayerMatch, ...]:
    """Returns the layers of the graph that can get ranges, each once, those with the longest chains first."""
    layers: dict[tf.Operation, LayerMatch] = {}
    ends: set[tf.Operation] = set()
    for pattern in _patterns():
        for root in graph.get_operations():
            # An addition of two layers ends the chain of the first one that does not end elsewhere.
            for roles in matches(pattern, root):
                new = _record(roles)
                if new.layer in layers or new.activation in ends or only_yields_statistics(new.layer):
                    continue
                if not (_ends_in_no_activation(roles) or weights_are_fake_quantized(new.layer)):
                    layers[new.layer] = new
                    ends.add(new.activation)
                    break
    return tuple(layers.values())


def layer_operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Returns the operations of a layer's type, matched or not."""
    return (operation for operation in graph.get_operations() if operation.type in LAYER_TYPES)


def has_variable_weights(layer: tf.Operation) -> bool:
    """Returns whether an operand of the layer matches the pattern of weights."""
    return any(match(_weight_pattern(), tensor.op) is not None for tensor in layer.inputs)


def weights_are_fake_quantized(layer: tf.Operation) -> bool:
    """Returns whether an operand of the layer is a FakeQuant's output for its weights, delayed or not.

    With a quant_delay it is a Merge of the raw and the fake-quantized tensor.
    """
    return any(_is_quantized_weight(tensor.op) for tensor in layer.inputs)


def unfolded_batch_norm(layer: tf.Operation) -> tf.Operation | None:
    """Returns the batch norm that reads this layer's output, if its result is read, else None."""
    return next((each for each in _behind(layer) if is_batch_norm(each) and _is_used(each)), None)


def only_yields_statistics(layer: tf.Operation) -> bool:
    """Returns whether only the mean and variance of a folded batch norm are computed from the layer's output."""
    behind = list(_behind(layer))
    behind += [each for added in behind if bias_of(added) is not None for each in _behind(added)]
    behind = [each for each in behind if each.type not in _PASSING and bias_of(each) is None]
    parts = [each.type in _MOMENT_TYPES or (is_batch_norm(each) and not _is_used(each)) for each in behind]
    return all(parts) and any(is_batch_norm(each) or each.type == "SquaredDifference" for each in behind)


def why_unmatched(layer: tf.Operation) -> str:
    """Returns why `find_layers` has no match for this layer operation, as text for users."""
    if not has_variable_weights(layer):
        kinds = " and ".join(tensor.op.type for tensor in layer.inputs)
        return f"neither operand is a variable (they come from {kinds})"
    consumers = list(layer.outputs[0].consumers())
    if not consumers:
        return "nothing consumes its output"
    behind = ", ".join(sorted({consumer.type for consumer in consumers}))
    return f"no bias and no ReLU, ReLU6 or Identity behind it, so nowhere to put its range ({behind} follows)"


def _record(roles: Roles) -> LayerMatch:
    return LayerMatch(
        layer=roles["layer"],
        weight=roles["weight"],
        activation=roles.get("activation", roles.get("bias_add")),
        bias_add=roles.get("bias_add"),
        passed=roles.get("passed"),
        bypass=roles.get("bypass"),
        post_activation_bypass=roles.get("post_activation_bypass"),
    )


def _ends_in_no_activation(roles: Roles) -> bool:
    """Returns whether the match ends in an Identity between a layer and its batch norm, or in one that only waits.

    The latter (for the updates of moving averages) exists only in training graphs, and the ranges of training and
    inference graph must be the same.
    """
    end = roles.get("activation")
    if end is None or end.type != "Identity":
        return False
    if end.control_inputs:
        return True
    return "bias_add" not in roles and any(is_batch_norm(each) for each in _behind(roles["layer"]))


def _is_quantized_weight(operation: tf.Operation) -> bool:
    if operation.type == "Merge":
        choices = [tensor.op.inputs[0].op for tensor in operation.inputs if tensor.op.type == "Switch"]
        return any(map(_is_quantized_weight, choices))
    if operation.type not in FAKE_QUANT_TYPES:
        return False
    return match(_weight_pattern(), operation.inputs[0].op) is not None


def _behind(operation: tf.Operation) -> Iterator[tf.Operation]:
    """Returns the consumers of an operation's output, and those behind consumers that only pass values on."""
    for consumer in operation.outputs[0].consumers():
        yield consumer
        if consumer.type in _PASSING:
            yield from _behind(consumer)


def _is_used(batch_norm: tf.Operation) -> bool:
    """Returns whether the result is read: the first output of a fused one, the sum behind an unfused one's product."""
    if batch_norm.type in BATCH_NORM_TYPES:
        return is_read(batch_norm.outputs[0])
    return any(is_read(each.outputs[0]) for each in batch_norm.outputs[0].consumers())
