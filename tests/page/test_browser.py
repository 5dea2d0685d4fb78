"""The page in a real browser: sorting and filtering by mouse and keyboard, charts, themes, paper, hostile names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from qatbuild.report.failures import Failure
from qatbuild.report.models import read_models
from qatbuild.report.page import write
from tests.page.conftest import FAILURES, NETS
from tests.page.project import LAYERS, Net, built, report
from tests.page.project import write as write_stages

Opened = Callable[..., Page]
ROUTE_AND_TRAINING = (("net", "deploy.c_array"), ("old", "float"))


def labels(page: Page) -> list[str]:
    """The labels of the table, from the top."""
    return page.locator(".models tbody tr td:nth-child(2)").all_inner_texts()


@pytest.fixture
def page(opened: Opened, file: Path) -> Page:
    return opened(file)


def test_all_models_are_listed_in_their_order(page: Page) -> None:
    assert labels(page) == [*NETS, "lost"]
    assert page.title() == "qatbuild: 7 models"


def test_a_click_on_a_head_sorts_and_another_one_reverses(page: Page) -> None:
    head = page.get_by_role("columnheader", name="Bytes")
    head.get_by_role("button").click()
    assert labels(page)[:3] == ["tiny", "lossy", "small"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    assert labels(page)[:2] == ["wide", "quick"]
    assert labels(page)[-1] == "lost"  # Without a figure it comes last in both directions.
    assert head.get_attribute("aria-sort") == "descending"


def test_the_keyboard_sorts_and_filters(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("small")
    assert labels(page) == ["small"]
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    page.get_by_role("columnheader", name="Latency").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert labels(page)[0] == "quick"
    page.keyboard.press("Space")
    assert labels(page)[0] == "wide"


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("Name", "TEAM a'b", ["team/net@a'b"]),
        ("Metric no worse than", "89.85", ["wide", "quick"]),
        ("kB at most", "30", ["small", "tiny", "lossy"]),
        ("kB at most", "29.9", ["tiny", "lossy"]),
        ("ms at most", "0.4", ["tiny", "quick"]),
    ],
)
def test_fields_filter(page: Page, field: str, value: str, left: list[str]) -> None:
    page.get_by_label(field).fill(value)
    assert labels(page) == left
    assert page.locator(".count").inner_text() == f"{len(left)} of 7 models"
    page.get_by_label(field).fill("")
    assert len(labels(page)) == 7


def test_scheme_age_and_gates_filter(page: Page) -> None:
    page.get_by_label("Scheme").select_option("uint8")
    assert labels(page) == ["tiny"]
    page.get_by_label("Scheme").select_option("all")
    page.get_by_role("button", name="refused", exact=True).click()
    assert labels(page) == ["lossy"]
    page.get_by_role("button", name="failed", exact=True).click()
    assert labels(page) == ["lossy", "lost"]
    for name in ("refused", "failed"):
        page.get_by_role("button", name=name, exact=True).click()
    page.get_by_label("Age").select_option("last day")
    assert labels(page) == []


def test_age_sorts_the_latest_build_first(opened: Opened, tmp_path: Path) -> None:
    nets = {name: Net(finished=f"2026-0{month}-01T12:00:00+0000") for name, month in (("b", 4), ("c", 3), ("a", 5))}
    write(tmp_path / "page.html", built(tmp_path, nets, FAILURES))
    page = opened(tmp_path / "page.html")
    head = page.get_by_role("columnheader", name="Age")
    head.get_by_role("button").click()
    assert labels(page) == ["a", "b", "c", "lost"]
    head.get_by_role("button").click()
    assert labels(page) == ["c", "b", "a", "lost"]


def test_a_failure_of_a_route_alone_does_not_make_the_results_old(opened: Opened, tmp_path: Path) -> None:
    failures = {f"{label}:{stage}": Failure(label, stage, "No space.") for label, stage in ROUTE_AND_TRAINING}
    write(tmp_path / "page.html", built(tmp_path, {"net": Net(), "old": Net()}, failures))
    for label, is_old in (("net", False), ("old", True)):
        page = opened(tmp_path / "page.html", f"#{label}")
        assert page.get_by_text("No space.").is_visible()
        assert page.get_by_text("The results below are of an earlier build.").is_visible() == is_old


def test_points_of_the_front_name_themselves(page: Page) -> None:
    front = set(page.locator(".scatter").first.locator(".name").all_inner_texts())
    names = page.locator(".scatter").first.locator(".name").all_text_contents()
    assert set(names) | front >= {"tiny", "small", "wide"}
    assert "lossy" not in names


def test_arrow_keys_walk_through_the_points_and_enter_opens_a_model(page: Page) -> None:
    chart = page.get_by_role("group", name="Accuracy against size")
    chart.focus()
    page.keyboard.press("ArrowRight")
    expect(chart.locator("output")).to_have_text("tiny 86 · 12 kB · on the front")
    page.keyboard.press("ArrowRight")
    expect(chart.locator("output")).to_have_text("lossy 70 · 29 kB · refused")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("lossy")


def test_the_pointer_names_a_point_and_a_click_opens_it(page: Page) -> None:
    chart = page.get_by_role("group", name="Accuracy against latency")
    point = chart.locator("circle.point.refused")
    box = point.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    expect(chart.locator("output")).to_contain_text("lossy")
    page.mouse.click(box["x"] + 2, box["y"] + 2)
    expect(page.get_by_role("heading", level=1)).to_have_text("lossy")


def test_a_model_has_curves_confusions_layers_stages_and_provenance(opened: Opened, file: Path) -> None:
    page = opened(file, "#small")
    titles = page.locator("main h2").all_inner_texts()
    assert titles == [
        "Figures", "Gates", "Layers", "Training", "Confusions", "Stages", "Runtimes", "Latency", "Inputs and outputs",
        "Spec", "Provenance",
    ]  # fmt: skip
    assert page.locator(".lines").count() == 3
    picture = page.locator(".worst img").first
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 16
    assert page.locator(".confusion .right").all_inner_texts() == ["80", "93", "88"]
    assert page.get_by_text("cannot compute: ADD of int16").is_visible()


def test_the_graph_shows_the_worst_layer_and_arrow_keys_choose_others(opened: Opened, file: Path) -> None:
    page = opened(file, "#small")
    nodes = page.locator("g.node")
    assert nodes.count() == len(LAYERS)
    assert page.locator('[data-layer="conv2"]').get_attribute("data-grade") == "worst"
    assert page.locator(".layer h3").inner_text() == "conv2"
    assert page.locator(".layer .histogram").count() == 2
    assert page.locator("path.edge").count() == 5
    page.locator(".graph").focus()
    page.keyboard.press("ArrowUp")
    assert page.locator(".layer h3").inner_text() == "conv1"
    page.get_by_label("Colour").select_option("Saturated values")
    assert page.locator('[data-layer="conv2"] .value').text_content() == "12.5 %"


def test_values_outside_of_the_grid_are_marked(opened: Opened, file: Path) -> None:
    page = opened(file, "#small")
    assert page.locator(".layer .bar.outside").count() > 5  # The activations' grid ends at 5.1, their values at 9.


def test_a_hostile_name_is_only_a_name(opened: Opened, file: Path) -> None:
    page = opened(file)
    page.get_by_role("link", name="team/net@a'b").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("team/net@a'b")
    assert page.title() == "team/net@a'b · qatbuild"
    assert page.get_by_text("<img src=x onerror=").is_visible()
    assert page.locator("main img[src=x]").count() == 0


def test_an_address_of_no_model_shows_all(opened: Opened, file: Path) -> None:
    for address in ("#gone", "#%E0%A4%A", "#?compare=small&with=gone"):
        assert opened(file, address).get_by_role("heading", level=1).inner_text() == "7 models"


def test_back_returns_to_the_table_as_it_was(page: Page) -> None:
    page.get_by_label("Name").fill("small")
    page.locator(".models").get_by_role("link", name="small").click()
    page.wait_for_selector("text=Provenance")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("7 models")
    assert labels(page) == ["small"]


def test_the_theme_follows_the_system_until_one_is_chosen(opened: Opened, file: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    dark, light = opened(file, color_scheme="dark"), opened(file, color_scheme="light")
    assert dark.evaluate(background) != (bright := light.evaluate(background))
    dark.get_by_role("button", name="Theme").click()
    assert dark.evaluate(background) == bright
    dark.reload()
    dark.wait_for_selector("[data-ready]")
    assert dark.get_by_role("button", name="Theme").inner_text() == "Theme: light"


@pytest.mark.parametrize("address", ["", "#small", "#?compare=small&with=lossy", "#?changes"])
def test_a_narrow_page_does_not_scroll_sideways(opened: Opened, file: Path, address: str) -> None:
    page = opened(file, address, viewport={"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("width_px", [1100, 1200, 1440])
def test_every_column_of_the_table_is_seen_on_a_small_screen(opened: Opened, file: Path, width_px: int) -> None:
    page = opened(file, viewport={"width": width_px, "height": 800})
    assert page.locator(".models").evaluate("table => table.scrollWidth - table.parentElement.clientWidth") <= 0
    assert page.get_by_text("refused: max_accuracy_drop").bounding_box()["x"] < width_px - 60  # type: ignore[index]


def test_a_network_that_only_rounds_has_no_causes(opened: Opened, plain_file: Path) -> None:
    page = opened(plain_file, "#net")
    assert page.get_by_text("No layer loses more than rounding to 8 bits does.").is_visible()
    assert page.locator(".causes").count() == 0


def test_on_paper_everything_is_open_and_controls_are_gone(opened: Opened, file: Path) -> None:
    page = opened(file, "#small")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert not page.get_by_role("button", name="Theme").is_visible()
    assert page.get_by_text("/train/steps").is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_without_javascript_the_page_says_where_the_figures_are(browser: Browser, file: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(file.as_uri())
    assert "build/LABEL/report.json" in page.locator("main").inner_text()
    page.context.close()


def test_models_of_other_tasks_have_their_own_metric(opened: Opened, tmp_path: Path) -> None:
    angle = report("angle", Net())
    angle["metrics"] = {"mae": {"float": 0.5, "fake_quant": 0.6, "tflite": 0.7, "better": "lower", "percent": False}}
    without = report("unlabelled", Net()) | {"metrics": {}, "layers": []}
    without["agreement"]["top1_percent"] = None
    for each in (angle, without, report("classes", Net()), report("more", Net())):
        write_stages(tmp_path, each["label"], each, {})
    write(tmp_path / "page.html", read_models(tmp_path, {"angle": [], "classes": [], "more": [], "unlabelled": []}))
    page = opened(tmp_path / "page.html")
    assert page.get_by_role("combobox", name="Metric").input_value() == "top1"  # That of the most models.
    page.get_by_role("combobox", name="Metric").select_option("mae")
    assert page.locator("[data-answer=loses] .figure").inner_text() == "+0.2"
    page.get_by_label("Metric no worse than").fill("0.7")
    assert labels(page) == ["angle"]
    assert page.get_by_role("heading", name="mae against size").is_visible()
    page.goto(f"{(tmp_path / 'page.html').as_uri()}#unlabelled")
    expect(page.get_by_role("heading", level=1)).to_have_text("unlabelled")
    assert page.locator(".tiles .figure").nth(2).inner_text() == "2"
