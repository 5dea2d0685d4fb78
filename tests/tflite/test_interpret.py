"""LiteRT runs a file in batches, with the result of image by image."""

from __future__ import annotations

import numpy as np
import pytest

from qatbuild.exchange.errors import ConversionError
from qatbuild.worker.tflite.interpret import KERNELS, Model
from tests.tflite.running import int8, run

INT8 = {"conv": "symmetric", "dense": "symmetric"}


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_gives_the_outputs_of_single_images(converted, images, kernels, threads):
    model = Model(converted(), threads=threads, kernels=kernels)
    together = run(model, images, batch=50)
    assert together.dtype == np.uint8
    assert together.shape == (120, 4)
    assert np.array_equal(together, run(model, images, batch=1))


def test_every_image_is_reported_as_done_once(converted, images):
    done: list[int] = []
    run(Model(converted()), images, batch=50, done=done.append)
    assert done == [50, 50, 20]


def test_no_images_give_no_outputs(converted, images):
    assert run(Model(converted()), images[:0]).shape == (0, 4)


def test_a_model_with_a_fixed_batch_is_run_image_by_image(converted, images):
    done: list[int] = []
    fixed = run(Model(converted(batch=1)), images[:7], done=done.append)
    assert np.array_equal(fixed, run(Model(converted()), images[:7]))
    assert done == [1] * 7


def test_the_kernel_sets_agree_within_a_few_steps(converted, images):
    xnnpack, builtin, reference = (run(Model(converted(), kernels=name), images).astype(int) for name in KERNELS)
    assert np.abs(builtin - reference).max() <= 1
    assert np.abs(xnnpack - reference).max() <= 3


def test_an_int8_model_takes_the_same_bytes_as_a_uint8_one(converted, images):
    uint8 = run(Model(converted("uint8", **INT8)), images)
    signed = run(Model(converted("int8", **INT8)), int8(images))
    assert signed.dtype == np.int8
    assert np.abs(uint8.astype(int) - (signed.astype(int) + 128)).max() <= 3


def test_the_wanted_number_of_latencies_is_measured(converted, images):
    taken_ms = Model(converted()).latencies_ms({"input": images[0]}, 3)
    assert len(taken_ms) == 3
    assert min(taken_ms) > 0


def test_a_file_that_cannot_be_loaded_is_an_error_with_litert_s_message(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"rubbish" * 10)
    with pytest.raises(ConversionError, match="not a valid Flatbuffer") as refused:
        Model(path)
    assert ("file", str(path)) in refused.value.facts
