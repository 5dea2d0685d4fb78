"""The export stage: the network as a graph without weights."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from qatbuild.exchange.request import Request
from qatbuild.quantize.modes import rewrite_inference
from qatbuild.worker.stages import learning, rewriting
from qatbuild.worker.training.frozen import without_weights
from qatbuild.worker.training.inference import inference


def run(request: Request) -> dict[str, Any]:
    """Publish inference_graph.pb, with fake quantization, and float_inference_graph.pb: binary GraphDefs.

    Their input is float32 [batch, height, width, channels] of real values, (byte - mean) / std_dev. Variables are
    there as operations and have no values; dropout, augmentation and initial values are not there at all. The fact
    "float_layers" names what the overrides keep in float.
    """
    network, asked = learning.network(request), rewriting.options(request)
    kept: set[str] = set()

    def quantized(graph: tf.Graph, source: str, logits: str) -> None:
        report = rewrite_inference(graph, asked, input=source, logits=logits)
        if asked.overrides:
            kept.update(each.layer for each in report.left_float)

    for name, rewrite in (("inference_graph.pb", quantized), ("float_inference_graph.pb", None)):
        target = inference(network, rewrite)
        (request.out / name).write_bytes(without_weights(target).SerializeToString(deterministic=True))
    return {
        "input": target.input,
        "logits": target.logits,
        "output": target.output,
        "shape": list(network.shape),
        "classes": network.classes,
        "float_layers": sorted(kept),
    }
