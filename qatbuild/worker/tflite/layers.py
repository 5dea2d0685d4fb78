"""Where a .tflite loses what its float network knew: one row of figures for each of its operators.

    SQNR = 10 log10(sum(r^2) / sum((r - S (q - Z))^2)) dB

with the values r of a reference. Three references for each layer: the float graph; the fake-quantized graph, both run
on the images; and the layer alone, in float with the fake-quantized graph's weights, given the .tflite's own inputs. Of
the last one the noise is this layer's own, and not what it was given. LSB are steps S of the .tflite's tensor.

The .tflite runs on LiteRT's reference kernels, which give the same bits everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.tflite.pairing import Network, float_partner, isolated, partner, without_fake_quants

Run = Callable[[Sequence[str], Mapping[str, Any]], list[Any]]
"""Tensors to fetch, tensors to feed -> their values: a session's run."""

_Codes = Mapping[int, NDArray[Any]]

_VALUES = 2**24
"""Values of all layers that are looked at together: every activation is in memory, several times and in float."""

_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
_PRODUCTS = 4 * 10**9
_LEAST_IMAGES = 4
_CODES = 256
_FLOAT_NOISE = 1e-10
"""What two float computations of the same values differ by: 100 dB."""

_NO_SIGNAL_DB = -100.0
_ROUNDING_LSB = 1.0
"""How far a layer may be from the fake-quantized one given the same inputs, by rounding alone."""


@dataclass
class _Noise:
    """Sums over batches: of the reference's power, of the difference's; and the largest difference in steps."""

    signal: float = 0.0
    noise: float = 0.0
    steps: float = 0.0
    seen: bool = False

    def add(self, reference: NDArray[Any], codes: NDArray[Any], tensor: inspect.Tensor) -> None:
        wanted = reference.astype(np.float64).ravel() / tensor.scales[0]
        difference = wanted - (codes.astype(np.float64).ravel() - tensor.zero_points[0])
        self.signal += float(np.sum(wanted**2))
        self.noise += float(np.sum(difference**2))
        self.steps = max(self.steps, float(np.max(np.abs(difference), initial=0.0)))
        self.seen = True

    @property
    def sqnr_db(self) -> float | None:
        """None without a reference, and where nothing is lost."""
        if self.noise <= self.signal * _FLOAT_NOISE:
            return None
        if not self.signal:
            return _NO_SIGNAL_DB
        return round(10 * float(np.log10(self.signal / self.noise)), 1)

    @property
    def max_lsb(self) -> float | None:
        """None without a reference."""
        return round(self.steps, 2) if self.seen else None


@dataclass
class _Layer:
    """One operator, its tensors' partners, and what is known of its codes so far."""

    name: str
    operator: inspect.Operator
    tensor: inspect.Tensor
    index: int
    fake_quant: str | None = None
    floating: str | None = None
    against: dict[str, _Noise] = field(
        default_factory=lambda: {name: _Noise() for name in ("float", "fake_quant", "same_inputs", "alone")}
    )
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_CODES, np.int64))

    def add(self, kind: str, reference: NDArray[Any] | None, codes: _Codes) -> None:
        """Compare with a reference; one of another size is none."""
        if reference is not None and reference.size == codes[self.index].size:
            self.against[kind].add(reference, codes[self.index], self.tensor)

    def count(self, codes: NDArray[Any]) -> None:
        low = np.iinfo(codes.dtype).min
        self.counts += np.bincount(codes.astype(np.int64).ravel() - low, minlength=_CODES)

    def row(self) -> dict[str, Any]:
        used = np.flatnonzero(self.counts)
        zero = self.tensor.zero_points[0] + (128 if self.tensor.dtype == "int8" else 0)
        ends = [end for end in (0, _CODES - 1) if end != zero]  # at the zero point an end is 0 itself, not a cut
        total = int(self.counts.sum())
        noise = self.against
        return {
            "name": self.name,
            "operator": self.operator.name,
            "partner": self.fake_quant,
            "sqnr_db": {key: noise[key].sqnr_db for key in ("float", "fake_quant", "alone")},
            "max_lsb": {key: noise[key].max_lsb for key in ("fake_quant", "same_inputs")},
            "codes_used_percent": round(100 * (int(used[-1]) - int(used[0]) + 1) / _CODES, 2),
            "saturated_percent": round(100 * int(self.counts[ends].sum()) / total, 2),
        }


