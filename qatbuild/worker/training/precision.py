"""The number format of a training: float32, or bfloat16 if the processor has instructions for it.

In bfloat16 (8 bits of exponent as float32, 8 of significand: Kalamkar et al. 2019, arXiv:1905.12322) TensorFlow's own
graph pass casts around convolutions, dense layers and what lies between them, forward and backward. Weights, their
updates, the loss, FakeQuants and their ranges stay float32, and a checkpoint is the same file in either format.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import tensorflow as tf

from qatbuild.worker.training import log

FLOAT32, BFLOAT16 = "float32", "bfloat16"

_ON = 1  # RewriterConfig.ON
_FLAGS = {"avx512_bf16", "amx_bf16", "bf16", "avx_ne_convert"}
"""Linux' names of the bfloat16 instructions, on x86 and Arm; emulation without them is slower than float32."""


def available(wanted: str) -> str:
    """Returns the wanted format, or float32 (with a line in the log) if this machine would have to emulate it."""
    if wanted == BFLOAT16 and not _FLAGS & _processor_flags():
        log.write(f"This processor ({platform.machine()}) has no bfloat16 instructions: the training is in float32.")
        return FLOAT32
    return wanted


def configure(config: tf.compat.v1.ConfigProto, precision: str) -> None:
    """Makes sessions with this configuration compute in `precision`."""
    if precision == BFLOAT16:
        config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = _ON


@cache
def _processor_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(
        flag for name, _, flags in lines if name.strip() in {"flags", "Features"} for flag in flags.split()
    )
