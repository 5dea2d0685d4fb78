"""The table of layers in docs/quantize.md names networks that are tested."""

from __future__ import annotations

from tests.docs.pages import DOCS
from tests.graph import integer_networks, keras_networks

TESTED = {*integer_networks.NETWORKS, *keras_networks.NETWORKS}


def rows():
    """The cells of the table's rows: layer, what it becomes, the names of networks."""
    text = (DOCS / "quantize.md").read_text(encoding="utf-8")
    table = text.partition("| in the network | in the .tflite | test |\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def test_each_row_of_the_table_names_networks_that_are_tested():
    assert len(rows()) > 15
    for layer, becomes, tests in rows():
        named = {name for name in tests.split(", ") if name}
        assert named <= TESTED, layer
        assert named or becomes.startswith("refused"), layer


def test_each_network_of_keras_layers_with_one_feature_is_in_the_table():
    named = {name for *_, tests in rows() for name in tests.split(", ")}
    assert {*keras_networks.NETWORKS} - named <= {
        "called_twice", "frame_by_frame", "pools", "pools2", "shared_layer",
    }  # fmt: skip
