"""The first spec of data and a network: looks at both, then writes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.new import networks, writing
from qatbuild.engine.new.document import Budget, Scaling, batch_size, document
from qatbuild.engine.new.looking import look_at, speed_of
from qatbuild.engine.new.networks import ChosenNetwork
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import SpecError
from qatbuild.exchange.look import DataLook, DataQuestion, SpeedQuestion

_LARGEST_PX = 4096


class Wish(NamedTuple):
    """What the user wants: the name of the spec, the data, and what is not to be chosen for the data.

    `network` '' is the shipped one that fits. `size` [height, width] is that of pictures, () what fits. `minutes` is
    the time for the trainings, `steps` goes before it. `labels`: whether the data have targets, which are the arrays
    `targets`, () if the data decide.
    """

    name: str
    data: str
    network: str = ""
    size: Sequence[int] = ()
    minutes: float = 10.0
    steps: int | None = None
    labels: bool = True
    targets: Sequence[str] = ()
    scaling: Scaling = Scaling()
    force: bool = False


class Begun(NamedTuple):
    """A spec that was written: its file, its content, and what the data look like."""

    file: Path
    document: Mapping[str, Any]
    look: DataLook


def begin(project: Project, wish: Wish) -> Begun:
    """Looks, and writes the spec. SpecError or DatasetError leave no file."""
    file = writing.spec_file(project, wish.name)
    writing.remove_drafts(project.root, file.parent)
    writing.check_free(file, force=wish.force)
    data = Path(os.path.abspath(wish.data))  # noqa: PTH100  Links are kept.
    writing.named_path(project, data, file)
    network = networks.named(wish.network, project.root) if wish.network else None
    if not wish.labels and (network is None or not network.is_trained):
        hint = "Name one with --model: a .keras, .h5 or .pb file, or a SavedModel's folder."
        raise SpecError("Without labels only a trained network can be quantized.", [("data", data)], hint)
    keras_file = network.keras_file if network else None
    most = {"most_px": _LARGEST_PX} if network and not network.model.get("name") else {}
    look = look_at(DataQuestion(str(data), wish.labels, wish.targets, wish.size, network=str(keras_file or ""), **most))
    network = network or networks.fitting([each.shape for each in look.inputs], [each.task for each in look.targets])
    names = {
        "data": writing.named_path(project, Path(look.path), file),
        "table": writing.named_path(project, Path(look.table), file) if look.table else "",
        "model": writing.named_path(project, network.file, file) if network.file else "",
    }
    budget = Budget(wish.minutes, _step_seconds(project, look, network, wish), wish.steps)
    written = document(look, network, **names, budget=budget, scaling=wish.scaling)
    if schema := _schema(project, file):
        written = {"$schema": schema, **written}
    writing.write(project, wish.name, file, written, force=wish.force)
    return Begun(file, written, look)


def _step_seconds(project: Project, look: DataLook, network: ChosenNetwork, wish: Wish) -> float | None:
    """Returns the measured time of a training step; None where no number of steps depends on it."""
    if network.is_trained or wish.steps is not None:
        return None
    question = SpeedQuestion(
        project=str(project.root),
        model=network.in_spec(""),
        file="",
        inputs={each.name: each.shape for each in look.inputs},
        outputs={each.name: each.outputs for each in look.targets},
        batch_size=batch_size(look),
        threads=project.threads,
    )
    return speed_of(question).step_seconds


def _schema(project: Project, file: Path) -> str:
    """Returns the schema's path for editors, if it lies in the project; else '': the path is one machine's."""
    schema = Path(__file__).parents[2] / "schema/editor.schema.json"
    is_inside = schema.is_relative_to(project.root) and "site-packages" not in schema.parts
    return os.path.relpath(schema, file.parent) if is_inside else ""
