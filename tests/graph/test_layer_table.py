"""Each row of the table of layers in docs/quantize.md names tests, of what becomes integer and of what is refused."""

from __future__ import annotations

import pytest

from tests.docs.pages import DOCS
from tests.graph import integer_networks, keras_networks, test_integer_refusals
from tests.models import test_keras_refusals

pytestmark = pytest.mark.tf

CONVERTED = {*integer_networks.NETWORKS, *keras_networks.NETWORKS}
BY_FUNCTION = {
    "without_int8_kernel": test_integer_refusals.test_operations_without_an_int8_kernel_are_refused_only_for_int8
}
REFUSED = {*test_keras_refusals.REFUSED, *test_integer_refusals.REFUSED, *BY_FUNCTION}


def rows():
    """The cells of the table's rows: layer, what it becomes, the names of tests."""
    text = (DOCS / "quantize.md").read_text(encoding="utf-8")
    table = text.partition("| in the network | in the .tflite | test |\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def test_each_row_names_networks_that_are_converted_or_refused():
    assert len(rows()) >= 24
    for layer, becomes, tests in rows():
        assert set(tests.split(", ")) <= (REFUSED if becomes.startswith("refused") else CONVERTED), layer


def test_each_network_of_keras_layers_with_one_feature_is_in_the_table():
    named = {name for *_, tests in rows() for name in tests.split(", ")}
    assert {*keras_networks.NETWORKS} - named <= {
        "called_twice", "frame_by_frame", "pools", "pools2", "shared_layer",
    }  # fmt: skip


def test_each_class_of_keras_that_is_refused_is_in_the_table():
    named = {name for *_, tests in rows() for name in tests.split(", ")}
    assert {*test_keras_refusals.REFUSED} - named <= {"MyLoop", "MyNorm", "channels first", "curved loop"}
