"""Runs a .tflite in Arm NN. This program runs in the Python of Debian's pyarmnn.

    /usr/bin/python3 armnn_program.py MODEL.tflite INPUTS OUTPUTS

INPUTS is a file X.npy of a model with one input, [n, ...] of the model's own type, or X.npz with an array for each, by
the names of the model's tensors. So is OUTPUTS: integers [n, values] of one output, or an array for each.
Prints Arm NN's version. Needs pyarmnn and its numpy only.
"""

import sys
from typing import Any


def main(model: str, inputs_file: str, outputs_file: str) -> None:
    """Parses the model, optimizes it for CpuRef, runs the examples one by one."""
    import numpy as np  # noqa: PLC0415  Packages of another Python: importing this file must not need them.
    import pyarmnn as ann  # noqa: PLC0415

    parser = ann.ITfLiteParser()
    network = parser.CreateNetworkFromBinaryFile(model)
    takes, gives = parser.GetSubgraphInputTensorNames(0), parser.GetSubgraphOutputTensorNames(0)
    inputs = np.load(inputs_file)
    if inputs_file.endswith(".npy"):
        inputs = {takes[0]: inputs}
    inputs_info = [parser.GetNetworkInputBindingInfo(0, name) for name in takes]
    outputs_info = [parser.GetNetworkOutputBindingInfo(0, name) for name in gives]
    # One runtime per process: Arm NN 20.08 finds no backend for a second one.
    runtime = ann.IRuntime(ann.CreationOptions())
    optimized, messages = ann.Optimize(
        network, [ann.BackendId("CpuRef")], runtime.GetDeviceSpec(), ann.OptimizerOptions()
    )
    for message in messages:
        print(message)  # noqa: T201
    loaded, _ = runtime.LoadNetwork(optimized)
    outputs: dict[str, list[Any]] = {name: [] for name in gives}
    for rows in zip(*(inputs[name] for name in takes), strict=True):
        sent = ann.make_input_tensors(inputs_info, [np.ascontiguousarray(row[np.newaxis]) for row in rows])
        taken = ann.make_output_tensors(outputs_info)
        runtime.EnqueueWorkload(loaded, sent, taken)
        for name, row in zip(gives, ann.workload_tensors_to_ndarray(taken), strict=True):
            outputs[name].append(np.array(row).reshape(-1))
    arrays: Any = {name: np.stack(rows) for name, rows in outputs.items()}
    if outputs_file.endswith(".npy"):
        np.save(outputs_file, arrays[gives[0]])
    else:
        np.savez(outputs_file, **arrays)
    print(f"Arm NN {ann.ARMNN_VERSION}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
