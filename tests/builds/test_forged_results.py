"""Files that show or decide something are as they were made, or are made again."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from qatbuild.report.models import read_models
from tests.builds.conftest import ToyProject
from tests.unit.test_layer_table import row


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:50])


def forged(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"89.4", b"99.9"))


def renamed(file: Path) -> None:
    """Forges a name on a page."""
    file.write_bytes(file.read_bytes().replace(b"net", b"ten"))


def removed(file: Path) -> None:
    file.unlink()


def a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_dangling_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def a_link_to_a_forged_file(file: Path) -> None:
    file.rename(file.with_name("other.json"))
    file.symlink_to("other.json")
    forged(file.with_name("other.json"))


@pytest.fixture
def made(toy: ToyProject) -> ToyProject:
    """A model with a route, built twice, so that a build with nothing to do loads nothing."""
    (toy.root / "report.json").write_text(json.dumps({"layers": [row("conv1", "CONV_2D")]}))
    toy.spec("net", deploy={"litert": {}})
    toy.built()
    toy.built()
    return toy


HOWS = (emptied, truncated, forged, removed, a_fifo, a_dangling_link, a_link_to_a_forged_file)


def test_report_that_was_forged_is_made_again(made: ToyProject) -> None:
    report = made.root / "build/net/report.json"
    before = report.read_bytes()
    for how in HOWS:
        how(report)
        assert made.built() == ["evaluate"], how
        assert report.read_bytes() == before, how
        assert not report.is_symlink()


def test_report_that_was_forged_is_stale_for_commands_that_look(made: ToyProject) -> None:
    for name in ("report.json", "deploy/litert/route.json"):
        forged(made.root / "build/net" / name) if name == "report.json" else truncated(made.root / "build/net" / name)
        plan = made.doit("plan")
        assert f"{Path(name).name}: " in plan.stdout, plan.stderr
    done = made.doit("layers", "net")
    assert done.returncode == 3
    assert "is not as it was built" in done.stderr
    assert "hint: doit net" in done.stderr
    models = read_models(made.root / "build", {"net": ["litert"]})
    assert [(model.report, model.routes) for model in models] == [(None, ())]
    assert {stage: each.verdict for stage, each in models[0].failures.items()} == {
        "evaluate": "stale: report.json was edited",
        "deploy.litert": "stale: route.json was edited",
    }


def test_digest_of_a_forged_report_does_not_fit_its_record(made: ToyProject) -> None:
    report, record = (made.root / "build/net" / name for name in ("report.json", "evaluate.request.json"))
    before = sha256(report.read_bytes()).hexdigest()
    forged(report)
    record.write_text(record.read_text().replace(before, sha256(report.read_bytes()).hexdigest()))
    assert made.built() == ["evaluate"]
    fields = json.loads(record.read_text())
    del fields["measured"]  # A record of an earlier version.
    record.write_text(json.dumps(fields))
    assert made.built() == ["evaluate"]


def test_refused_model_is_shown_and_its_forged_report_is_not(made: ToyProject) -> None:
    build, labels = made.root / "build", {"net": ["litert"]}
    made.spec("net", deploy={"litert": {}}, train={"steps": 7, "learning_rate": {"initial": 0.1}})
    (made.root / "broken.txt").write_text("evaluate refuse")
    assert made.doit("-c").returncode != 0
    (model,) = read_models(build, labels)
    assert model.report is not None  # The record is that of the refused model, not of the one before.
    forged(build / "net/report.json")
    (model,) = read_models(build, labels)
    assert model.report is None
    assert model.failures["evaluate"].verdict == "stale: report.json was edited"


@pytest.mark.parametrize("names", [(), ("net",)])
def test_pages_that_were_removed_or_edited_are_put_back_by_a_build_with_nothing_to_do(
    made: ToyProject, names: tuple[str, ...]
) -> None:
    pages = [made.root / "build" / name for name in ("report.html", "junit.xml")]
    before = [page.read_bytes() for page in pages]
    for how in (removed, renamed, truncated):
        for page in pages:
            how(page)
        done = made.doit(*names)
        assert done.returncode == 0, done.stderr
        assert [page.read_bytes() for page in pages] == before, how
        assert "build/report.html\nbuild/junit.xml\n9 up to date" in done.stdout
        assert made.runs() == []
    assert made.doit(*names).stdout.startswith("9 up to date")
    truncated(made.root / "build/net/model.tflite")
    pages[1].unlink()
    assert "build/junit.xml\n1 built, 8 up to date" in made.doit(*names).stdout
    assert made.runs() == ["convert"]
    (made.root / "build/.qatbuild/record").unlink()
    pages[1].unlink()
    assert "build/junit.xml\n9 up to date" in made.doit(*names).stdout
    assert pages[1].read_bytes() == before[1]


def test_forged_files_of_the_engine_are_not_believed(made: ToyProject) -> None:
    page, state = made.root / "build/report.html", made.root / "build/.qatbuild"
    before = page.read_bytes()
    forged(state / "pages")
    page.unlink()
    made.built()
    assert page.read_bytes() == before
    made.spec("other", evaluate={"min_top1": 1})
    (made.root / "broken.txt").write_text("evaluate fail")
    assert made.doit("-c").returncode != 0
    record = state / "record"
    data = record.read_bytes()
    assert b'"others": ["other"]' in data
    made.runs()
    record.write_bytes(data.replace(b'"others": ["other"]', b'"others": []'))
    (made.root / "broken.txt").unlink()
    assert made.built() == ["evaluate"]
