"""Finding the layers: what computes with weights, and where its result is complete.

The integer runtime computes a convolution, its bias and its activation in one step, so the place that needs a range
is the end of that chain, and nothing inside it. The shapes recognised are those of tf.contrib.quantize, largest first:
an addition behind the activation (inverted residuals), an activation (with or without a residual addition before
it), and a bias addition alone (the logits).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.graph.pattern import ANYTHING, Pattern, Roles, either, match, matches, op, role

LAYER_TYPES = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul"})
ACTIVATION_TYPES = frozenset({"Relu", "Relu6"})
FAKE_QUANT_TYPES = frozenset(
    {"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel"}
)
BATCH_NORM_TYPES = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_ADD = "Add|AddV2"
_PASSING = frozenset({"Identity", "Reshape", "BatchToSpaceND", "Squeeze"})
_MOMENT_TYPES = frozenset({"Mean", "SquaredDifference"})


@dataclass(frozen=True)
class LayerMatch:
    """One layer, by the roles of its operations.

    `layer` computes with `weight`'s value. `activation` is where the chain is complete: a ReLU, ReLU6 or Identity, or
    the bias addition itself for a layer without one. `passed` is an Identity behind the bias addition. `bypass` is a
    residual addition between bias and activation, `post_activation_bypass` one behind the activation.
    """

    layer: tf.Operation
    weight: tf.Operation
    activation: tf.Operation
    bias_add: tf.Operation | None = None
    passed: tf.Operation | None = None
    bypass: tf.Operation | None = None
    post_activation_bypass: tf.Operation | None = None


def _weight_pattern() -> Pattern:
    """A variable as its consumers see it: read by Identity (also in two parts) or ReadVariableOp, or read and scaled.

    Scaled weights (Mul) are those of a folded batch norm, in training graphs by two factors. A Mul without a variable
    in it is no weight: dropout's and squeeze-and-excite's multiply activations.
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
    """The three shapes of a layer, in the order in which they are to be looked for."""
    layer = op("|".join(sorted(LAYER_TYPES)), ANYTHING, _weight_pattern(), role="layer", ordered=False)
    output = either(op("BatchToSpaceND", layer, ANYTHING, ANYTHING), layer)  # behind an atrous convolution
    rescaled = op("Mul", ANYTHING, output, ordered=False)  # by sigma_moving / sigma_batch, in folded training graphs
    corrected = op(_ADD, rescaled, ANYTHING, ordered=False)
    folded_bias = op(_ADD, either(corrected, output), ANYTHING, role="bias_add", ordered=False)
    bias = op(f"{_ADD}|BiasAdd", output, ANYTHING, role="bias_add", ordered=False)
    biased = either(bias, folded_bias, op("Identity", folded_bias, role="passed"))  # which waits for moving averages
    bypass = op(_ADD, biased, ANYTHING, role="bypass", ordered=False)
    activation = op("Relu|Relu6|Identity", either(biased, bypass, layer), role="activation")
    late_bypass = op(_ADD, ANYTHING, activation, role="post_activation_bypass", ordered=False)
    return late_bypass, activation, either(bias, folded_bias)


def find_layers(graph: tf.Graph) -> tuple[LayerMatch, ...]:
    """Every layer of the graph that can be given ranges, each once, the largest shape first."""
    found: dict[tf.Operation, LayerMatch] = {}
    ends: set[tf.Operation] = set()
    for pattern in _patterns():
        for root in graph.get_operations():
            # Of two layers that are added, the first that is not complete elsewhere is completed by the addition.
            for roles in matches(pattern, root):
                new = _record(roles)
                if new.layer in found or new.activation in ends or only_yields_statistics(new.layer):
                    continue
                if not (_ends_in_no_activation(roles) or weights_are_fake_quantized(new.layer)):
                    found[new.layer] = new
                    ends.add(new.activation)
                    break
    return tuple(found.values())


def layer_operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Every operation of a type that computes with weights, matched or not."""
    return (operation for operation in graph.get_operations() if operation.type in LAYER_TYPES)


def has_variable_weights(layer: tf.Operation) -> bool:
    """Whether an operand of the layer is a variable, as `find_layers` wants it."""
    return any(match(_weight_pattern(), tensor.op) is not None for tensor in layer.inputs)


def weights_are_fake_quantized(layer: tf.Operation) -> bool:
    """Whether an operand of the layer comes out of a FakeQuant made for its weights, gated or not.

    The gate of a delayed FakeQuant is a Merge of the value and its fake-quantized twin.
    """
    return any(_is_quantized_weight(tensor.op) for tensor in layer.inputs)


def unfolded_batch_norm(layer: tf.Operation) -> tf.Operation | None:
    """The batch norm that takes this layer's output and whose result is used, or None."""
    return next((each for each in _behind(layer) if _is_batch_norm(each) and _is_used(each)), None)