def measure(
    path: Path,
    images: NDArray[np.uint8],
    reals: NDArray[np.float32],
    graphs: Mapping[str, Any],
    *,
    given: str,
    opened: Callable[[Any], Run],
) -> list[dict[str, Any]]:
    """One row for each operator of the .tflite at `path`, worst layer first.

    First come those that are farther from the fake-quantized graph than rounding explains, given the same inputs; then
    those that lose most by themselves. A softmax is the last of them: its scale is fixed, and its order the logits'.

    `images` are bytes [n, height, width, channels], `reals` the same as the graphs' input `given` takes them. `graphs`
    has the GraphDefs "frozen" and "float"; `opened` makes a GraphDef ready to run. A row has

        position               in the order of execution, from 0
        name, operator         the layer, and the .tflite's operator
        partner                the fake-quantized graph's tensor; None: there is nothing to compare with
        sqnr_db                against "float", "fake_quant", "alone"; None also where nothing is lost
        max_lsb                from the fake-quantized graph: "fake_quant" on the images, "same_inputs" given those of
                               this layer in the .tflite
        codes_used_percent     of the 256 codes, those between the least and the greatest seen
        saturated_percent      values at the least or the greatest code, where that is not 0

    Raises ConversionError if the file does not run.
    """
    model = inspect.read(path)
    network, floats = Network(graphs["frozen"]), Network(graphs["float"])
    layers = _layers(model, network, floats)
    runtime = Model(path, kernels="reference", keep=True)
    whole, reference = opened(graphs["frozen"]), opened(graphs["float"])
    apart: Callable[[_Codes, Mapping[str, Any]], None] | None = None
    batch = max(1, _VALUES // sum(math.prod(layer.tensor.shape) for layer in layers))
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        codes = runtime.tensors(images[part], [layer.index for layer in layers], batch)
        feeds = {f"{given}:0": reals[part]}
        expected = _fetched(whole, [layer.fake_quant for layer in layers], feeds)
        if apart is None:
            _check_sizes(layers, expected, codes)
            shapes = {str(name): each.shape[1:] for name, each in expected.items()}
            apart = _apart(layers, network, shapes, opened)
        for layer in layers:
            layer.count(codes[layer.index])
            layer.add("fake_quant", expected.get(layer.fake_quant), codes)
        wanted = _fetched(reference, [layer.floating for layer in layers], feeds)
        for layer in layers:
            layer.add("float", wanted.get(layer.floating), codes)
        apart(codes, feeds)
    rows = [{"position": position, **layer.row()} for position, layer in enumerate(layers)]
    return sorted(rows, key=_badness)


def affordable(path: Path) -> int:
    """How many images `measure` can run through the file at `path` in seconds: the reference kernels are slow."""
    model = inspect.read(path)
    products = 0
    for operator in model.operators:
        if operator.name in _CHANNEL_AXIS:
            weights = model.tensors[operator.inputs[1]].shape
            outputs = math.prod(model.tensors[operator.outputs[0]].shape)
            products += outputs * math.prod(weights) // weights[_CHANNEL_AXIS[operator.name]]
    return max(_LEAST_IMAGES, _PRODUCTS // max(products, 1))


def described(row: Mapping[str, Any]) -> str:
    """A row in words, for an error: "conv1 (CONV_2D): 22.8 dB alone, 1 LSB, 2.27 % saturated"."""
    alone, same = row["sqnr_db"]["alone"], row["max_lsb"]["same_inputs"]
    name, saturated = f"{row['name']} ({row['operator']})", f"{row['saturated_percent']:g} % saturated"
    if same is None:
        return f"{name}: nothing to compare with, {saturated}"
    loss = "nothing lost" if alone is None else f"{alone:g} dB"
    return f"{name}: {loss} alone, {same:g} LSB, {saturated}"


def _badness(row: Mapping[str, Any]) -> tuple[float, float, int]:
    same, alone = row["max_lsb"]["same_inputs"] or 0.0, row["sqnr_db"]["alone"]
    unavoidable = alone is None or row["operator"] == "SOFTMAX"
    return -same if same > _ROUNDING_LSB else 0.0, np.inf if unavoidable else alone, row["position"]


def _layers(model: inspect.Flatbuffer, network: Network, floats: Network) -> list[_Layer]:
    layers: list[_Layer] = []
    for operator in model.operators:
        index = operator.outputs[0]
        tensor = model.tensors[index]
        if not tensor.scales:  # a shape that is computed
            continue
        found = partner(tensor, network)
        if found is not None and found in {layer.fake_quant for layer in layers}:
            found = None
        floating = None if found is None else float_partner(found, network, floats)
        layers.append(_Layer(model.layer(operator), operator, tensor, index, found, floating))
    return layers


def _apart(
    layers: Sequence[_Layer],
    network: Network,
    shapes: Mapping[str, tuple[int, ...]],
    opened: Callable[[Any], Run],
) -> Callable[[_Codes, Mapping[str, Any]], None]:
    """What compares each layer with itself in the fake-quantized graph and in float, given the .tflite's inputs."""
    computed = {layer.index for layer in layers}
    paired = {layer.index: layer for layer in layers if layer.fake_quant is not None}
    fed = [
        layer for layer in paired.values() if all(each in paired for each in layer.operator.inputs if each in computed)
    ]
    places = {layer.fake_quant: (f"given/{index}", shapes[str(layer.fake_quant)]) for index, layer in paired.items()}
    cut = isolated(network, {str(name): place for name, place in places.items()})
    quantized, plain = opened(cut), opened(without_fake_quants(cut))
    sources = {layer.index: f"{network.source(str(layer.fake_quant).partition(':')[0])}:0" for layer in fed}

    def compare(codes: _Codes, feeds: Mapping[str, Any]) -> None:
        own = dict(feeds)
        for index, layer in paired.items():
            name, shape = places[layer.fake_quant]
            own[f"{name}:0"] = _real(codes[index], layer.tensor).reshape(-1, *shape)
        same, alone = (
            _fetched(run, names, own)
            for run, names in ((quantized, [layer.fake_quant for layer in fed]), (plain, list(sources.values())))
        )
        for layer in fed:
            layer.add("same_inputs", same.get(layer.fake_quant), codes)
            layer.add("alone", alone.get(sources[layer.index]), codes)

    return compare


def _check_sizes(layers: Sequence[_Layer], expected: Mapping[str | None, NDArray[Any]], codes: _Codes) -> None:
    """No partner is kept that has another number of values."""
    for layer in layers:
        if layer.fake_quant is not None and expected[layer.fake_quant].size != codes[layer.index].size:
            layer.fake_quant = layer.floating = None


def _fetched(run: Run, names: Sequence[str | None], feeds: Mapping[str, Any]) -> dict[str | None, NDArray[Any]]:
    wanted = list(dict.fromkeys(name for name in names if name is not None))
    return dict(zip(wanted, run(wanted, feeds), strict=True))


def _real(codes: NDArray[Any], tensor: inspect.Tensor) -> NDArray[np.float32]:
    return (codes.astype(np.float32) - np.float32(tensor.zero_points[0])) * np.float32(tensor.scales[0])
