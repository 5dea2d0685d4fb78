"""What LiteRT's reference kernels cannot compute, and the part of a file before it."""

from __future__ import annotations

import faulthandler
import os
import signal

import numpy as np
import pytest

from qatbuild.worker.tflite import inspect, reference
from qatbuild.worker.tflite.interpret import Model
from tests.tflite.running import run


def ends_with(path, kernels, images):
    """The signal that ends a process which runs the file, or 0."""
    process = os.fork()
    if process == 0:
        faulthandler.disable()
        run(Model(path, kernels=kernels), images)
        os._exit(0)
    return -os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.parametrize(("classes", "aborts"), [(511, False), (20000, True)])
def test_softmax_of_many_nearly_equal_values_is_refused_as_the_kernels_abort_on_it(converted, images, classes, aborts):
    path = converted(classes=classes, ranges=("conv1", "conv2", "logits"))
    refused = reference.refused(inspect.read(path))
    assert bool(refused) == aborts
    assert reference.kernels_to_compare_with(path) == ("builtin" if aborts else "reference")
    assert ends_with(path, "reference", images) == (signal.SIGABRT if aborts else 0)
    assert ends_with(path, "builtin", images) == 0


def test_part_before_an_operator_computes_the_same_values(converted, images):
    path = converted(classes=600)
    model = inspect.read(path)
    refused = reference.refused(model)
    assert refused is not None
    assert model.operators[refused.position].name == "SOFTMAX"
    logits = model.operators[refused.position].inputs[0]
    part = run(Model(path, kernels="reference", content=reference.before(path, refused.position)), images)
    whole = Model(path, kernels="builtin", keep=True).tensors({"input": images}, [logits])
    np.testing.assert_allclose(part, whole[logits], atol=1)  # The optimized kernels round some values otherwise.
    small = converted()
    for position in range(1, len(inspect.read(small).operators)):
        tensor = inspect.read(small).operators[position].inputs[0]
        values = Model(small, kernels="reference", keep=True).tensors({"input": images}, [tensor])[tensor]
        cut = run(Model(small, kernels="reference", content=reference.before(small, position)), images)
        np.testing.assert_array_equal(cut, values)
