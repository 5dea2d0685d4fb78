"""What is easily wrong on a page and seen by no one: signs, order, sides, buttons that do nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from qatbuild.report.models import read_models
from qatbuild.report.page import write
from tests.page.project import Net, built, details, report
from tests.page.project import write as write_stages
from tests.page.test_browser import labels

Opened = Callable[..., Page]
MINUS = "\N{MINUS SIGN}"


@pytest.fixture
def page(opened: Opened, file: Path) -> Page:
    return opened(file)


def rows(place: Page | Locator, title: str) -> list[list[str]]:
    """The cells of the first table of a section."""
    table = place.get_by_role("region", name=title, exact=True).first.locator("table").first
    return [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]


def errors_written(folder: Path, name: str, error: dict[str, Any], **fields: Any) -> None:
    """Writes a model that is measured by an error, which is better if it is smaller."""
    metrics = {"mae": {**error, "better": "lower", "percent": False}}
    write_stages(folder, name, {**report(name, Net()), "metrics": metrics, **fields}, details(Net()))


@pytest.fixture
def errors(opened: Opened, tmp_path: Path) -> Page:
    """A page of two models of which the first has the smaller error and loses more, and a better one, refused."""
    errors_written(tmp_path, "good", {"float": 0.2, "fake_quant": 0.3, "tflite": 0.4}, bytes={"tflite": 10})
    errors_written(tmp_path, "bad", {"float": 0.7, "fake_quant": 0.7, "tflite": 0.8}, bytes={"tflite": 20})
    refused: dict[str, Any] = {"gates": [{"name": "agreement", "wanted": "99 %", "got": "9 %", "passed": False}]}
    refused |= {"bytes": {"tflite": 5}, "latency_ms": {"median": 0.01}}
    errors_written(tmp_path, "refused", {"float": 0.1, "fake_quant": 0.1, "tflite": 0.1}, **refused)
    write(tmp_path / "page.html", read_models(tmp_path, {"good": [], "bad": [], "refused": []}))
    return opened(tmp_path / "page.html")


def test_a_model_just_as_far_from_float_as_allowed_is_near_enough(page: Page) -> None:
    page.get_by_label("Near enough").fill("0.4")
    assert page.locator("[data-answer=smallest] .which").inner_text() == "small"
    page.get_by_label("Near enough").fill("0.2")
    assert page.locator("[data-answer=fastest] .which").inner_text() == "team/net@a'b"


def test_answers_are_models_that_passed_and_less_error_is_better(errors: Page) -> None:
    answers = {
        kind: errors.locator(f"[data-answer={kind}] .which") for kind in ("best", "smallest", "fastest", "loses")
    }
    errors.get_by_label("Near enough").fill("5")
    texts = {kind: place.inner_text() for kind, place in answers.items()}
    assert texts == {"best": "good", "smallest": "good", "fastest": "good", "loses": "good"}
    chart = errors.get_by_role("group", name="mae against size")
    heights = {
        name: float(chart.locator(f"circle.{name}").first.get_attribute("cy") or 0) for name in ("best", "refused")
    }
    assert heights["refused"] < heights["best"]
    errors.get_by_role("columnheader", name="Change").get_by_role("button").click()
    assert labels(errors) == ["good", "bad", "refused"]  # The largest loss first.


def test_less_error_is_a_gain_between_two_models(errors: Page) -> None:
    errors.goto(f"{errors.url}#?compare=bad&with=good")
    expect(errors.locator("#trail")).to_contain_text("bad and good")
    figures = errors.get_by_role("region", name="Figures", exact=True)
    assert figures.locator(".gain").all_inner_texts() == [f"{MINUS}0.4", f"{MINUS}10 B ({MINUS}50 %)"]
    assert figures.locator(".loss").count() == 0


def test_two_models_have_what_the_second_gains_and_loses(opened: Opened, file: Path) -> None:
    page = opened(file, "#?compare=wide&with=small")
    assert page.get_by_label("First").input_value() == "wide"
    assert page.get_by_label("Second").input_value() == "small"
    figures = page.get_by_role("region", name="Figures", exact=True)
    assert figures.locator(".gain").all_inner_texts() == [
        f"{MINUS}50,000 B ({MINUS}62.5 %)".replace(",", ""),
        f"{MINUS}0.6",
    ]
    assert figures.locator(".loss").all_inner_texts() == [f"{MINUS}1.20"]
    assert [row[0] for row in rows(page, "Spec")] == ["/train/steps"]
    assert [row[0] for row in rows(page, "Accuracy by class")] == ["cat", "owl", "dog"]
    assert rows(page, "Layers")[0][0] == "conv2"
    assert rows(page, "Layers")[-1][0] == "logits"
    page.get_by_role("button", name="Swap").click()
    expect(page.locator("#trail")).to_contain_text("small and wide")
    page.get_by_label("Second").select_option("quick")
    expect(page.locator("#trail")).to_contain_text("small and quick")
    page.get_by_label("First").select_option("tiny")
    expect(page.locator("#trail")).to_contain_text("tiny and quick")


def test_a_page_of_two_models_opens_with_them_side_by_side(opened: Opened, tmp_path: Path) -> None:
    models = built(tmp_path, {"a": Net(), "b": Net()})
    write(tmp_path / "page.html", models, compare=("a", "b"))
    page = opened(tmp_path / "page.html")
    expect(page.locator("#trail")).to_contain_text("a and b")
    assert page.get_by_text("The specs are equal.").is_visible()


def test_what_changed_has_both_values_in_their_order_and_nothing_that_is_equal(opened: Opened, file: Path) -> None:
    page = opened(file, "#?changes")
    results = page.locator("main table").nth(1).locator("tbody tr").all_inner_texts()
    assert results == ["top1\t88.30\t89.80\t+1.50", f"bytes\t35,000\t30,000\t{MINUS}5000"]
    page.get_by_text("1 layers changed").click()
    assert page.locator("details tbody tr").inner_text().split("\t")[2] == "saturated_percent 3 → 12.5"


def test_the_rows_that_are_picked_can_be_compared_if_they_are_two(page: Page) -> None:
    button = page.get_by_role("button", name="Compare", exact=True)
    for count, name in enumerate(("wide", "small", "tiny"), start=1):
        page.get_by_label(f"Compare {name}").check()
        assert button.is_enabled() == (count == 2)
    page.get_by_role("button", name="Clear").click()
    assert not button.is_visible()
    assert page.locator(".models input:checked").count() == 0


def test_gates_and_ages_sort(page: Page) -> None:
    page.get_by_role("columnheader", name="Gates").get_by_role("button").click()
    assert labels(page)[:3] == ["lost", "lossy", "wide"]
    page.get_by_role("columnheader", name="Agrees").get_by_role("button").click()
    assert page.locator("th[aria-sort]").all_inner_texts() == ["Agrees"]
    page.get_by_label("Age").select_option("last 30 days")
    assert labels(page) == []


def test_a_stroke_typed_into_a_field_is_a_letter(page: Page) -> None:
    page.get_by_label("Name").focus()
    page.keyboard.type("team/")
    assert page.get_by_label("Name").input_value() == "team/"
    page.get_by_role("link", name="Skip to the content").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_the_table_is_where_it_was_left(page: Page) -> None:
    page.set_viewport_size({"width": 800, "height": 400})
    page.evaluate("window.scrollTo(0, 500)")
    page.locator(".models").get_by_role("link", name="tiny").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("tiny")
    page.get_by_role("link", name="All models", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("7 models")
    assert page.evaluate("window.scrollY") > 300


def test_the_button_of_the_theme_goes_through_all_and_paper_closes_what_it_opened(
    opened: Opened, plain_file: Path
) -> None:
    page = opened(plain_file)
    assert page.title() == "qatbuild: 1 model"
    button = page.get_by_role("button", name="Theme")
    seen = [button.inner_text()]
    for _ in range(3):
        button.click()
        seen.append(button.inner_text())
    assert seen == ["Theme: auto", "Theme: light", "Theme: dark", "Theme: auto"]
    page.goto(f"{plain_file.as_uri()}#net")
    expect(page.get_by_role("heading", level=1)).to_have_text("net")
    closed = page.locator("details:not([open])")
    count = closed.count()
    page.evaluate("window.dispatchEvent(new Event('beforeprint')); window.dispatchEvent(new Event('afterprint'))")
    assert closed.count() == count > 0


def test_the_pointer_names_points_until_it_leaves_and_escape_lets_go(page: Page) -> None:
    chart = page.get_by_role("group", name="Accuracy against size")
    says, best = chart.locator("output"), chart.locator("circle.best").first
    assert chart.locator("circle.best").count() == 4
    chart.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    expect(says).to_contain_text("tiny")
    page.keyboard.press("Escape")
    expect(says).to_have_text("")
    place = best.bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + 2, place["y"] + 2)
    expect(says).to_contain_text("tiny")
    page.mouse.move(place["x"] + 60, place["y"] + 60)
    expect(says).to_have_text("")
    page.mouse.move(place["x"] + 2, place["y"] + 2)
    page.mouse.move(place["x"], place["y"] + 800)
    expect(says).to_have_text("")


def test_curves_name_the_nearest_step_until_the_pointer_leaves(opened: Opened, file: Path) -> None:
    page = opened(file, "#small")
    chart = page.locator(".lines").first
    assert page.locator(".lines svg").nth(1).get_attribute("aria-label") == (
        "Validation top1: float training from 80 to 91 in 1,000 steps"
    )
    assert chart.locator("circle.dot").count() == 3
    assert not [text for text in chart.locator(".tick").all_text_contents() if text.startswith("-")]
    chart.scroll_into_view_if_needed()
    place = chart.locator("circle.dot").nth(1).bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + 3, place["y"] + 3)
    expect(chart.locator("output")).to_have_text("float training 0.5 at 500")
    expect(chart.locator(".guide")).to_have_attribute("visibility", "visible")
    page.mouse.move(place["x"], place["y"] - 400)
    expect(chart.locator(".guide")).to_have_attribute("visibility", "hidden")


def test_the_graph_is_chosen_by_mouse_and_scrolls_to_what_is_chosen(opened: Opened, file: Path) -> None:
    page = opened(file, "#small")
    page.locator('[data-layer="add"]').click()
    assert page.locator(".layer h3").inner_text() == "add"
    grades = page.locator("g.node").evaluate_all("nodes => nodes.map((node) => node.dataset.grade)")
    assert grades == ["best", "worst", "best", "best", "best"]
    page.get_by_label("Colour").select_option("Saturated values")
    grades = page.locator("g.node").evaluate_all("nodes => nodes.map((node) => node.dataset.grade)")
    assert grades == ["best", "worst", "best", "best", "best"]
    assert page.locator("#worst-layer").inner_text() == "conv2"
    page.get_by_text("All layers as a table").click()
    table = page.locator("details table").filter(has_text="dB alone").locator("tbody tr td:first-child")
    assert table.all_inner_texts() == ["conv2", "conv1", "shortcut", "add", "logits"]
    page.locator(".graph").evaluate("graph => { graph.style.maxHeight = '60px'; }")
    page.locator(".graph").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".graph").evaluate("graph => graph.scrollTop") > 0


def test_a_layer_without_loss_is_the_best_grade(opened: Opened, tmp_path: Path) -> None:
    lossless = report("net", Net())
    for row in lossless["layers"]:
        row["sqnr_db"]["alone"] = None
    about = details(Net())
    about["layers"]["shape"] = {"operator": "RESHAPE", "inputs": ["logits"]}
    write_stages(tmp_path, "net", lossless, about)
    write(tmp_path / "page.html", read_models(tmp_path, {"net": []}))
    page = opened(tmp_path / "page.html", "#net")
    assert page.locator("g.node").first.get_attribute("data-grade") == "best"
    assert page.locator("g.node .value").first.text_content() == "no loss"
    assert page.locator("g.node").last.get_attribute("data-grade") == "unknown"
    assert page.locator(".layer h3").inner_text() == "logits"  # Not the layer that was not measured.


def test_a_histogram_names_its_grid(opened: Opened, file: Path) -> None:
    page = opened(file, "#small")
    says = page.locator(".histogram svg").evaluate_all("all => all.map((each) => each.getAttribute('aria-label'))")
    assert says == [
        "Weights: 256 values in steps of 0.002 to 0.004, by channel; 98 % of the grid's range used",
        "Activations: 256 values in steps of 0.02; 100 % of the grid's range used",
    ]
    first, last = (
        page.locator(".layer .histogram")
        .nth(1)
        .locator(".bar")
        .evaluate_all("bars => [bars[0], bars.at(-1)].map((bar) => bar.getAttribute('class'))")
    )
    assert (first, last) == ("bar outside", "bar outside")  # The grid is 0 .. 5.1.


def test_a_grid_of_uint8_begins_at_its_zero_point(opened: Opened, tmp_path: Path) -> None:
    about = details(Net())
    for layer in about["layers"].values():
        layer["activations"] |= {"zero_point": 50, "minimum": -9.0, "maximum": 1.55}
    write_stages(tmp_path, "net", report("net", Net(scheme="uint8")), about, Net(scheme="uint8"))
    write(tmp_path / "page.html", read_models(tmp_path, {"net": []}))
    histogram = opened(tmp_path / "page.html", "#net").locator(".layer .histogram").nth(1)
    assert histogram.get_by_text("50 % of the grid's range used").is_visible()
    bars = histogram.locator(".bar")
    first, last = bars.evaluate_all("bars => [bars[0], bars.at(-1)].map((bar) => bar.getAttribute('class'))")
    assert (first, last) == ("bar outside", "bar")  # The grid is -1 .. 4.1.


def test_numbers_of_a_model_stand_where_they_belong(opened: Opened, file: Path) -> None:
    page = opened(file, "#wide")
    assert rows(page, "Figures") == [["top1", "91.10", "91.00", "91.00", f"{MINUS}0.10"]]
    assert page.locator("td.number").first.evaluate("cell => getComputedStyle(cell).textAlign") == "right"
    bars = page.get_by_role("region", name="Figures", exact=True).locator(".bars .fill")
    assert [bar.evaluate("bar => bar.style.width") for bar in bars.all()] == ["100%", "97.5%", "20%"]
    stages = page.get_by_role("region", name="Stages", exact=True)
    assert rows(page, "Stages")[1] == ["float", "40 s", "\n", "268 MB", "built here", "AMD EPYC"]
    shares = stages.locator(".fill").evaluate_all("bars => bars.map((bar) => bar.style.width)")
    assert shares == ["2.5%", "100%", *["2.5%"] * 4]
    assert rows(page, "Gates")[0] == ["fully integer", "int8 only", "int8 only", "passed"]


def test_confusions_have_the_right_answers_on_the_diagonal_and_the_worst_class_first(
    opened: Opened, file: Path
) -> None:
    page = opened(file, "#lossy")
    assert rows(page, "Gates") == [["max_accuracy_drop", "at most 1 point", "20 points", "REFUSED"]]
    matrix = page.locator(".confusion tbody tr")
    assert [row.locator("td").nth(at).get_attribute("class") for at, row in enumerate(matrix.all())] == ["right"] * 3
    shares = page.locator(".confusion .wrong").evaluate_all(
        "cells => cells.map((cell) => cell.style.getPropertyValue('--share'))"
    )
    assert shares == ["41%", "50%", "31%"]
    bars = page.get_by_role("region", name="Confusions", exact=True).locator(".bars > span:not([class])")
    assert bars.all_inner_texts() == ["dog", "cat", "owl"]


def test_sections_and_other_models_are_one_click_away(opened: Opened, file: Path) -> None:
    page = opened(file, "#small")
    page.get_by_role("navigation", name="Sections").get_by_role("button", name="Spec").click()
    assert page.evaluate("[document.activeElement.tagName, document.activeElement.textContent]") == ["H2", "Spec"]
    page.get_by_label("Compare with").select_option("tiny")
    expect(page.locator("#trail")).to_contain_text("small and tiny")


def test_a_page_that_is_too_large_says_what_it_leaves_out(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[write.__module__], "MOST_BYTES", 0)
    write(tmp_path / "page.html", built(tmp_path, {"net": Net()}))
    page = opened(tmp_path / "page.html", "#net")
    assert page.get_by_text("A page of 1 models has no histograms: doit report LABEL makes one").is_visible()
    assert page.locator(".histogram").count() == 0
    assert page.get_by_text("names the causes, and what to change").is_visible()


def test_more_causes_than_are_shown_are_counted(opened: Opened, tmp_path: Path) -> None:
    many = report("net", Net())
    many["layers"] = [{**many["layers"][0], "name": f"layer{at}", "position": at} for at in range(7)]
    write_stages(tmp_path, "net", many, {})
    write(tmp_path / "page.html", read_models(tmp_path, {"net": []}))
    page = opened(tmp_path / "page.html", "#net")
    assert page.locator(".causes tbody tr").count() == 5
    assert page.get_by_text("doit diagnose net --format json names 2 more.").is_visible()


def test_a_long_table_is_filled_as_it_is_scrolled_and_whole_on_paper(opened: Opened, tmp_path: Path) -> None:
    write(tmp_path / "page.html", built(tmp_path, {f"net{at}": Net(bytes=1000 + at) for at in range(200)}))
    page = opened(tmp_path / "page.html", viewport={"width": 1000, "height": 500})
    assert len(labels(page)) == 60
    page.locator(".more").scroll_into_view_if_needed()
    expect(page.locator(".models tbody tr").nth(100)).to_be_attached()
    page.get_by_label("Name").fill("net")
    assert len(labels(page)) < 200
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert len(labels(page)) == 200
