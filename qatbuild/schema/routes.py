"""The deployment routes of a spec: the options of each, and the dependencies of its stage.

A route consists of one class here, an entry in spec.schema.json, and the module qatbuild.worker.deploy.NAME.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar, get_args, get_type_hints


class Route(Protocol):
    """The options of one route: a named tuple."""

    def _asdict(self) -> dict[str, Any]: ...


class Needs(NamedTuple):
    """The dependencies of a route's stage.

    packages      pip packages whose versions count
    reads_graphs  whether it reads the frozen graphs besides the .tflite
    sources       files by role, absolute or relative to the folder of the route's module
    paths         names of the options that hold a path of the user's
    """

    packages: tuple[str, ...] = ()
    reads_graphs: bool = False
    sources: Mapping[str, str] = MappingProxyType({})
    paths: tuple[str, ...] = ()


ROUTES: dict[str, Callable[..., Route]] = {}
"""Name of a route -> the class of its options."""

NEEDS: dict[str, Needs] = {}
"""Name of a route -> the dependencies of its stage."""

REAL: set[str] = set()
"""Names of the options that are real numbers, for which 95 and 95.0 are the same setting."""

_NOTHING = Needs()
_Options = TypeVar("_Options", bound=Callable[..., Route])


def route(name: str, needs: Needs = _NOTHING) -> Callable[[_Options], _Options]:
    """Registers the options of the route `name`."""

    def register(options: _Options) -> _Options:
        ROUTES[name], NEEDS[name] = options, needs
        hints = get_type_hints(options)
        REAL.update(option for option, kind in hints.items() if kind is float or float in get_args(kind))
        return options

    return register


def typed(name: str, options: Mapping[str, Any], label: str, absolute: Callable[[str], str]) -> Route:
    """Returns the options of a route with all defaults; `absolute` makes a path of the spec absolute."""
    filled = dict(options)
    filled |= {option: float(filled[option]) for option in REAL & set(filled) if filled[option] is not None}
    filled |= {path: absolute(filled[path]) for path in NEEDS[name].paths if filled.get(path) is not None}
    complete = getattr(ROUTES[name], "complete", None)
    return ROUTES[name](**(complete(filled, label) if complete else filled))


@route("litert", Needs(("flatbuffers",)))
class Litert(NamedTuple):
    """The .tflite with metadata."""

    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    benchmark_runs: int = 50
    benchmark_threads: int = 1
    images: int = 500


# Debian's Arm NN is not a pip package: the file with its version is a source.
@route("armnn", Needs(sources={"pyarmnn": "/usr/lib/python3/dist-packages/pyarmnn/_version.py"}))
class Armnn(NamedTuple):
    """The .tflite in Arm NN's CpuRef."""

    images: int = 100
    min_agreement: float | None = 95.0


@route("coreml", Needs(("tensorflow", "coremltools"), reads_graphs=True))
class Coreml(NamedTuple):
    """The float network as Core ML models with 8-bit weights."""

    image_input: bool = True
    images: int = 500
    min_agreement: float | None = 95.0


@route("round_weights", Needs(("tensorflow",), reads_graphs=True))
class RoundWeights(NamedTuple):
    """Graphs that compress better."""

    num_steps: int = 256
    graph: str = "frozen"
    images: int = 500
    min_agreement: float | None = 95.0


@route("tf_cpp", Needs(("tensorflow",), reads_graphs=True, sources={"program": "tf_cpp.c"}))
class TfCpp(NamedTuple):
    """The frozen graph in a C program."""

    tolerance: float = 1e-6
    images: int = 100


@route("vela", Needs(("ethos-u-vela",), paths=("config",)))
class Vela(NamedTuple):
    """The .tflite compiled for an Arm Ethos-U. `config` is an absolute path."""

    accelerator: str = "ethos-u55-128"
    system_config: str | None = None
    memory_mode: str | None = None
    config: str | None = None
    optimise: str = "Performance"
    min_npu_percent: float = 100.0

    @staticmethod
    def complete(options: Mapping[str, Any], label: str) -> dict[str, Any]:  # noqa: ARG004
        """Fills in the defaults of system_config and memory_mode for the accelerator."""
        u65 = "u65" in options.get("accelerator", "")
        system = options.get("system_config") or f"Ethos_{'U65_High_End' if u65 else 'U55_High_End_Embedded'}"
        memory = options.get("memory_mode") or ("Dedicated_Sram" if u65 else "Shared_Sram")
        return {**options, "system_config": system, "memory_mode": memory}


@route("c_array")
class CArray(NamedTuple):
    """The .tflite as C arrays."""

    name: str | None = None
    runtime: str = "any"
    alignment_bytes: int = 16
    vectors: int = 4
    images: int = 100

    @staticmethod
    def complete(options: Mapping[str, Any], label: str) -> dict[str, Any]:
        """Fills in the name of the arrays: the label in the characters of a C name."""
        name = re.sub(r"[^a-z0-9_]", "_", f"m{label}" if label[0].isdigit() else label.lower())
        return {**options, "name": options.get("name") or name}


@route("onnx", Needs(("tensorflow", "tf2onnx", "onnx", "onnxruntime")))
class Onnx(NamedTuple):
    """The .tflite as QDQ ONNX."""

    opset: int = 18
    images: int = 500
    min_agreement: float | None = 95.0


SYSTEM_CONFIGS = (
    "Ethos_U55_Deep_Embedded", "Ethos_U55_High_End_Embedded",
    "Ethos_U65_Embedded", "Ethos_U65_Mid_End", "Ethos_U65_High_End", "Ethos_U65_Client_Server",
)  # fmt: skip
"""The systems of Vela's own configuration file. Vela accepts a U65's system for a U55, so the rules refuse that."""

MEMORY_MODES = (
    "Sram_Only", "Shared_Sram",
    "Dedicated_Sram", "Dedicated_Sram_256KB", "Dedicated_Sram_384KB", "Dedicated_Sram_512KB",
)  # fmt: skip
"""The memory modes of Vela's own configuration file."""
