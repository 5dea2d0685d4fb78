"""Why no field of a spec mends a model, and what to change in the network or the data instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qatbuild.report.diagnosis import Cause, Finding

_ONE_SCALE = "one scale, whatever the spec says"
_LIMITS: Mapping[Cause, str] = {
    Cause.BATCH_NORM: "longer trainings do not settle them. Lower the momentum of these batch norms, in the network.",
    Cause.INPUT_COLUMNS: (
        f"all columns of an input have {_ONE_SCALE}. Divide each column by its deviation, in the dataset."
    ),
    Cause.MIXED_RANGES: (
        f"a tensor has {_ONE_SCALE}. Bring its parts to one unit, or give each an output of its own, in the network."
    ),
    Cause.OUTLIERS: (
        "8 bits hold either the outliers or the values beside them. Clip the values or take their logarithm, in the"
        " dataset or in the network."
    ),
    Cause.OUTPUT_CHANNELS: (
        f"all channels of a tensor have {_ONE_SCALE}. Bring them to one unit, in the network, or in the targets of an"
        " output."
    ),
    Cause.UNLIKE_TEST: "no range serves both. Put examples like those for testing into the training set.",
    Cause.WEIGHT_CHANNELS: (
        "a scale for each channel is not enough. Bring the channels in front of it to one size, in the network: by a"
        " batch norm."
    ),
}
_OTHERWISE = "8 bits are too few for it. Give it more channels, or write it in another way, in the network."


def limit(findings: Sequence[Finding], lack: str) -> str:
    """Returns why no field of the spec helps, and what to change instead.

    `lack` is what the float network itself misses, if anything.
    """
    if lack:
        return (
            f"The float network itself is too weak ({lack}), and no quantization gives back what it lacks. Change the"
            " network, the data or the training."
        )
    if not findings:
        return "No layer is to blame. Change the network or the data, or what the gates want."
    worst = findings[0]
    return f"{worst.layer.name}: {_LIMITS.get(worst.cause, _OTHERWISE)}"