def only_yields_statistics(layer: tf.Operation) -> bool:
    """Whether nothing but the mean and variance of a folded batch norm, if anything, is computed from its output."""
    behind = list(_behind(layer))
    behind += [each for added in behind if bias_of(added) is not None for each in _behind(added)]
    behind = [each for each in behind if each.type not in _PASSING and bias_of(each) is None]
    parts = [each.type in _MOMENT_TYPES or (_is_batch_norm(each) and not _is_used(each)) for each in behind]
    return all(parts) and any(_is_batch_norm(each) or each.type == "SquaredDifference" for each in behind)


def bias_of(operation: tf.Operation) -> tf.Tensor | None:
    """The vector, one number a channel, that the operation adds to its first input or, as an addition, to either."""
    if operation.type == "BiasAdd":
        return operation.inputs[1]
    if operation.type in {"Add", "AddV2"} and operation.outputs[0].shape.rank:
        channels = operation.outputs[0].shape[-1:]
        vectors = [
            tensor for tensor in operation.inputs if tensor.shape.is_fully_defined() and tensor.shape == channels
        ]
        return vectors[0] if len(vectors) == 1 else None
    return None


def why_unmatched(layer: tf.Operation) -> str:
    """The reason why `find_layers` has no match for this layer operation, for people."""
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
    """Whether the match ends in an Identity that stands between a layer and its batch norm, or that only waits.

    The latter (for moving averages' updates) is in the training graph alone: both graphs want the same ranges.
    """
    end = roles.get("activation")
    if end is None or end.type != "Identity":
        return False
    if end.control_inputs:
        return True
    return "bias_add" not in roles and any(_is_batch_norm(each) for each in _behind(roles["layer"]))


def _is_quantized_weight(operation: tf.Operation) -> bool:
    if operation.type == "Merge":
        twins = [tensor.op.inputs[0].op for tensor in operation.inputs if tensor.op.type == "Switch"]
        return any(_is_quantized_weight(twin) for twin in twins)
    if operation.type not in FAKE_QUANT_TYPES:
        return False
    return match(_weight_pattern(), operation.inputs[0].op) is not None


def _behind(operation: tf.Operation) -> Iterator[tf.Operation]:
    """The consumers of an operation's output, and those behind a consumer that only passes the values on."""
    for consumer in operation.outputs[0].consumers():
        yield consumer
        if consumer.type in _PASSING:
            yield from _behind(consumer)


def _is_batch_norm(operation: tf.Operation) -> bool:
    return operation.type in BATCH_NORM_TYPES or is_batch_norm_product(operation)


def _is_used(batch_norm: tf.Operation) -> bool:
    """Whether anything reads the result: the first output of a fused one, the sum behind an unfused one's product."""
    if batch_norm.type in BATCH_NORM_TYPES:
        return is_read(batch_norm.outputs[0])
    return any(is_read(each.outputs[0]) for each in batch_norm.outputs[0].consumers())


def is_read(tensor: tf.Tensor) -> bool:
    """Whether a tensor has consumers, other than the reshaping that a folded dense layer has left behind."""
    return any(not _leads_nowhere(consumer) for consumer in tensor.consumers())


def _leads_nowhere(operation: tf.Operation) -> bool:
    consumers = operation.outputs[0].consumers() if operation.type in {"Identity", "Reshape"} else []
    if operation.type == "Identity" and not consumers:
        return False  # someone gave the network's output a name
    return operation.type in {"Identity", "Reshape"} and all(map(_leads_nowhere, consumers))


def is_batch_norm_product(operation: tf.Operation) -> bool:
    """Whether this is the multiplication of an unfused batch norm: x times gamma / sqrt(variance + epsilon)."""
    return operation.type == "Mul" and any(is_normalizing_factor(tensor.op) for tensor in operation.inputs)


def is_normalizing_factor(operation: tf.Operation) -> bool:
    """Whether the value is gamma / sqrt(variance + epsilon), the factor of an unfused batch norm."""
    if operation.type == "Mul":
        return any(tensor.op.type == "Rsqrt" for tensor in operation.inputs)
    return bool(operation.type == "Rsqrt")
