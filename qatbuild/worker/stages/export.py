"""The export stage: the network as a graph without weights."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.exchange.facts import ExportFacts
from qatbuild.exchange.request import Request
from qatbuild.quantize.modes import rewrite_inference
from qatbuild.worker.stages import learning, rewriting
from qatbuild.worker.training.frozen import without_weights
from qatbuild.worker.training.inference import inference


def run(request: Request) -> ExportFacts:
    """Publish inference_graph.pb, with fake quantization, and float_inference_graph.pb: binary GraphDefs.

    Their input is float32 [batch, height, width, channels] of real values, (byte - mean) / std_dev. Variables are
    operations without values; dropout, augmentation and initial values are left out.
    """
    target, asked = learning.classifier(request), rewriting.options(request)
    kept: set[str] = set()

    def quantized(graph: tf.Graph, source: str, logits: str) -> None:
        report = rewrite_inference(graph, asked, input=source, logits=logits)
        if asked.overrides:
            kept.update(each.layer for each in report.left_float)

    for name, rewrite in (("inference_graph.pb", quantized), ("float_inference_graph.pb", None)):
        built = inference(target, rewrite)
        (request.out / name).write_bytes(without_weights(built).SerializeToString(deterministic=True))
    return ExportFacts(
        built.input, built.logits, built.output, target.shape, target.classes, float_layers=tuple(sorted(kept))
    )
