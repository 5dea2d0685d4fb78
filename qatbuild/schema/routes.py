"""The routes to a target that a spec may name under `deploy`: a named tuple for each, as schema.json has them."""

from typing import NamedTuple


class Litert(NamedTuple):
    """The .tflite with metadata."""

    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    benchmark_runs: int = 50
    benchmark_threads: int = 1
    images: int = 500


class Armnn(NamedTuple):
    """The .tflite in Arm NN's CpuRef."""

    images: int = 100
    min_agreement: float | None = 95.0


class Coreml(NamedTuple):
    """The float network as Core ML models with 8-bit weights."""

    image_input: bool = True
    images: int = 500
    min_agreement: float | None = 95.0


class RoundWeights(NamedTuple):
    """Graphs that compress better."""

    num_steps: int = 256
    graph: str = "frozen"
    images: int = 500
    min_agreement: float | None = 95.0


class TfCpp(NamedTuple):
    """The frozen graph in a C program."""

    tolerance: float = 1e-6
    images: int = 100


class Vela(NamedTuple):
    """The .tflite compiled for an Ethos-U. `config` is an absolute path; typed.py fills in what depends on others."""

    accelerator: str = "ethos-u55-128"
    system_config: str | None = None
    memory_mode: str | None = None
    config: str | None = None
    optimise: str = "Performance"
    min_npu_percent: float = 100.0


class CArray(NamedTuple):
    """The .tflite as C arrays."""

    name: str | None = None
    runtime: str = "any"
    alignment_bytes: int = 16
    vectors: int = 4
    images: int = 100


class Onnx(NamedTuple):
    """The .tflite as QDQ ONNX."""

    opset: int = 18
    images: int = 500
    min_agreement: float | None = 95.0


Route = Litert | Armnn | Coreml | RoundWeights | TfCpp | Vela | CArray | Onnx

ROUTES: dict[str, type[Route]] = {
    "litert": Litert,
    "armnn": Armnn,
    "coreml": Coreml,
    "round_weights": RoundWeights,
    "tf_cpp": TfCpp,
    "vela": Vela,
    "c_array": CArray,
    "onnx": Onnx,
}
"""Name of a route -> its options."""

REAL = frozenset({"min_agreement", "tolerance", "min_npu_percent"})
"""The options that are real numbers: 95 and 95.0 are one setting."""

SYSTEM_CONFIGS = (
    "Ethos_U55_Deep_Embedded", "Ethos_U55_High_End_Embedded",
    "Ethos_U65_Embedded", "Ethos_U65_Mid_End", "Ethos_U65_High_End", "Ethos_U65_Client_Server",
)  # fmt: skip
"""The systems of Vela's own configuration file. Vela estimates an Ethos-U55 with a U65's memories without a word."""

MEMORY_MODES = (
    "Sram_Only", "Shared_Sram",
    "Dedicated_Sram", "Dedicated_Sram_256KB", "Dedicated_Sram_384KB", "Dedicated_Sram_512KB",
)  # fmt: skip
"""The memory modes of the same file."""
