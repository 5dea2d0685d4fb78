"""Run a .tflite in Arm NN. This program runs in the Python of Debian's pyarmnn.

    /usr/bin/python3 armnn_program.py MODEL.tflite IMAGES.npy OUTPUTS.npy

The images are [n, height, width, channels] of the model's own type; the outputs [n, classes] are integers.
Prints Arm NN's version. Needs pyarmnn and its numpy only.
"""

import sys
from typing import Any


def main(model: str, images_file: str, outputs_file: str) -> None:
    """Parse the model, optimize it for CpuRef, run the images one by one."""
    import numpy as np  # noqa: PLC0415  Packages of another Python: importing this file must not need them.
    import pyarmnn as ann  # noqa: PLC0415

    images = np.load(images_file)
    parser = ann.ITfLiteParser()
    network = parser.CreateNetworkFromBinaryFile(model)
    (image_name,), (result,) = parser.GetSubgraphInputTensorNames(0), parser.GetSubgraphOutputTensorNames(0)
    image_info = parser.GetNetworkInputBindingInfo(0, image_name)
    result_info = parser.GetNetworkOutputBindingInfo(0, result)
    # One runtime per process: Arm NN 20.08 finds no backend for a second one.
    runtime = ann.IRuntime(ann.CreationOptions())
    optimized, messages = ann.Optimize(
        network, [ann.BackendId("CpuRef")], runtime.GetDeviceSpec(), ann.OptimizerOptions()
    )
    for message in messages:
        print(message)  # noqa: T201
    loaded, _ = runtime.LoadNetwork(optimized)
    outputs: list[Any] = []
    for image in images:
        sent = ann.make_input_tensors([image_info], [np.ascontiguousarray(image[np.newaxis])])
        taken = ann.make_output_tensors([result_info])
        runtime.EnqueueWorkload(loaded, sent, taken)
        outputs.append(np.array(ann.workload_tensors_to_ndarray(taken)[0]).reshape(-1))
    np.save(outputs_file, np.stack(outputs))
    print(f"Arm NN {ann.ARMNN_VERSION}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
