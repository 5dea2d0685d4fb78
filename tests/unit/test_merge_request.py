"""All models as Markdown for a merge request."""

from __future__ import annotations

from qatbuild.report.failures import Failure
from qatbuild.report.markdown import LONGEST_COMMENT
from qatbuild.report.merge_request import markdown
from qatbuild.report.models import ModelReport
from tests.unit.test_report import gate, report

PASSED = ModelReport("good", report("good"), (), {})
REFUSED = ModelReport("bad", report("bad", gates=[gate("min | top1", passed=False)]), (), {})


def failed(label: str, error: str) -> ModelReport:
    return ModelReport(label, None, (), {"float": Failure(label, "float", error)})


def test_what_did_not_pass_comes_first_and_is_folded_out() -> None:
    lines = markdown([PASSED, REFUSED]).splitlines()
    assert lines[0] == "### qatbuild: 2 models, 1 not passed"
    assert [line.partition("|")[2].split("|")[0].strip() for line in lines[4:6]] == ["`bad`", "`good`"]
    assert "<details><summary><code>bad</code></summary>" in lines
    assert "| min \\| top1 | at most \\<1\\> & no more | 1 |" in lines
    assert "<code>good</code>" not in markdown([PASSED])


def test_an_error_cannot_end_the_block_that_it_stands_in() -> None:
    text = markdown([failed("net", "It fails.\n~~~\n# not a heading")])
    assert "~~~~text\nIt fails.\n~~~\n# not a heading\n~~~~" in text


def test_thousands_of_failures_still_fit_into_a_comment_and_what_is_left_out_is_counted() -> None:
    text = markdown([failed(f"net{number}", "It fails. " * 50) for number in range(3000)])
    assert len(text) < LONGEST_COMMENT
    assert "and 2900 more models: `doit report --format json` has all of them" in text
    assert "more models' details: " in text
