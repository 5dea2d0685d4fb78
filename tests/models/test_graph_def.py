"""GraphDefs: input strings and constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import ConversionError, StageError
from qatbuild.worker import graph_def

pytestmark = pytest.mark.tf


def definition() -> tf.compat.v1.GraphDef:
    """weights -> range -> product <- image; a loop of two; random numbers scaled by a constant."""
    result = tf.compat.v1.GraphDef()
    result.node.append(graph_def.new_constant("weights", np.array([1, 2], np.float32)))
    for name, op, inputs in (
        ("image", "Placeholder", []),
        ("range", "FakeQuantWithMinMaxArgs", ["weights", "^image"]),
        ("same", "Identity", ["range:0"]),
        ("product", "Mul", ["same", "image"]),
        ("double", "Mul", ["weights", "weights"]),
        ("one", "Identity", ["other"]),
        ("other", "Identity", ["one"]),
        ("noise", "RandomUniform", ["weights"]),
        ("scaled", "Mul", ["noise", "weights"]),
    ):
        result.node.add(name=name, op=op, input=inputs)
    return result


@pytest.mark.parametrize("text", ["a/b", "a/b:1", "^a/b"])
def test_an_input_string_names_an_operation(text: str) -> None:
    assert graph_def.op_name(text) == "a/b"


def test_constant_operations_are_those_that_no_input_and_no_loop_reaches() -> None:
    assert graph_def.constant_ops(definition().node) == {"weights", "range", "same", "double", "noise", "scaled"}


def test_excluded_types_and_their_results_are_not_constant() -> None:
    without = graph_def.constant_ops(definition().node, ("FakeQuantWithMinMaxArgs", "RandomUniform"))
    assert without == {"weights", "double"}


def test_source_is_searched_through_types() -> None:
    nodes = graph_def.nodes_by_name(definition())
    assert graph_def.source(nodes, "same:0", ("Identity",)).name == "range"
    assert graph_def.source(nodes, "^same", ("Identity", "FakeQuantWithMinMaxArgs")).name == "weights"


def test_a_constant_is_read_and_replaced() -> None:
    node = graph_def.new_constant("a", [1, -1], tf.int32)
    assert graph_def.is_constant(node)
    assert graph_def.constant(node).tolist() == [1, -1]
    graph_def.set_constant(node, np.array([0.5], np.float32))
    assert node.attr["dtype"].type == tf.float32.as_datatype_enum
    assert graph_def.constant(node).tolist() == [0.5]


def test_a_file_that_is_no_graph_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "graph.pb").write_bytes(definition().SerializeToString())
    assert graph_def.read(tmp_path / "graph.pb") == definition()
    (tmp_path / "text.pb").write_text("no graph")
    with pytest.raises(ConversionError, match=r"text\.pb"):
        graph_def.read(tmp_path / "text.pb", ConversionError)
    with pytest.raises(StageError, match=r"missing\.pb"):
        graph_def.read(tmp_path / "missing.pb")
