"""Inserts one FakeQuant: its range variables, and the operations that learn the range in training.

Equations, with x the tensor of one step and t the number of steps so far:

    observed     m = min(min(x), 0),  M = max(max(x), 0)        0 must be representable (Jacob et al. 2018, section 2.1)
    last         min <- m
    average      biased <- biased - (biased - m) (1 - d),  min <- biased / (1 - d^t),  d = 0.999

The average is the moving average of Jacob et al. 2018, section 3.1, with its start at 0 corrected (Kingma and Ba 2015,
section 3): after the first step it is the first step's value. The FakeQuant reads the results of the assignments, so
the ranges are updated whenever the training graph is run.
"""

from __future__ import annotations

from collections.abc import Collection

import tensorflow as tf

from qatbuild.quantize.graph.fake_quant import EMA_DECAY, symmetric_ratio
from qatbuild.quantize.tf1.placement import Placement

v1 = tf.compat.v1


def fake_quantize(placement: Placement, prefix: str, *, training: bool) -> tf.Tensor:
    """Returns `placement.tensor` fake-quantized, by operations and variables in the name scope `prefix`."""
    with v1.name_scope(f"{prefix}/"):
        range_min = _variable("min", placement.initial_min, model=True)
        range_max = _variable("max", placement.initial_max, model=True)
        if training:
            learn = _assign_average if placement.learns == "average" else _assign_last
            observed_min, observed_max = _observe(placement)
            range_min = learn(range_min, observed_min, prefix, "AssignMin")
            range_max = learn(range_max, observed_max, prefix, "AssignMax")
        return tf.quantization.fake_quant_with_min_max_vars(
            placement.tensor,
            range_min,
            range_max,
            num_bits=placement.bits,
            narrow_range=placement.narrow_range,
            name="FakeQuantWithMinMaxVars",
        )


def free_prefix(graph: tf.Graph, wanted: str, promised: Collection[str] = ()) -> str:
    """Returns the first of `wanted`, `wanted_1`, `wanted_2`, ... without range variables in the graph or in `promised`.

    It depends only on the graph's range variables, so a training graph and its eval graph get the same names.
    """
    taken = {operation.name for operation in graph.get_operations() if operation.name.endswith("/min")} | set(promised)
    prefix, number = wanted, 0
    while f"{prefix}/min" in taken:
        number += 1
        prefix = f"{wanted}_{number}"
    return prefix


def _observe(placement: Placement) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the minimum and maximum of this step's values, widened to contain 0 and, if asked for, made symmetric."""
    least = tf.reduce_min(placement.tensor, name="BatchMin")
    greatest = tf.reduce_max(placement.tensor, name="BatchMax")
    if not placement.symmetric:
        return tf.minimum(least, 0.0, name="Minimum"), tf.maximum(greatest, 0.0, name="Maximum")
    ratio = symmetric_ratio(placement.bits, narrow_range=placement.narrow_range)
    return (
        tf.minimum(least, greatest / ratio, name="Minimum"),
        tf.maximum(greatest, least * ratio, name="Maximum"),
    )


def _assign_last(variable: tf.Variable, observed: tf.Tensor, _prefix: str, name: str) -> tf.Tensor:
    return v1.assign(variable, observed, name=f"{name}Last")


def _assign_average(variable: tf.Variable, observed: tf.Tensor, prefix: str, name: str) -> tf.Tensor:
    # TF 1 repeats the variable's whole name inside its scope; its checkpoints restore only under these names.
    with v1.name_scope(f"{prefix}/{variable.op.name}/"):
        biased = _variable("biased", 0.0, model=False)
        local_step = _variable("local_step", 0.0, model=False)
    with v1.name_scope(f"{name}Ema") as scope:
        rate = tf.constant(1.0 - EMA_DECAY, name="decay")
        updated = v1.assign_sub(biased, (biased.value() - observed) * rate)
        counted = v1.assign_add(local_step, 1.0)
        with tf.control_dependencies([updated, counted]):
            average = biased.read_value() / (1.0 - tf.pow(1.0 - rate, local_step.read_value()))
        # Rounded twice, v - (v - average), as in TF 1: the ranges are then equal to the last bit.
        return v1.assign_sub(variable, variable.value() - average, name=scope)


def _variable(name: str, value: float, *, model: bool) -> tf.Variable:
    """Makes a float32 scalar variable that optimizers do not train.

    It is a reference variable, as in TF 1's graphs: the output of an assignment is the new value, and name and kind do
    not depend on whether the process has switched TF 2's behaviour off.
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
