"""The conversion refuses graphs that TensorFlow's converter would silently turn into a wrong file."""

from __future__ import annotations

import pytest

from qatbuild.exchange.errors import ConversionError
from qatbuild.worker import graph_def
from qatbuild.worker.tflite import convert
from tests.hints import follows
from tests.tflite.conftest import OUTPUT
from tests.tflite.running import ends

TRAINED = {
    "uint8": {},
    "int8": {"conv": "symmetric", "dense": "symmetric"},
    "int8_per_channel": {"conv": "per_channel", "dense": "symmetric"},
}


def test_equal_graphs_give_equal_bytes(network):
    first, second = (convert.convert(network(), ends(OUTPUT), scheme="uint8") for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("scheme", "options", "fact"),
    [
        ("uint8", {"dense": None}, ("logits", "MatMul: its weights have no range")),
        ("int8", {"conv": None, "dense": "symmetric"}, ("conv1", "Conv2D: its weights have no range")),
        ("uint8", {"bits": 4}, ("conv1", "4 bits")),
        ("uint8", {"conv": "per_channel"}, ("conv2", "PerChannel: no uint8 kernel")),
        ("int8", {}, ("logits", "not symmetric")),
        ("int8_per_channel", {"conv": "per_channel", "dense": "per_channel"}, ("logits", "must be per tensor")),
    ],
)
def test_ranges_that_do_not_fit_the_scheme_are_refused_by_layer(network, scheme, options, fact):
    with pytest.raises(ConversionError, match=f"do not fit the scheme {scheme}") as refused:
        convert.convert(network(**options), ends(OUTPUT, scheme), scheme=scheme)
    assert follows('Train all ranges with "scheme": ') in refused.value.hint
    convert.check_ranges(graph_def.read(network(**TRAINED[scheme]), ConversionError), scheme)
    layer, why = fact
    assert any(label == layer and why in value for label, value in refused.value.facts)


def test_an_op_without_a_kernel_is_named_and_the_full_message_is_in_the_log(network, caplog):
    with pytest.raises(ConversionError) as refused:
        convert.convert(network(svd=True), ends(OUTPUT), scheme="uint8")
    assert any("'tf.Svd' op is neither a custom op" in value for _, value in refused.value.facts)
    assert len(refused.value.block().splitlines()) < 8
    assert follows("The converter's full message is in the log") in refused.value.hint
    assert "func.func" in caplog.text
    assert "func.func" not in refused.value.block()


def test_an_output_that_is_not_in_the_graph_is_named(network):
    with pytest.raises(ConversionError, match="Net/nowhere"):
        convert.convert(network(), ends("Net/nowhere"), scheme="uint8")


def test_a_file_that_is_not_a_graph_is_named(tmp_path):
    path = tmp_path / "frozen_graph.pb"
    path.write_bytes(b"not a graph at all")
    with pytest.raises(ConversionError, match=r"frozen_graph\.pb"):
        convert.convert(path, ends(OUTPUT), scheme="uint8")
