"""`doit layers`: the layers of evaluated models."""

from __future__ import annotations

import json

from tests.builds.conftest import ToyProject
from tests.builds.test_monorepo import DODO
from tests.unit.test_layer_table import row


def evaluated(toy: ToyProject) -> None:
    """A build whose report has one layer."""
    (toy.root / "report.json").write_text(json.dumps({"layers": [row("conv1", "CONV_2D")]}))
    toy.built()


def test_a_model_s_layers_are_printed_below_its_label(toy: ToyProject) -> None:
    evaluated(toy)
    done = toy.doit("layers", "net")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("net\n")
    assert "conv1  CONV_2D" in done.stdout


def test_json_has_the_rows_by_label(toy: ToyProject) -> None:
    evaluated(toy)
    assert json.loads(toy.doit("layers", "--json").stdout) == {"net": [row("conv1", "CONV_2D")]}


def test_a_label_below_a_prefix_is_named_as_on_the_command_line(toy: ToyProject) -> None:
    (toy.root / "dodo.py").write_text(DODO)
    (toy.root / "report.json").write_text(json.dumps({"layers": [row("conv1", "CONV_2D")]}))
    assert "hint: doit models/net" in toy.doit("layers", "models/net").stderr
    toy.built("models/net")
    assert toy.doit("layers", "models/net").stdout.startswith("models/net\n")
    assert [*json.loads(toy.doit("layers", "--json").stdout)] == ["models/net"]


def test_a_model_without_an_evaluation_is_one_error_with_a_hint(toy: ToyProject) -> None:
    done = toy.doit("layers", "net")
    assert done.returncode != 0
    assert "The model has no report with layers." in done.stderr
    assert "hint: doit net" in done.stderr
    assert "Traceback" not in done.stderr
