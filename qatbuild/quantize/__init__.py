"""Quantization-aware training for TF 1 graphs: tf.contrib.quantize for TensorFlow 2.

    find the layers (layers) -> decide on the FakeQuants (placement) -> insert them (rewrite) -> say so (outcome)

It knows graphs and tensors, and nothing of specs or stages.
"""

from qatbuild.quantize.contrib import (
    create_eval_graph,
    create_training_graph,
    experimental_create_eval_graph,
    experimental_create_training_graph,
)
from qatbuild.quantize.modes import plan_inference, rewrite_inference, rewrite_training
from qatbuild.quantize.network import check_network
from qatbuild.quantize.options import Options, Override
from qatbuild.quantize.outcome import FoldedBatchNorm, LeftFloat, QuantizedTensor, RewriteReport, SharedTensor

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
]
