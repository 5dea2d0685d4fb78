"""`doit diagnose` names the layer and the cause of twelve networks that are broken on purpose, each in its own way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.diagnosis.networks import BROKEN
from tests.e2e.conftest import Project

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def findings(broken: Project) -> dict[str, Any]:
    done = broken.doit("diagnose", "--format", "json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", BROKEN)
def test_the_worst_layer_and_its_cause_are_named(findings: dict[str, Any], name: str) -> None:
    worst = findings[name][0]
    assert (worst["layer"], worst["cause"]) == (BROKEN[name].layer, BROKEN[name].cause), findings[name]
    assert worst["fields"]


@pytest.mark.parametrize("name", BROKEN)
def test_the_gates_refuse_the_network(broken: Project, name: str) -> None:
    assert not all(gate["passed"] for gate in broken.report(name)["gates"])


def test_a_sound_network_has_no_findings(findings: dict[str, Any]) -> None:
    assert findings["sound"] == []


def test_the_text_says_what_is_wrong_and_what_to_change(broken: Project) -> None:
    text = broken.build("diagnose", "narrow", "sound")
    assert "  conv2 (CONV_2D): " in text
    assert "% of its values (0 .. " in text
    assert "are beyond its range (0 .. 0.2), which an override fixes." in text
    assert "    change: quantize.overrides\n" in text
    assert "sound\n  No layer loses more than rounding does.\n" in text
