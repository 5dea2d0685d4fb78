"""The key of a request."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.reason import Reason, changes
from qatbuild.exchange.request import Input, Request, Source

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


@pytest.mark.parametrize("text", ["", "[]", "null", "5", '"x"', "{}", '{"stage": "float", "settings": 5}'])
def test_any_other_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a request|Expecting value"):
        Request.from_json(text)


TABLES = {"33": {"nets.small": "a", "nets.gone": "b"}, "99": {"nets.small": "c", "nets.new": "d"}}


def texts(tables: dict[str, dict[str, str]] = TABLES, **fields: Any) -> list[str]:
    now = dataclasses.replace(REQUEST, **fields)
    return [reason.text for reason in changes(REQUEST, now, lambda digest: tables.get(digest, {}))]


def test_changed_setting_is_named_with_its_values() -> None:
    assert texts(settings={"train": {"steps": 10, "learning_rate": {"initial": 0.1}}}) == [
        'train.learning_rate: null -> {"initial":0.1}'
    ]
    assert texts(settings={"train": {"steps": 20}}) == ["train.steps: 10 -> 20"]


def test_changed_module_is_named() -> None:
    assert texts(code="99") == [
        "code: nets.gone is gone",
        "code: nets.new is new",
        "code: nets.small changed",
    ]


def test_changed_code_without_a_former_table_is_named_as_some_module() -> None:
    assert texts({}, code="99") == ["code: some module changed"]


def test_changed_file_package_input_and_threads_are_named() -> None:
    inside = {"data": Source(REQUEST.project / "data/x.tar.gz", "99")}
    assert texts(sources=inside) == ["data/x.tar.gz changed"]
    assert texts(sources={}) == [f"{REQUEST.sources['data'].path} is gone"]
    assert texts(toolchain={"tensorflow": "2.21.1"}) == ["tensorflow: 2.21.0 -> 2.21.1"]
    assert texts(inputs={"dataset": Input(Path("x"), "99")}) == ["the result of dataset changed"]
    assert texts(threads=4) == ["threads: 2 -> 4"]


def test_reason_is_plain_data() -> None:
    (reason,) = changes(REQUEST, dataclasses.replace(REQUEST, threads=4), lambda _: {})
    fields = {"kind": "threads", "where": "", "former": 2, "now": 4, "text": "threads: 2 -> 4"}
    assert reason.to_json() == fields
    assert Reason("never").text == "not built yet"
