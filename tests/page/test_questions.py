"""Ten questions that people have, each answered in at most three clicks from the first view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

MOST_CLICKS = 3
MINUS = "\N{MINUS SIGN}"


class Reader:
    """Someone who looks at the page, and whose clicks are counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    def click(self, place: Locator) -> None:
        place.click()
        self.clicks += 1

    def opens(self, label: str) -> None:
        self.click(self.page.locator(".models").get_by_role("link", name=label, exact=True))
        self.arrives(label)

    def arrives(self, title: str) -> None:
        """Waits for the view of this title: a new address is shown after the click that sets it."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(title)

    def answer(self, kind: str) -> list[str]:
        """A figure, and the model that has it."""
        return [self.page.locator(f"[data-answer={kind}] {part}").inner_text() for part in (".figure", ".which")]

    def section(self, title: str) -> str:
        return self.page.get_by_role("region", name=title, exact=True).first.inner_text()


@pytest.fixture
def reader(opened: Callable[..., Page], file: Path) -> Iterator[Reader]:
    someone = Reader(opened(file))
    yield someone
    assert someone.clicks <= MOST_CLICKS


def test_which_is_the_smallest_within_half_a_point(reader: Reader) -> None:
    assert reader.answer("smallest") == ["30 kB", "small"]


def test_which_is_the_smallest_within_a_whole_point(reader: Reader) -> None:
    reader.page.get_by_label("Near enough").fill("1")
    assert reader.answer("smallest") == ["12 kB", "tiny"]


def test_which_is_the_fastest_that_is_good_enough(reader: Reader) -> None:
    assert reader.answer("fastest") == ["0.2 ms", "quick"]


def test_which_model_was_refused_and_by_what(reader: Reader) -> None:
    reader.click(reader.page.get_by_role("button", name="refused", exact=True))
    assert "refused: max_accuracy_drop" in reader.page.locator(".models tbody").inner_text()


def test_which_layer_lost_it(reader: Reader) -> None:
    reader.opens("lossy")
    assert "Loses most: conv2 (8.5 dB alone)" in reader.section("Layers")


def test_why_a_layer_loses_and_what_to_change(reader: Reader) -> None:
    reader.opens("lossy")
    (row,) = reader.page.locator(".causes tbody tr").all_inner_texts()
    layer, left_db, cause, fields = row.split("\t")
    assert (layer, left_db, fields) == ("conv2", "8.5", "dataset, quantize.overrides")
    assert "the training examples that gave the range are unlike the test examples" in cause
    assert "doit cure lossy" in reader.section("Layers")


def test_which_classes_are_taken_for_each_other(reader: Reader) -> None:
    reader.opens("lossy")
    assert "owl taken for cat" in reader.section("Confusions")


def test_what_differs_between_two_models(reader: Reader) -> None:
    reader.click(reader.page.get_by_label("Compare wide"))
    reader.click(reader.page.get_by_label("Compare small"))
    reader.click(reader.page.get_by_role("button", name="Compare", exact=True))
    reader.arrives("Two models")
    assert "/train/steps\t2000\t1000" in reader.section("Spec")
    assert f"cat\t95.00\t80.00\t{MINUS}15.00" in reader.section("Accuracy by class")
    assert f"conv2\t38\t8.5\t{MINUS}29.5" in reader.section("Layers")


def test_what_changed_since_main(reader: Reader) -> None:
    reader.click(reader.page.get_by_role("link", name="What changed since main"))
    reader.arrives("1 changed")
    text = reader.page.locator("main").inner_text()
    assert "/train/steps\t500\t1000" in text
    assert "35,000\t30,000" in text


def test_what_changed_since_main_on_the_page_of_a_build_is_a_command_to_type(reader: Reader, plain_file: Path) -> None:
    reader.page.goto(plain_file.as_uri())
    reader.page.wait_for_selector("[data-ready]")
    reader.click(reader.page.get_by_role("link", name="What changed since main?"))
    reader.arrives("What changed since main?")
    assert "doit report --since main" in reader.page.locator("main").inner_text()
    assert "build/changes.html" in reader.page.locator("main").inner_text()


def test_where_the_time_of_a_build_went(reader: Reader) -> None:
    assert reader.answer("slowest") == ["45 s", "wide"]
    reader.click(reader.page.locator("[data-answer=slowest]").get_by_role("link"))
    reader.arrives("wide")
    assert "float\t40 s" in reader.section("Stages")


def test_how_to_feed_it(reader: Reader) -> None:
    reader.opens("small")
    assert "int8 [1, 8, 8, 3], scale 0.5, zero point -3" in reader.section("Inputs and outputs")


def test_what_it_was_made_from(reader: Reader) -> None:
    reader.opens("small")
    assert "tensorflow 2.21.0" in reader.section("Provenance")


def test_why_a_model_is_not_there(reader: Reader) -> None:
    reader.opens("lost")
    assert "hint: take smaller batches" in reader.section("Failures")
