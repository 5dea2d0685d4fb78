"""Quantization-aware training for TF 1 graphs: tf.contrib.quantize for TensorFlow 2.

    mode tf1      find the layers (layers) -> decide on the FakeQuants (placement) -> insert them (rewrite)
    mode integer  read the path (path) -> its steps (steps) -> FakeQuants and ranges (range_plan) -> insert (integer)

Both fold batch norms (fold), and say what they did (outcome). A range that is measured instead of learnt is made ready
by `settled`.

It knows graphs and tensors, and nothing of specs or stages.
"""

from qatbuild.quantize.integer.learning import settled
from qatbuild.quantize.modes import plan_inference, rewrite_inference, rewrite_training
from qatbuild.quantize.options import Options, Override
from qatbuild.quantize.rewrite_report import FoldedBatchNorm, LeftFloat, QuantizedTensor, RewriteReport, SharedTensor
from qatbuild.quantize.tf1.contrib import (
    create_eval_graph,
    create_training_graph,
    experimental_create_eval_graph,
    experimental_create_training_graph,
)
from qatbuild.quantize.tf1.network import check_network

__all__ = [
    "FoldedBatchNorm",
    "LeftFloat",
    "Options",
    "Override",
    "QuantizedTensor",
    "RewriteReport",
    "SharedTensor",
    "check_network",
    "create_eval_graph",
    "create_training_graph",
    "experimental_create_eval_graph",
    "experimental_create_training_graph",
    "plan_inference",
    "rewrite_inference",
    "rewrite_training",
    "settled",
]
