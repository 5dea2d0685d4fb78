"""One float training, quantized in each way: the shipped variants of the digits, with the real toolchain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import REPOSITORY, Project, new_project

LABELS = [f"digits-variants@{name}" for name in json.loads(
    (REPOSITORY / "specs/digits-variants.json").read_text())["variants"]]  # fmt: skip


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """All variants, built."""
    project = new_project(tmp_path_factory.mktemp("variants") / "project")
    for name in ("digits", "digits-variants"):
        shutil.copy(REPOSITORY / f"specs/{name}.json", project.root / "specs")
    (project.root / "build.txt").write_text(project.build("digits-variants"))
    return project


def folders(project: Project, stage: str) -> list[Path]:
    return list((project.root / "build/shared").glob(f"{stage}-*"))


def test_all_variants_share_one_float_training(variants: Project) -> None:
    assert len(folders(variants, "float")) == 1
    assert len(folders(variants, "quantize")) == len(LABELS)


@pytest.mark.parametrize("label", LABELS)
def test_every_gate_of_a_variant_passes(variants: Project, label: str) -> None:
    report = variants.report(label)
    assert [gate["name"] for gate in report["gates"] if not gate["passed"]] == []
    assert report["top1"]["tflite"] >= 95
    assert report["agreement"]["top1_percent"] >= 98.5


@pytest.mark.parametrize("label", LABELS)
def test_input_and_output_are_bytes_of_the_scheme(variants: Project, label: str) -> None:
    report = variants.report(label)
    signed = label.endswith(("int8", "int8_per_channel", "ptq_percentile")) and not label.endswith("uint8")
    for end, scale in (("input", 1 / 255), ("output", 1 / 256)):
        tensor = report[end]
        assert (tensor["dtype"], tensor["zero_point"]) == (("int8", -128) if signed else ("uint8", 0))
        assert tensor["scale"] == pytest.approx(scale)


def test_ptq_trains_nothing(variants: Project) -> None:
    records = [json.loads((folder / "quantize.manifest.json").read_text()) for folder in folders(variants, "quantize")]
    assert sum(record["facts"]["steps"] == [0] for record in records) == 2
