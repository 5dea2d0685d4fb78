"""The page's own functions, each by itself in the browser: numbers in words, axes, the front, the graph's places."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from qatbuild.report.page.bundle import bundled
from qatbuild.report.page.document import SCRIPTS

FUNCTIONS = {
    "format.js": "age, date, duration, figure, milliseconds, plain, short, signed, size, whole",
    "lines.js": "lines",
    "ranks.js": "ranked",
    "scale.js": "scale",
    "scatter.js": "front",
    "table.js": "arranged",
}
NAMES = ", ".join(FUNCTIONS.values())
PROBE = "".join(f'import {{ {names} }} from "./{file}";\n' for file, names in FUNCTIONS.items())
MINUS = "\N{MINUS SIGN}"
ABSENT = "\N{EN DASH}"
NOW_S = 1_772_366_400
"""2026-03-01 12:00 UTC."""

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400

Evaluated = Callable[[str], Any]


@pytest.fixture(scope="module")
def evaluated(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluated]:
    """Evaluates an expression of the page's functions."""
    folder = Path(shutil.copytree(SCRIPTS, tmp_path_factory.mktemp("scripts") / "scripts"))
    (folder / "probe.js").write_text(f"{PROBE}window.page = {{ {NAMES} }};")
    page = browser.new_page()
    page.evaluate(bundled(folder, "probe.js"))
    yield lambda expression: page.evaluate(f"(() => {{ const {{ {NAMES} }} = window.page; return {expression}; }})()")
    page.close()


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("size(999)", "999 B"),
        ("size(99_950)", "100 kB"),
        ("size(999_400)", "999 kB"),
        ("size(1_234_567)", "1.23 MB"),
        ("size(3e9)", "3 GB"),
        ("signed(-0.126, true)", f"{MINUS}0.13"),
        ("signed(0.5)", "+0.5"),
        ("signed(-0.001, true)", "0"),
        ("figure(90.005, true)", "90.00"),
        ("figure(0.123456, false)", "0.1235"),
        ("short('=')", "no loss"),
        ("short(123.456, 3)", "123"),
        ("milliseconds(0.12345)", "0.123 ms"),
        ("whole(1234567.4)", "1,234,567"),
        ("duration(59.4)", "59 s"),
        ("duration(600)", "10 min"),
        ("duration(9000)", "2.5 h"),
        (f"age({NOW_S}, {NOW_S + 59})", "now"),
        (f"age({NOW_S}, {NOW_S + 20 * MINUTE_S})", "20 min"),
        (f"age({NOW_S}, {NOW_S + 30 * HOUR_S})", "30 h"),
        (f"age({NOW_S}, {NOW_S + 3 * DAY_S})", "3 days"),
        (f"age({NOW_S}, {NOW_S - 5})", "now"),
        (f"date({NOW_S})", "2026-03-01 12:00 UTC"),
        ("plain([1, 'a'])", '[1,"a"]'),
        ("plain('a')", "a"),
        ("plain()", ""),
    ],
)  # fmt: skip
def test_a_number_in_words(evaluated: Evaluated, expression: str, text: str) -> None:
    assert evaluated(expression) == text


def test_a_number_that_is_not_there_is_a_stroke(evaluated: Evaluated) -> None:
    functions = "[age, date, duration, figure, milliseconds, short, signed, size, whole]"
    assert evaluated(f"{functions}.map((text) => text(null))") == [ABSENT] * 9


def test_an_axis_has_round_ticks_inside_of_it_and_both_ends_of_the_data(evaluated: Evaluated) -> None:
    at, ticks = evaluated("((axis) => [[86, 91].map(axis.at), axis.ticks])(scale([86, 91], 0, 100))")
    assert ticks == [86, 88, 90]
    assert 0 < at[0] < 10
    assert 90 < at[1] < 100


