"""The page about tasks: it names each task with its metrics, and its program detects what the meter detects."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.outputs import Anchors
from qatbuild.worker import tasks
from qatbuild.worker.tasks import anchors, boxes
from tests.docs.pages import BLOCKS, DOCS

pytestmark = pytest.mark.tf


def test_the_page_has_a_row_for_each_task() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| .* \| .* \| .* \|$", (DOCS / "tasks.md").read_text(), re.MULTILINE)
    assert sorted(rows) == tasks.names()


def test_the_program_of_the_page_detects_what_the_meter_does() -> None:
    (block,) = [block for block in BLOCKS if block.page == "tasks.md" and block.file == "reading.py"]
    page: dict[str, Any] = {}
    exec(block.text, page)
    layout = {"feature_maps": [[3, 5], [1, 2]], "scales": [0.3, 0.7], "aspect_ratios": [1, 2, 0.5]}
    centred = anchors.centred(Anchors.of(layout))
    assert page["anchors"](**layout) == pytest.approx(centred)
    random = np.random.default_rng(22)
    places, scores = random.normal(size=(len(centred), 4)), random.normal(size=(len(centred), 4))
    wanted = boxes.detections(places, scores, centred)
    got = sorted(page["detect"](places, scores, centred), key=lambda row: -row[1])
    assert [label for label, _, _ in got] == wanted.classes.tolist()
    assert np.array([box for _, _, box in got]) == pytest.approx(wanted.boxes, abs=1e-5)
