"""Quantization-aware training and post-training quantization of TF 1 graphs, with TensorFlow 2.

    modes             rewrite_training, rewrite_inference, plan_inference, check_network, in either mode
    options           Options, Override: the parameters of a rewrite
    rewrite_report    RewriteReport: what a rewrite did, as data

    tf1/              mode tf1: the FakeQuants of tf.contrib.quantize; its four functions
    integer/          mode integer: FakeQuants wherever the integer runtime rounds
    batch_norm/       batch norms found and folded, for both modes
    calibrate/        ranges measured on data instead of learnt
    graph/            reading and editing graphs

This package knows graphs and tensors, and nothing of specs or stages.

The names in `_LAZY` are imported from their wing when they are first used: importing this package, or a module of one
wing, does not make code depend on the other wings. Types: see __init__.pyi.
"""

import importlib

from qatbuild.quantize.modes import check_network, plan_inference, rewrite_inference, rewrite_training
from qatbuild.quantize.options import Options, Override
from qatbuild.quantize.rewrite_report import FoldedBatchNorm, LeftFloat, QuantizedTensor, RewriteReport, SharedTensor

_LAZY = {
    "create_eval_graph": "qatbuild.quantize.tf1.contrib",
    "create_training_graph": "qatbuild.quantize.tf1.contrib",
    "experimental_create_eval_graph": "qatbuild.quantize.tf1.contrib",
    "experimental_create_training_graph": "qatbuild.quantize.tf1.contrib",
    "settled": "qatbuild.quantize.integer.learning",
}

__all__ = [  # noqa: PLE0604 - the lazy names are those of the table
    "FoldedBatchNorm",
    "LeftFloat",
    "Options",
    "Override",
    "QuantizedTensor",
    "RewriteReport",
    "SharedTensor",
    "check_network",
    "plan_inference",
    "rewrite_inference",
    "rewrite_training",
    *_LAZY,
]


def __getattr__(name: str) -> object:
    """Imports a name of `_LAZY` from its module (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
