"""The four functions of tf.contrib.quantize, with the parameters and defaults of TF 1.15.

The graph is changed in place. Python handles of tensors (the logits, for instance) still refer to the tensor before its
FakeQuant, while its consumers in the graph (loss, softmax) read the FakeQuant. So call these functions after the model
and the loss exist, and before the optimizer.
"""

from __future__ import annotations

from numbers import Integral

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.rewrite_report import RewriteReport
from qatbuild.quantize.tf1.placement import Precision
from qatbuild.quantize.tf1.rewrite import Rewrite

FEWEST_BITS, MOST_BITS = 2, 8


def create_training_graph(input_graph: tf.Graph | None = None, quant_delay: int = 0) -> RewriteReport:
    """Puts FakeQuants with learning ranges into a training graph, in place.

    `input_graph` None is the default graph. `quant_delay` is a number of steps (runs of the graph): before the
    `quant_delay`-th the ranges learn but the network computes in float. 8 bits, asymmetric, per tensor.
    RewriteError if the graph cannot be rewritten, or if nothing in it can be quantized.
    """
    return experimental_create_training_graph(input_graph, quant_delay=quant_delay)


def create_eval_graph(input_graph: tf.Graph | None = None) -> RewriteReport:
    """Puts FakeQuants with fixed ranges into an inference graph, in place.

    The ranges are variables of the same names as in the training graph: restore its checkpoint.
    RewriteError if the graph cannot be rewritten, or if nothing in it can be quantized.
    """
    return experimental_create_eval_graph(input_graph)


def experimental_create_training_graph(  # noqa: PLR0917 - the signature of TF 1.15
    input_graph: tf.Graph | None = None,
    weight_bits: int = 8,
    activation_bits: int = 8,
    symmetric: bool = False,  # noqa: FBT001, FBT002 - positional in TF 1.15
    quant_delay: int = 0,
    freeze_bn_delay: int | None = None,
    scope: str | None = None,
) -> RewriteReport:
    """Puts FakeQuants into a training graph like `create_training_graph`, with more parameters.

    `weight_bits` and `activation_bits`: 2..8. `symmetric`: ranges are symmetric about 0. `scope`: only layers in this
    name scope; batch norms are folded everywhere. From step `freeze_bn_delay` on, folded batch norms use their moving
    averages of mean and variance, which do not change any more; None: never.
    """
    precision = _precision(weight_bits, activation_bits, symmetric=symmetric)
    freeze = None if freeze_bn_delay is None else _delay("freeze_bn_delay", freeze_bn_delay)
    rewrite = Rewrite(True, precision, _delay("quant_delay", quant_delay), _scope(scope), freeze)  # noqa: FBT003
    return _apply(input_graph, rewrite)


def experimental_create_eval_graph(  # noqa: PLR0917 - the signature of TF 1.15
    input_graph: tf.Graph | None = None,
    weight_bits: int = 8,
    activation_bits: int = 8,
    symmetric: bool = False,  # noqa: FBT001, FBT002 - positional in TF 1.15
    quant_delay: int | None = None,
    scope: str | None = None,
) -> RewriteReport:
    """Puts FakeQuants into an inference graph like `create_eval_graph`, with more parameters.

    See `experimental_create_training_graph`. `symmetric` has no effect, because ranges are not learnt. With a
    `quant_delay` the eval graph counts its own runs and computes in float before that many, as in TF 1.15.
    """
    precision = _precision(weight_bits, activation_bits, symmetric=symmetric)
    return _apply(input_graph, Rewrite(False, precision, _delay("quant_delay", quant_delay), _scope(scope)))  # noqa: FBT003


def _apply(input_graph: tf.Graph | None, rewrite: Rewrite) -> RewriteReport:
    graph = tf.compat.v1.get_default_graph() if input_graph is None else input_graph
    if not isinstance(graph, tf.Graph):
        hint = "Import a GraphDef first: tf.import_graph_def(graph_def, name='') in a new tf.Graph."
        raise RewriteError("input_graph must be a tf.Graph.", [("input_graph", type(graph).__name__)], hint)
    return rewrite.apply(graph)


def _precision(weight_bits: int, activation_bits: int, *, symmetric: bool) -> Precision:
    faults: list[tuple[str, object]] = [
        (name, bits)
        for name, bits in (("weight_bits", weight_bits), ("activation_bits", activation_bits))
        if not _is_count(bits) or not FEWEST_BITS <= bits <= MOST_BITS
    ]
    if faults:
        raise RewriteError(
            f"weight_bits and activation_bits must be integers from {FEWEST_BITS} to {MOST_BITS}.", faults
        )
    return Precision(weight_bits, activation_bits, symmetric)


def _delay(name: str, steps: int | None) -> int:
    if steps is not None and (not _is_count(steps) or steps < 0):
        raise RewriteError(f"{name} must be a number of steps, 0 or more.", [(name, steps)])
    return steps or 0


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _scope(scope: str | None) -> str:
    return f"{scope.removesuffix('/')}/" if scope else ""
