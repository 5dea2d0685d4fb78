"""The export stage: the network as a graph without weights."""

from __future__ import annotations

from qatbuild.exchange.facts import ExportFacts
from qatbuild.exchange.request import Request
from qatbuild.worker.stages import rewriting
from qatbuild.worker.training.frozen import without_weights
from qatbuild.worker.training.inference import Inference


def run(request: Request) -> ExportFacts:
    """Publishes inference_graph.pb, with fake quantization, and float_inference_graph.pb: binary GraphDefs.

    Their inputs are float32 [batch, *shape] of real values, for bytes (byte - mean) / std_dev. Variables are
    operations without values; dropout, augmentation and initial values are left out.
    """
    built, asked = rewriting.checked_network(request), rewriting.quantizer(request)
    # Read once: the rewrite changes the graph in place, after the float graph is written.
    _write(request, "float_inference_graph.pb", built)
    report = asked.inference(built.graph, built.inputs, built.tensors)
    _write(request, "inference_graph.pb", built)
    kept = {each.layer for each in report.left_float} if asked.options.overrides else set()
    return ExportFacts(built.inputs, built.outputs, tuple(sorted(kept)))


def _write(request: Request, name: str, built: Inference) -> None:
    (request.out / name).write_bytes(without_weights(built).SerializeToString(deterministic=True))
