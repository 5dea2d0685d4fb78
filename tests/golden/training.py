"""Tables of training: the losses, ranges and batch statistics of a few steps of TF 1.10.1's training graphs.

The files in `training/` hold, for each network of `slim.py` after TF 1.10.1's create_training_graph(quant_delay=1000),
three steps without an optimizer: the step counter goes through 998, 999 and 1000, so the last one is quantized. This
command makes them from a folder NETWORK/ for each network with `quant.train.pb.xz`:

    python -m tests.golden.training --golden ../shared/golden

Weights and images are those of `outputs.py`. The batch of each step is wider than the one before, for the moving
averages of the ranges to move. A tensor of many values is recorded by its norm.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.golden.originals import QUANT_DELAY, golden_folder, with_fixed_seeds
from tests.golden.outputs import ACTIVATION_BITS, integers, value
from tests.golden.slim import NETWORKS, TRAINING_BATCH, Network

v1 = tf.compat.v1
FOLDER = Path(__file__).parent / "training"
GRAPH = "quant.train.pb"
STEPS = 3


def start(name: str, shape: tuple[int, ...], shapes: dict[str, tuple[int, ...]]) -> Any:
    """The value of a variable before the first step."""
    kind = name.rpartition("/")[2]
    if kind == "fake_quantization_step":
        return QUANT_DELAY - STEPS
    return 0 if kind in {"global_step", "biased", "local_step"} else value(name, shape, shapes)


def batch(network: Network, step: int) -> dict[str, np.ndarray]:
    """Images in [-1, 1) times 1, 2, ... and labels, one hot."""
    codes = integers(f"input of step {step}", (TRAINING_BATCH, *network.image), -32, 32)
    labels = integers(f"labels of step {step}", (TRAINING_BATCH,), 0, network.classes).astype(int)
    images = np.asarray((step + 1) * codes * 2.0**-ACTIVATION_BITS, np.float32)
    return {"input:0": images, "labels:0": np.eye(network.classes, dtype=np.float32)[labels]}


def trained(graph_def: Any, network: Network) -> dict[str, Any]:
    """The losses of three steps; after the second, all ranges, and the norms of folded weights and of the changes of
    the batch norms' moving averages.
    """
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(with_fixed_seeds(graph_def), name="")
    operations = graph.get_operations()
    handles = {each.name: each.outputs[0] for each in operations if each.type == "VariableV2"}
    shapes = {name: tuple(handle.shape.as_list()) for name, handle in handles.items()}
    tensors = {each.name: each.outputs[0] for each in operations if each.name.endswith("/mul_fold")} | {
        each.inputs[0].op.name: each.inputs[1]
        for each in operations
        if each.type == "AssignSub" and "/moving_" in each.inputs[0].name
    }
    first = {
        name: np.asarray(start(name, shapes[name], shapes), handle.dtype.base_dtype.as_numpy_dtype)
        for name, handle in handles.items()
    }
    with graph.as_default(), v1.Session() as session:
        session.run([tf.raw_ops.Assign(ref=handle, value=first[name]).op for name, handle in handles.items()])
        losses = [session.run("total_loss:0", batch(network, step)) for step in range(STEPS - 2)]
        loss, arrays = session.run(["total_loss:0", tensors], batch(network, STEPS - 2))
        ranges = {name: handle for name, handle in handles.items() if "_quant/" in name}
        reached = session.run(ranges)
        losses += [loss, session.run("total_loss:0", batch(network, STEPS - 1))]
        counter = int(session.run("fake_quantization_step:0"))
    return {
        "losses": [rounded(each) for each in losses],
        "fake_quantization_step": counter,
        "ranges": {name: rounded(reached[name]) for name in sorted(reached)},
        "norms": {name: rounded(np.linalg.norm(np.float64(arrays[name]))) for name in sorted(arrays)},
    }


def rounded(number: Any) -> float:
    return float(f"{float(number):.8g}")


def of_original(folder: Path) -> dict[str, Any]:
    """The table of a network from the graph in its folder."""
    content = lzma.decompress((folder / f"{GRAPH}.xz").read_bytes())
    source = {
        "tool": f"TensorFlow 1.10.1, tf.contrib.quantize.create_training_graph(quant_delay={QUANT_DELAY})",
        "network": f"slim's {folder.name}",
        "command": "python -m tests.golden.training --golden FOLDER",
        "run_with": f"TensorFlow {tf.__version__}",
        "sha256": {GRAPH: hashlib.sha256(content).hexdigest()},
    }
    return {"source": source, **trained(v1.GraphDef.FromString(content), NETWORKS[folder.name])}


def main() -> None:
    golden = golden_folder(__doc__)
    FOLDER.mkdir(exist_ok=True)
    for network in NETWORKS:
        text = json.dumps(of_original(golden / network), indent=1)
        (FOLDER / f"{network}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
