"""The operations of one FakeQuant: its range variables, and how they follow the data in training.

Equations, with x the tensor of one step and t the number of steps so far:

    observed     m = min(min(x), 0),  M = max(max(x), 0)        0 must be representable (Jacob et al. 2018, section 2.1)
    last         min <- m
    average      biased <- biased - (biased - m) (1 - d),  min <- biased / (1 - d^t),  d = 0.999

The average is the moving average of Jacob et al. 2018, section 3.1, free of its start at 0 (Kingma and Ba 2015,
section 3): after the first step it is the first step's value. The FakeQuant reads the assignments' results, so the
ranges learn whenever the network is run in training, and only then.
"""

from __future__ import annotations

from collections.abc import Collection

import tensorflow as tf

from qatbuild.quantize.tf1.placement import Placement

v1 = tf.compat.v1

DECAY = 0.999


def fake_quantize(placement: Placement, prefix: str, *, training: bool) -> tf.Tensor:
    """The fake-quantized twin of `placement.tensor`, its operations and variables below the name scope `prefix`."""
    with v1.name_scope(f"{prefix}/"):
        low = _variable("min", placement.initial_min, model=True)
        high = _variable("max", placement.initial_max, model=True)
        if training:
            learn = _assign_average if placement.learns == "average" else _assign_last
            observed_low, observed_high = _observe(placement)
            low = learn(low, observed_low, prefix, "AssignMin")
            high = learn(high, observed_high, prefix, "AssignMax")
        return tf.quantization.fake_quant_with_min_max_vars(
            placement.tensor,
            low,
            high,
            num_bits=placement.bits,
            narrow_range=placement.narrow_range,
            name="FakeQuantWithMinMaxVars",
        )


def free_prefix(graph: tf.Graph, wanted: str, promised: Collection[str] = ()) -> str:
    """`wanted`, or `wanted_1`, `wanted_2`, ...: the first whose range variables are neither in the graph nor promised.

    It depends on the graph's range variables alone, so a training graph and its eval graph agree on the names.
    """
    taken = {operation.name for operation in graph.get_operations() if operation.name.endswith("/min")} | set(promised)
    prefix, number = wanted, 0
    while f"{prefix}/min" in taken:
        number += 1
        prefix = f"{wanted}_{number}"
    return prefix


def _observe(placement: Placement) -> tuple[tf.Tensor, tf.Tensor]:
    """The range that this step's values call for; it always contains 0."""
    low = tf.reduce_min(placement.tensor, name="BatchMin")
    high = tf.reduce_max(placement.tensor, name="BatchMax")
    if not placement.symmetric:
        return tf.minimum(low, 0.0, name="Minimum"), tf.maximum(high, 0.0, name="Maximum")
    # Two's complement has one more negative code than positive ones, unless narrow_range gives it up.
    codes = 2**placement.bits
    ratio = -1.0 if placement.narrow_range else -(codes - 2) / codes
    return tf.minimum(low, high / ratio, name="Minimum"), tf.maximum(high, low * ratio, name="Maximum")


def _assign_last(variable: tf.Variable, observed: tf.Tensor, _prefix: str, name: str) -> tf.Tensor:
    return v1.assign(variable, observed, name=f"{name}Last")


def _assign_average(variable: tf.Variable, observed: tf.Tensor, prefix: str, name: str) -> tf.Tensor:
    # TF 1 repeats the variable's whole name inside its scope; a checkpoint of its restores only under these names.
    with v1.name_scope(f"{prefix}/{variable.op.name}/"):
        biased = _variable("biased", 0.0, model=False)
        local_step = _variable("local_step", 0.0, model=False)
    with v1.name_scope(f"{name}Ema") as scope:
        rate = tf.constant(1.0 - DECAY, name="decay")
        updated = v1.assign_sub(biased, (biased.value() - observed) * rate)
        counted = v1.assign_add(local_step, 1.0)
        with tf.control_dependencies([updated, counted]):
            average = biased.read_value() / (1.0 - tf.pow(1.0 - rate, local_step.read_value()))
        # In two roundings (v - (v - average)), as TF 1 has it: the ranges are then equal to the last bit.
        return v1.assign_sub(variable, variable.value() - average, name=scope)


def _variable(name: str, value: float, *, model: bool) -> tf.Variable:
    """A float32 scalar that no optimizer trains.

    A reference variable, as TF 1's graphs have it: the assignment's output is the new value itself, and its name and
    kind do not depend on whether the process has switched TF 2's behaviour off.
    """
    keys = v1.GraphKeys
    collections = [keys.GLOBAL_VARIABLES, *([keys.MODEL_VARIABLES] if model else [])]
    return v1.Variable(
        value,
        trainable=False,
        collections=collections,
        use_resource=False,
        name=name,
        dtype=tf.float32,
    )
