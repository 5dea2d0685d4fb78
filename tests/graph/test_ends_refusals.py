"""What is wrong with the ends of a network, or with their ranges, is refused before any edit, with a hint."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import Options, check_network, plan_inference, rewrite_inference
from qatbuild.quantize.calibrate.calibration import calibrate
from tests.graph.networks import layer, v1
from tests.hints import follows

pytestmark = pytest.mark.tf

BOTH = {"input": ["one", "other"], "logits": ["a/biased", "likely"]}


def network(*, joined=True):
    """Two inputs; a dense layer with a sigmoid and an identity as its results; a softmax inside with an identity."""
    with tf.Graph().as_default() as graph:
        one, other = (v1.placeholder(tf.float32, [None, 4], name=name) for name in ("one", "other"))
        x = layer(one + other if joined else one, "a", "dense", activation="none")
        for result in (tf.sigmoid, tf.identity):
            result(x, name=f"results/{result.__name__}")
        tf.identity(tf.nn.softmax(layer(x, "b", "dense", activation="none"), name="likely"), name="results/likely")
    return graph


def asked(**more):
    return Options(mean=0, std_dev=1, **more)


def refused(graph, options, names):
    """The error that rewrite and check raise; the graph is as before."""
    before, errors = graph.as_graph_def(), []
    for ask in (
        lambda: rewrite_inference(graph, options, **names),
        lambda: check_network(graph, names["input"], names["logits"], {}, options),
    ):
        with pytest.raises(RewriteError) as caught:
            ask()
        errors.append(caught.value)
    assert str(errors[0]) == str(errors[1])
    assert graph.as_graph_def() == before
    return errors[0]


def test_an_input_that_leads_to_no_output_is_left_out():
    graph = network(joined=False)
    error = refused(graph, asked(), BOTH)
    assert ("input", "other:0") in error.facts
    assert follows('Leave it out of "inputs"') in error.hint
    check_network(graph, ["one"], BOTH["logits"], {}, asked())


def test_an_output_that_depends_on_no_input_is_refused():
    graph = network()
    with graph.as_default():
        tf.zeros([3], name="constant")
    error = refused(graph, asked(), {**BOTH, "logits": ["a/biased", "constant"]})
    assert "do not depend on the input" in error.message
    assert error.facts[-1] == ("logits", "constant:0")


def test_a_tensor_has_one_output_for_each_kind_of_result():
    graph = network()
    twice = {**BOTH, "logits": ["a/biased", "a/biased:0"]}
    check_network(graph, twice["input"], twice["logits"], {}, asked())  # sigmoid and identity
    with graph.as_default():
        tf.identity(graph.get_tensor_by_name("likely:0"))
    error = refused(graph, asked(), {**BOTH, "logits": ["likely", "likely"]})
    assert follows("Name one output for this tensor") in error.hint
    check_network(graph, BOTH["input"], ["likely"], {}, asked())


@pytest.mark.parametrize("option", ["input_ranges", "output_ranges"])
def test_a_range_is_for_an_end_of_the_network(option):
    error = refused(network(), asked(**{option: {"nowhere": (-1.0, 1.0)}}), BOTH)
    assert error.facts[0] == (option, "nowhere:0")
    assert follows("Write the name of one of these tensors") in error.hint
    name = error.facts[1][1].split(", ")[0]
    check_network(network(), BOTH["input"], BOTH["logits"], {}, asked(**{option: {name: (-1.0, 1.0)}}))


@pytest.mark.parametrize(("end", "existing"), [("likely", "0 .. 0.996094"), ("one", "0 .. 255")])
def test_an_output_has_one_range(end, existing):
    names = {**BOTH, "logits": ["a/biased", end]}
    error = refused(network(), asked(output_ranges={end: (-1.0, 1.0), "a/biased": (-2.0, 2.0)}), names)
    assert error.facts == [("output", f"{end}:0"), ("range", "-1 .. 1"), ("it has", existing)]
    assert follows("Leave its range out") in error.hint
    check_network(network(), names["input"], names["logits"], {}, asked(output_ranges={"a/biased": (-2.0, 2.0)}))


@pytest.mark.parametrize(
    ("ranges", "fragment"),
    [
        ({"input_ranges": {"x": (1.0, 2.0)}}, "the range 1 .. 2 must contain 0"),
        ({"output_ranges": {"y": (0.0, 1e-9)}}, "kernels cannot rescale"),
        ({"input_ranges": {"x": None}, "mode": "tf1"}, "mode tf1 gives inputs and outputs no ranges"),
        ({"output_ranges": {"y": (0.0, 1.0)}, "mode": "tf1"}, "mode tf1 gives inputs and outputs no ranges"),
    ],
)
def test_ranges_that_are_not_possible_are_refused_by_name(ranges, fragment):
    with pytest.raises(RewriteError) as caught:
        asked(**ranges)
    assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [(np.nan, follows("leave out these examples")), (0.0, follows("give it a range"))],
    ids=["no number", "zeros"],
)
def test_an_input_without_values_is_named_by_the_calibration(value, hint):
    def measured(other, ends=None):
        graph = network()
        options = asked(input_ranges={"one": (-1.0, 1.0), "other": ends})
        plan = plan_inference(graph, options, **BOTH)
        with graph.as_default(), v1.Session() as session:
            session.run(v1.global_variables_initializer())
            batch = {"one": np.ones([2, 4], np.float32), "other": np.full([2, 4], other, np.float32)}
            return calibrate(session, plan, BOTH["input"], lambda: iter([batch]))

    with pytest.raises(RewriteError) as caught:
        measured(value)
    assert [label for label, _ in caught.value.facts] == ["other:0"]
    assert hint in caught.value.hint
    assert measured(1.0)
    assert measured(0.0, (-1.0, 1.0))


def test_mode_tf1_takes_several_outputs_where_each_has_a_range():
    with tf.Graph().as_default() as graph:
        x = layer(v1.placeholder(tf.float32, [None, 4], name="x"), "a", "dense")
        for result, name in ((tf.nn.softmax, "b"), (tf.sigmoid, "c"), (tf.identity, "d")):
            result(layer(x, name, "dense", activation="none"))
    options, ends = asked(mode="tf1"), ["b/biased", "c/biased", "a/activation"]
    check_network(graph, "x", ends, {}, options)
    with pytest.raises(RewriteError) as caught:
        check_network(graph, "x", [*ends, "d/biased", "a/biased"], {}, options)
    assert [layer for layer, why in caught.value.facts if "no range, unless it is an activation" in why] == ["a", "d"]
    assert follows('write "mode": "integer", in which every output has a range') in caught.value.hint
    check_network(graph, "x", [*ends, "d/biased", "a/biased"], {}, asked())
    report = rewrite_inference(graph, options, input="x", logits=ends)
    assert {each.layer for each in report.quantized if each.role == "act_quant"} >= {"a/MatMul", "b/MatMul", "c/MatMul"}
