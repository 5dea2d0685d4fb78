"""The functions of model_io.h round and saturate as the evaluation does, in C99 and C++17."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.scaling import Channels, Scaling
from qatbuild.worker.deploy import c_array_io, tools
from qatbuild.worker.deploy.c_array_operators import Resolver
from qatbuild.worker.inputs import NetworkInput
from tests.deploy.subjects import classifier, with_reals

_HALF = 1 / 64
_HOSTILE = (0.0, -0.0, _HALF, -_HALF, 3 * _HALF, -3 * _HALF, 0.0156249, -0.0156249, 3.9, 4.0, -4.1, -5.0, 1e30, -1e30)
"""Halves of a step of 1/32 and their neighbours, both ends, and values far beyond them."""

_PROGRAM = """\
#include <stdio.h>
#include "model_io.h"

int main(void) {
  float value;
  while (fread(&value, sizeof value, 1, stdin) == 1) printf("%d ", g_net_quantize_input_features(value));
  for (int code = -128; code < 128; ++code) printf("%.9g ", g_net_dequantize_output_pose((int8_t)code));
  return 0;
}
"""


@pytest.mark.parametrize(("language", "standard"), [("c", "c99"), ("c++", "c++17")])
def test_c_rounds_halves_away_from_zero_and_saturates(tmp_path: Path, language: str, standard: str) -> None:
    compiler = tools.program("cc" if language == "c" else "c++", route="c_array", debian="gcc g++")
    values = np.array(_HOSTILE, np.float32).reshape(-1, 2)
    raw: Any = {"images": np.zeros((len(values), 1, 1, 1), np.uint8), "features": values}
    codes = np.zeros((len(values), 2), np.int8)
    subject = with_reals(tmp_path, raw, {"labels": np.zeros((len(values), 4), np.int8), "pose": codes}, tmp_path)
    header = c_array_io.io_header(c_array_io.names("net", subject), Resolver((), ()))
    (tmp_path / "model_io.h").write_text(header)
    (tmp_path / "main.txt").write_text(_PROGRAM)
    flags = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic"]
    command: list[Any] = [
        compiler,
        f"-std={standard}",
        *flags,
        "-x",
        language,
        tmp_path / "main.txt",
        "-o",
        tmp_path / "main",
    ]
    subprocess.run(command, check=True)
    printed = subprocess.run(
        [tmp_path / "main"], input=values.tobytes(), capture_output=True, check=True
    ).stdout.split()
    quantized, real = printed[: values.size], printed[values.size :]
    assert list(map(int, quantized)) == subject.samples.integers["features"].reshape(-1).tolist()
    assert list(map(int, quantized)) == [3, 3, 4, 2, 5, 1, 3, 3, 127, 127, -128, -128, 127, -128]
    expected = subject.real({"pose": np.arange(-128, 128)})["pose"].astype(np.float32)
    assert np.array_equal(np.array(real, np.float32), expected)


def test_names_that_c_cannot_tell_apart_get_a_number(tmp_path: Path) -> None:
    raw: Any = {"images": np.zeros((1, 1, 1, 1), np.uint8), "features": np.zeros((1, 2), np.float32)}
    subject = with_reals(
        tmp_path, raw, {"labels": np.zeros((1, 4), np.int8), "pose": np.zeros((1, 2), np.int8)}, tmp_path
    )
    gives = {"Box/scores": subject.gives["labels"], "box_scores": subject.gives["pose"]}
    model = c_array_io.names("net", type(subject)(**{**vars(subject), "gives": gives}))
    assert [end.macro for end in model.outputs] == ["NET_OUTPUT_BOX_SCORES", "NET_OUTPUT_BOX_SCORES_1"]
    assert [end.name for end in model.outputs] == ["output_Box_scores", "output_box_scores_1"]


@pytest.mark.parametrize(("dtype", "takes"), [(np.uint8, "takes byte;"), (np.int8, "takes byte - 128;")])
def test_means_by_channel_and_the_order_of_colours_are_a_comment(tmp_path: Path, dtype: Any, takes: str) -> None:
    raw = np.zeros((1, 1, 1, 3), np.uint8)
    scaling = Scaling.by_channel(Channels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)), "bgr")
    subject = classifier(tmp_path, raw, np.zeros((1, 4), dtype), tmp_path)
    inputs = {"images": NetworkInput("images", (1, 1, 3), scaling)}
    for each, lines in ((subject, 0), (replace(subject, inputs=inputs), 1)):
        header = c_array_io.io_header(c_array_io.names("net", each), Resolver((), ()))
        notes = [line for line in header.splitlines() if line.startswith("// NET_INPUT")]
        assert len(notes) == lines
    assert takes in notes[0]
    assert "the order bgr" in notes[0]
    assert notes[0].endswith("the means 123.675, 116.28, 103.53 and the deviations 58.395, 57.12, 57.375")
