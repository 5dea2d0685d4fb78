"""Every route takes a model with two inputs, one of them of real values, and two outputs of different tasks."""

from __future__ import annotations

import gc
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.route_facts import DeployFacts
from qatbuild.schema import routes
from qatbuild.worker import deploy as routes_folder
from qatbuild.worker.deploy import metadata
from qatbuild.worker.stages import deploy
from tests.deploy.two_ends import COUNT, SETTINGS, Build
from tests.e2e.test_deploy import lacking

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(tmp_path_factory.mktemp("two_ends"))


def taken(build: Build, route: str) -> tuple[DeployFacts, Path]:
    """The facts of a route with its default options, and its folder."""
    if reason := lacking(route):
        pytest.skip(reason)
    needs, options = routes.NEEDS[route], routes.typed(route, {}, "two", str)._asdict()
    if route == "litert":
        options["benchmark_runs"] = 0
    inputs = ["dataset", "convert", *(["freeze"] if needs.reads_graphs else [])]
    home = Path(str(routes_folder.__file__)).parent
    sources = {role: home / file for role, file in needs.sources.items()}
    request = build.request(f"deploy.{route}", {**SETTINGS, route: options}, *inputs, sources=sources)
    with warnings.catch_warnings():  # coremltools warns of names that it changes, and leaves temporary folders behind.
        warnings.simplefilter("ignore")
        facts = deploy.run(request)
        gc.collect()
    return facts, request.out


@pytest.mark.parametrize("route", routes.ROUTES)
def test_every_route_takes_several_inputs_and_outputs(build: Build, route: str) -> None:
    facts, out = taken(build, route)
    assert facts.verdict == "passed"
    assert json.loads((out / "route.json").read_text()) == facts.to_json()
    if not facts.comparison:
        assert route == "vela"
        assert facts.gates[0].got.count("; ") == 3
        return
    assert facts.comparison.examples == COUNT
    kind, pose = (facts.comparison.outputs[name] for name in ("kind", "pose"))
    assert kind.same_percent is not None
    assert kind.same_percent >= 95
    assert pose.same_percent is None
    assert set(facts.comparison.metrics) == {"kind.top1", "pose.mae", "pose.rmse", "pose.r2"}
    assert facts.comparison.accuracy_percent is None
    if route not in ("coreml", "round_weights"):  # These have no integers inside.
        assert pose.max_lsb <= 2


def test_c_converts_what_the_evaluation_converts(build: Build) -> None:
    facts, out = taken(build, "c_array")
    names = [gate.name for gate in facts.gates]
    assert names == ["C99 round trip", "C99 conversions", "C++17 round trip", "C++17 conversions"]
    header = (out / "model_io.h").read_text()
    assert "#define TWO_INPUT_FEATURES_SHAPE {1, 5}" in header
    assert "#define TWO_OUTPUT_POSE_INDEX 1" in header
    vectors = (out / "test_vectors.h").read_text()
    for name in ("inputs_image", "inputs_features", "real_inputs_features", "outputs_kind", "outputs_pose"):
        assert f"g_two_test_{name}[4][" in vectors
    assert "g_two_test_classes_kind[4] = {" in vectors


def test_metadata_names_each_end_and_its_conversion(build: Build) -> None:
    _, out = taken(build, "litert")
    written = metadata.read(out / "model.tflite")
    ends: dict[str, Any] = {each.name: each for each in (*written.inputs, *written.outputs)}
    assert set(ends) == {"image", "features", "kind", "pose"}
    assert (ends["image"].image, ends["image"].std) == ((8, 8, 1), 255)
    assert ends["features"].description.startswith("Real values, 5: integer = round(value / 0.047")
    assert ends["kind"].labels == ("bolt", "nut", "pin")
    assert (out / "kind_labels.txt").read_text() == "bolt\nnut\npin\n"
    assert ends["pose"].highest == pytest.approx(3, abs=0.02)


def test_examples_of_a_spread_are_those_of_the_test_set(build: Build) -> None:
    _, out = taken(build, "c_array")
    row = (out / "test_vectors.h").read_text().partition("real_inputs_features[4][5] = {\n    {")[2].partition("}")[0]
    assert np.allclose([float(word.rstrip("f")) for word in row.split(", ")], build.arrays["features"][0])
