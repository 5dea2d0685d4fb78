"""The converter of TF 1 for graphs whose inputs have a FakeQuant: it takes their ranges and no statistics.

An input's statistics, (mean, std_dev), and its FakeQuant seldom are one range to the last bit of float64. The converter
takes the FakeQuant's where it reads the input itself. It moves a reshape or a transposition in front of the FakeQuant,
however, then takes both, and puts a QUANTIZE between them. So there must be one range only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from qatbuild.worker import graph_def
from qatbuild.worker.tflite.fake_quant_nodes import FAKE_QUANTS


class Converter(tf.compat.v1.lite.TFLiteConverter):  # type: ignore[misc]
    """TensorFlow's converter, for a graph of which all inputs have a range (see `have_ranges`)."""

    def _validate_quantized_input_stats(self, converter_kwargs: Any, quant_mode: Any) -> None:
        """Does nothing: TensorFlow's own method, which is private, refuses a conversion without statistics."""

    def convert(self) -> bytes:
        """Returns the bytes of the .tflite, without TensorFlow's warning of missing statistics."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
            return bytes(super().convert())


def have_ranges(graph: tf.compat.v1.GraphDef, inputs: Iterable[str]) -> bool:
    """Returns whether only FakeQuants read the operations `inputs` of a frozen graph."""
    names = frozenset(inputs)
    return all(node.op in FAKE_QUANTS for node in graph.node if names.intersection(graph_def.data_ops(node)))
