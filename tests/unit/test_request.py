"""The key of a request."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from qatbuild.rebuild import differences
from qatbuild.request import Input, Request, Source

REQUEST = Request(
    stage="float",
    settings={"train": {"steps": 10}},
    inputs={"dataset": Input(Path("a/dataset.manifest.json"), "11")},
    sources={"data": Source(Path("d"), "22")},
    toolchain={"tensorflow": "2.21.0"},
    code="33",
    threads=2,
    downloads=Path("l"),
    project=Path("p"),
    folder=Path("f"),
    work=Path("w"),
)


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "quantize"},
        {"settings": {"train": {"steps": 11}}},
        {"inputs": {"dataset": Input(Path("a/dataset.manifest.json"), "12")}},
        {"sources": {"data": Source(Path("d"), "23")}},
        {"toolchain": {"tensorflow": "2.21.1"}},
        {"code": "34"},
        {"threads": 3},
    ],
)
def test_key_changes_with_everything_that_can_influence_the_result(change: dict[str, Any]) -> None:
    assert dataclasses.replace(REQUEST, **change).key != REQUEST.key


def test_key_does_not_depend_on_folders_or_on_the_order_of_settings() -> None:
    moved = dataclasses.replace(REQUEST, project=Path("x"), downloads=Path("d"), folder=Path("y"), work=Path("z"))
    assert moved.key == REQUEST.key
    one, two = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert dataclasses.replace(REQUEST, settings=one).key == dataclasses.replace(REQUEST, settings=two).key


def test_request_survives_its_text() -> None:
    assert Request.from_json(REQUEST.to_json()) == REQUEST


def test_differences_name_field_and_values() -> None:
    now = dataclasses.replace(
        REQUEST, settings={"train": {"steps": 20}}, code="99", sources={"data": Source(Path("d"), "x")}
    )
    assert differences(REQUEST.identity, now.identity) == [
        "the code changed",
        "train.steps: 10 -> 20",
        "source data changed",
    ]
