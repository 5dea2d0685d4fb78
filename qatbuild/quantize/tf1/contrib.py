"""tf.contrib.quantize's four functions, with the parameters and defaults of TF 1.15.

The graph is changed in place. Handles taken before (the logits, say) still point at the tensor before its FakeQuant;
what consumed them in the graph (the loss, the softmax) is rewired. So call them once model and loss exist, and before
the optimizer. What is inserted where is specified tensor by tensor in `placement`, the ranges in `ranges`.
"""

from __future__ import annotations

from numbers import Integral

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.rewrite_report import RewriteReport
from qatbuild.quantize.tf1.placement import Numbers
from qatbuild.quantize.tf1.rewrite import Rewrite

FEWEST_BITS, MOST_BITS = 2, 8


def create_training_graph(input_graph: tf.Graph | None = None, quant_delay: int = 0) -> RewriteReport:
    """Put FakeQuants with learning ranges into a training graph, in place.

    `input_graph` None is the default graph. `quant_delay` is a number of steps (runs of the graph): before the
    `quant_delay`-th the ranges learn but the network computes in float. 8 bits, asymmetric, per tensor.
    RewriteError if the graph cannot be rewritten, or if nothing in it can be quantized.
    """
    return experimental_create_training_graph(input_graph, quant_delay=quant_delay)


def create_eval_graph(input_graph: tf.Graph | None = None) -> RewriteReport:
    """Put FakeQuants with fixed ranges into an inference graph, in place.

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
    """`create_training_graph` with more to choose.

    `weight_bits` and `activation_bits`: 2..8. `symmetric`: ranges are made symmetric about 0. `scope`: only layers
    below this name scope; batch norms are folded everywhere. `freeze_bn_delay` is a number of steps: from that one on
    folded batch norms take their moving averages, which stay as they are, for mean and variance; None: never.
    """
    numbers = _numbers(weight_bits, activation_bits, symmetric=symmetric)
    freeze = None if freeze_bn_delay is None else _delay("freeze_bn_delay", freeze_bn_delay)
    rewrite = Rewrite(True, numbers, _delay("quant_delay", quant_delay), _scope(scope), freeze)  # noqa: FBT003
    return _apply(input_graph, rewrite)


def experimental_create_eval_graph(  # noqa: PLR0917 - the signature of TF 1.15
    input_graph: tf.Graph | None = None,
    weight_bits: int = 8,
    activation_bits: int = 8,
    symmetric: bool = False,  # noqa: FBT001, FBT002 - positional in TF 1.15
    quant_delay: int | None = None,
    scope: str | None = None,
) -> RewriteReport:
    """`create_eval_graph` with more to choose: see `experimental_create_training_graph`.

    `symmetric` changes nothing here, for ranges do not learn. With a `quant_delay` the eval graph counts its own
    runs and computes in float before that many of them, as in TF 1.15.
    """
    numbers = _numbers(weight_bits, activation_bits, symmetric=symmetric)
    return _apply(input_graph, Rewrite(False, numbers, _delay("quant_delay", quant_delay), _scope(scope)))  # noqa: FBT003


def _apply(input_graph: tf.Graph | None, rewrite: Rewrite) -> RewriteReport:
    graph = tf.compat.v1.get_default_graph() if input_graph is None else input_graph
    if not isinstance(graph, tf.Graph):
        hint = "Of a GraphDef make one first: tf.import_graph_def(graph_def, name='') in a new tf.Graph."
        raise RewriteError("A tf.Graph is rewritten, in place.", [("input_graph", type(graph).__name__)], hint)
    return rewrite.apply(graph)


def _numbers(weight_bits: int, activation_bits: int, *, symmetric: bool) -> Numbers:
    faults: list[tuple[str, object]] = [
        (name, bits)
        for name, bits in (("weight_bits", weight_bits), ("activation_bits", activation_bits))
        if not _is_count(bits) or not FEWEST_BITS <= bits <= MOST_BITS
    ]
    if faults:
        raise RewriteError(f"Numbers have {FEWEST_BITS} to {MOST_BITS} bits.", faults)
    return Numbers(weight_bits, activation_bits, symmetric)


def _delay(name: str, steps: int | None) -> int:
    if steps is not None and (not _is_count(steps) or steps < 0):
        raise RewriteError("A delay is a number of steps, 0 or more.", [(name, steps)])
    return steps or 0


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _scope(scope: str | None) -> str:
    return f"{scope.removesuffix('/')}/" if scope else ""