def test_an_axis_of_one_value_has_room_on_both_sides(evaluated: Evaluated) -> None:
    assert evaluated("scale([5], 0, 100).at(5)") == 50
    assert evaluated("scale([5], 0, 100).ticks") == [4.98, 5, 5.02]
    assert evaluated("scale([0], 0, 100).ticks") == [-0.05, -0.025, 0, 0.025, 0.05]


def test_an_axis_is_logarithmic_from_one_power_of_ten_on(evaluated: Evaluated) -> None:
    assert evaluated("scale([10, 1000], 0, 100, { log: true }).ticks") == [10, 100, 1000]
    assert evaluated("scale([10, 100], 0, 100, { log: true }).at(Math.sqrt(1000))") == pytest.approx(50)
    assert evaluated("scale([10, 100], 0, 100, { log: true }).ticks") == [10, 20, 50, 100]
    assert evaluated("scale([10, 90], 0, 100, { log: true }).at(50)") == pytest.approx(50)
    assert evaluated("scale([0, 100], 0, 100, { log: true }).at(50)") == pytest.approx(50)


@pytest.mark.parametrize(
    ("steps", "ticks"), [([0], ["0"]), ([100], ["100"]), ([1, 2], ["1", "2"]), ([0, 1000], ["0", "500", "1,000"])]
)
def test_a_chart_of_steps_names_whole_steps_from_0_on(evaluated: Evaluated, steps: list[int], ticks: list[str]) -> None:
    chart = f"lines({{ title: 'Loss', series: [{{ name: 'a', kind: 0, points: {[[step, 0.5] for step in steps]} }}] }})"
    texts = "map((each) => each.textContent)"
    assert evaluated(f"[...{chart}.querySelectorAll('.tick[text-anchor=middle]')].{texts}") == ticks


def test_the_front_has_the_points_that_no_other_one_beats(evaluated: Evaluated) -> None:
    points = "[{x: 3, y: 9}, {x: 1, y: 5}, {x: 2, y: 5}, {x: 1, y: 4}, {x: 4, y: 8}, {x: 3, y: 7}]"
    assert evaluated(f"front({points}, 1).map(({{ x, y }}) => [x, y])") == [[1, 5], [3, 9]]
    assert evaluated(f"front({points}, -1).map(({{ x, y }}) => [x, y])") == [[1, 4]]


def test_rows_of_equal_and_of_missing_values_keep_their_order(evaluated: Evaluated) -> None:
    rows = "[{n: 'a', v: 2}, {n: 'b', v: null}, {n: 'c', v: 1}, {n: 'd', v: 2}, {n: 'e'}]"
    column = "{ number: true, value: (row) => row.v }"
    order = "arranged({}, {}, {}).map(({{ n }}) => n).join('')"
    assert evaluated(order.format(rows, column, 1)) == "cadbe"
    assert evaluated(order.format(rows, column, -1)) == "adcbe"


def test_names_are_sorted_as_people_count(evaluated: Evaluated) -> None:
    rows, column = "['net10', 'net9', 'Net1']", "{ value: (row) => row }"
    assert evaluated(f"arranged({rows}, {column}, 1)") == ["Net1", "net9", "net10"]


def test_a_layer_is_below_the_last_of_its_inputs_and_beside_others_of_its_depth(evaluated: Evaluated) -> None:
    layers = """[
        { at: 0, name: "conv1", inputs: ["image"] }, { at: 1, name: "conv2", inputs: ["conv1"] },
        { at: 2, name: "shortcut", inputs: ["conv1"] }, { at: 3, name: "conv3", inputs: ["conv2"] },
        { at: 4, name: "add", inputs: ["conv3", "shortcut", "add"] }, { at: 5, name: "last", inputs: null },
    ]"""
    places = evaluated(f"ranked({layers}).map(({{ row, column }}) => [row, column])")
    assert places == [[0, 0], [1, 0], [1, 1], [2, 0], [3, 0], [4, 0]]
