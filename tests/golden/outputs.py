"""Tables of outputs: what TF 1.10.1's graphs compute for weights, ranges and images that a formula fixes.

The files in `outputs/` hold, for each network of `slim.py`, the outputs of slim's float graph and of the same graph
after TF 1.10.1's create_eval_graph(). This command makes them with the TensorFlow installed here, from a folder
NETWORK/ for each network with `float.eval.pb.xz` and `quant.eval.pb.xz`:

    python -m tests.golden.outputs --golden ../shared/golden

All values come from the raw 64-bit words of NumPy's Philox generator, which do not change between its releases, and
are chosen so that another machine computes the same numbers. Every scale is a power of two, so products and sums of
quantized values are exact in float32 in any order. Weights lie at an eighth or three eighths of a step from a step,
and biases at odd multiples of half of the accumulator's unit, so no value to be rounded lies at or near a half.
Local response normalization is the exception: its powers are not exact.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.golden.originals import golden_folder
from tests.golden.slim import NETWORKS, Network

v1 = tf.compat.v1
FOLDER = Path(__file__).parent / "outputs"
GRAPHS = {"float": "float.eval.pb", "fake_quantized": "quant.eval.pb"}
IMAGES = 2

ACTIVATION_BITS = 5
"""The scale of every image and activation is 2^-5."""

POOL_BITS = 4
"""MobileNet's average pool over 16 pixels makes the unit of its result 2^-4 finer."""


def words(name: str, count: int) -> np.ndarray:
    """Random words of 64 bits, fixed by a name: Philox4x64-10 with the name's CRC-32 as its key."""
    return np.random.Philox(key=zlib.crc32(name.encode())).random_raw(count)


def integers(name: str, shape: Iterable[int], low: int, high: int) -> np.ndarray:
    """Integers in [low, high) as float64, fixed by a name."""
    sizes = tuple(shape)
    drawn = words(name, int(np.prod(sizes, dtype=int))) >> np.uint64(11)
    return (drawn % np.uint64(high - low)).astype(np.float64).reshape(sizes) + low


def images(network: Network) -> np.ndarray:
    """float32 [IMAGES, height, width, channels] in [-1, 1), in steps of 2^-5."""
    codes = integers("input", (IMAGES, *network.image), -32, 32)
    return np.asarray(codes * 2.0**-ACTIVATION_BITS, np.float32)


def values(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A value for each variable, by the names and shapes of all variables of a graph."""
    return {name: np.asarray(value(name, shape, shapes), np.float32) for name, shape in shapes.items()}


def value(name: str, shape: tuple[int, ...], shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    scope, _, kind = name.rpartition("/")
    if scope.endswith("/BatchNorm"):
        return batch_norm_value(name, shape, weight_bits(scope.removesuffix("/BatchNorm"), shapes))
    if scope.endswith("/weights_quant"):
        layer = scope.removesuffix("/weights_quant").replace("MobilenetV1/MobilenetV1/", "MobilenetV1/")
        return np.asarray({"min": -127, "max": 127}[kind] * 2.0 ** -weight_bits(layer, shapes))
    if scope.endswith("/act_quant"):
        zero_point = integers(scope, (), 32, 128)
        return {"min": -zero_point, "max": 255 - zero_point}[kind] * 2.0**-ACTIVATION_BITS
    bits = weight_bits(scope, shapes)
    if kind == "biases":
        return odd_halves(name, shape, bits + ACTIVATION_BITS + (POOL_BITS if scope.endswith("1c_1x1") else 0))
    if kind in {"weights", "depthwise_weights"}:
        most = 63 if f"{scope}/BatchNorm/gamma" in shapes else 127
        eighths = 2 * integers(f"{name}/eighths", shape, -2, 2) + 1
        return (integers(name, shape, -most, most + 1) + eighths / 8) * 2.0**-bits
    raise ValueError(f"no value for a variable called {name}")


def weight_bits(layer: str, shapes: dict[str, tuple[int, ...]]) -> int:
    """The scale of a layer's weights is 2^-bits: about as many bits as keep the activations' size (He et al. 2015)."""
    if (depthwise := f"{layer}/depthwise_weights") in shapes:
        fan_in = int(np.prod(shapes[depthwise][:2]))
    else:
        fan_in = int(np.prod(shapes[f"{layer}/weights"][:-1]))
    return (6 if f"{layer}/BatchNorm/gamma" in shapes else 7) + (fan_in.bit_length() - 2) // 2


def batch_norm_value(name: str, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """Values for which gamma / sqrt(variance + epsilon) is 1/2, 1 or 2, one of them for each channel."""
    scope, _, kind = name.rpartition("/")
    deviation = 2.0 ** integers(f"{scope}/deviation", shape, -1, 2)
    if kind == "gamma":
        return deviation * 2.0 ** integers(f"{scope}/gain", shape, -1, 2)
    if kind == "moving_variance":
        return deviation**2 - np.float64(np.float32(0.001))
    if kind == "moving_mean":
        return integers(name, shape, -4, 5) / 8 * deviation
    return odd_halves(name, shape, bits + ACTIVATION_BITS)


def odd_halves(name: str, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """Odd multiples of 2^-bits / 2, between -1/2 and 1/2."""
    return (integers(name, shape, -(2 ** (bits - 1)), 2 ** (bits - 1)) + 0.5) * 2.0**-bits


def computed(graph: tf.Graph, network: Network) -> np.ndarray:
    """The output of a graph of a network for the images, float32 [IMAGES, classes]."""
    handles = {each.name: each.outputs[0] for each in graph.get_operations() if each.type == "VariableV2"}
    assigned = values({name: tuple(handle.shape.as_list()) for name, handle in handles.items()})
    with graph.as_default(), v1.Session() as session:
        session.run([tf.raw_ops.Assign(ref=handle, value=assigned[name]).op for name, handle in handles.items()])
        return np.asarray(session.run(network.output, {"input:0": images(network)}))


def of_original(folder: Path) -> dict[str, Any]:
    """The table of a network from the graphs in its folder."""
    network = NETWORKS[folder.name]
    contents = {name: lzma.decompress((folder / f"{name}.xz").read_bytes()) for name in GRAPHS.values()}
    table: dict[str, Any] = {
        "source": {
            "tool": "TensorFlow 1.10.1, tf.contrib.quantize.create_eval_graph()",
            "network": f"slim's {folder.name}",
            "command": "python -m tests.golden.outputs --golden FOLDER",
            "run_with": f"TensorFlow {tf.__version__}",
            "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        }
    }
    for kind, name in GRAPHS.items():
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(v1.GraphDef.FromString(contents[name]), name="")
        table[kind] = [[float(f"{each:.9g}") for each in row] for row in computed(graph, network)]
    return table


def main() -> None:
    golden = golden_folder(__doc__)
    FOLDER.mkdir(exist_ok=True)
    for network in NETWORKS:
        text = json.dumps(of_original(golden / network)).replace("], [", "],\n  [").replace(', "', ',\n "')
        (FOLDER / f"{network}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
