"""`doit why A B`: what A and B may be, how it answers, and what it says of results from elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.build import build
from qatbuild.engine.history.log import OriginLog
from qatbuild.engine.project import Project
from qatbuild.exchange.published import Record
from qatbuild.exchange.request import Request
from tests.builds.conftest import ToyProject
from tests.builds.test_planted_causes import LAYERS, NETS
from tests.builds.toolchain import ToyExecutor
from tests.hints import follows


@pytest.fixture
def checkouts(toy: ToyProject) -> tuple[ToyProject, ToyProject]:
    """Two built checkouts of one project, of which one has another learning rate."""
    toy.spec("net", model={"call": "nets:build"})
    (toy.root / "nets.py").write_text(NETS)
    (toy.root / "layers.py").write_text(LAYERS)
    other = ToyProject(toy.root.with_name(f"{toy.root.name}-other"))
    shutil.copytree(toy.root, other.root)
    other.spec("net", model={"call": "nets:build"}, train={**toy_train(), "learning_rate": {"initial": 0.2}})
    for each in (toy, other):
        result = build(Project.prepared(each.root), executor=ToyExecutor())
        assert result.ok
    return toy, other


def toy_train() -> dict[str, Any]:
    return {"steps": 100, "learning_rate": {"initial": 0.1}}


RATE = "/train/learning_rate/initial: 0.1 -> 0.2  (float)"


def test_another_checkout_is_named_by_its_folders_and_files(checkouts: tuple[ToyProject, ToyProject]) -> None:
    toy, other = checkouts
    for place in ("", "/build", "/build/net", "/build/net/evaluate.request.json"):
        done = toy.doit("why", "net", f"{other.root}{place}")
        assert done.returncode == 1, done.stderr
        assert done.stdout.splitlines()[2] == RATE, place
    shutil.rmtree(other.root / "build/.qatbuild")
    shutil.move(other.root / "build", toy.root / "from-ci")
    assert toy.doit("why", "net", "from-ci").stdout.splitlines()[2] == RATE  # From its records only.


def test_the_exit_status_is_that_of_diff_and_scripts_read_json(checkouts: tuple[ToyProject, ToyProject]) -> None:
    toy, other = checkouts
    same = toy.doit("why", "net:dataset", str(other.root))
    assert same.returncode == 0
    assert same.stdout.splitlines()[-1] == "They were made from the same."
    done = toy.doit("why", "net:float", str(other.root), "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert [answer["stage"], answer["equal"], len(answer["results"])] == ["float", False, 2]
    (cause,) = answer["causes"]
    assert cause["where"] == "/train/learning_rate/initial"
    assert [cause["former"], cause["now"], cause["stages"]] == [0.1, 0.2, ["float"]]


def test_errors_name_what_is_missing(checkouts: tuple[ToyProject, ToyProject]) -> None:
    toy, other = checkouts
    toy.spec("wide", variants={"a": {}, "b": {"input": {"mean": 1}}})
    cases = {
        ("net",): follows("doit why ") + "net:float ../other-checkout",
        ("net", "nett"): 'Did you mean "net"?',
        ("net", "net:flot"): 'Did you mean "float"?',
        ("net:float", "net:freeze"): follows("name results of the same stage"),
        ("net", "0123456789abcdef"): "There is no label and no result 0123456789abcdef",
        ("net", "wide@a"): follows("doit ") + "wide@a:evaluate",
        ("net", "wide"): follows("write one of them"),
        (str(other.root), f"{other.root}/build"): follows("doit why LABEL:STAGE "),
        ("net", "nets.py"): "There is no record of nets.py",
    }
    for arguments, text in cases.items():
        done = toy.doit("why", *arguments)
        assert done.returncode == 3, arguments
        assert text in done.stderr, arguments
    for arguments in (("net:float", "net:float"), ("net", "net"), ("net:float", str(other.root))):
        assert toy.doit("why", *arguments).returncode in {0, 1}
    assert toy.doit("wide@a:evaluate").returncode == 0
    assert toy.doit("why", "net", "wide@a").returncode == 1


def test_keys_are_named_by_enough_digits(checkouts: tuple[ToyProject, ToyProject]) -> None:
    toy, _ = checkouts
    log = OriginLog(toy.root / "build/.qatbuild/origins")
    key = Record.read(toy.root / "build/net/evaluate.request.json").request.key
    assert toy.doit("why", key[:8], "net").returncode == 0
    with log.path.open("a") as file:
        file.write(f"\n{key[:8]}{'0' * 56} 1 x.")
    done = toy.doit("why", key[:8], "net")
    assert follows("write more digits") in done.stderr
    assert toy.doit("why", key[:20], "net").returncode == 0


class AnotherProcessor(ToyExecutor):
    """Reads another dataset from the same file."""

    def text(self, request: Request) -> str:
        return super().text(request) + ("?" if request.stage == "dataset" else "")


def test_equal_requests_with_other_results_are_called_that(checkouts: tuple[ToyProject, ToyProject]) -> None:
    toy, other = checkouts
    other.spec("net", model={"call": "nets:build"})
    shutil.rmtree(other.root / "build")
    assert build(Project.prepared(other.root), executor=AnotherProcessor()).ok
    for stage in ("dataset", "float", "evaluate"):
        done = toy.doit("why", f"net:{stage}", str(other.root))
        assert done.returncode == 1
        assert done.stdout.splitlines()[2].startswith("equal requests made different results of dataset")
        assert len(done.stdout.splitlines()) == 3


def test_a_key_of_another_machine_is_explained_from_the_cache(
    checkouts: tuple[ToyProject, ToyProject], tmp_path: Path
) -> None:
    toy, other = checkouts
    for each in checkouts:
        (each.root / "pyproject.toml").write_text(f'[tool.qatbuild]\ncache = "{tmp_path}/cache"\n')
    (other.root / "layers.py").write_text(LAYERS.replace("*", "+"))
    (other.root / "specs/data.bin").write_text("other pixels")
    for each in (other, toy):
        assert build(Project.prepared(each.root), executor=ToyExecutor()).ok
    key = Record.read(other.root / "build/net/evaluate.request.json").request.key
    shutil.rmtree(other.root)
    for name in (key, key[:12]):
        done = toy.doit("why", "net", name)
        assert done.returncode == 1, done.stderr
        assert done.stdout.splitlines()[2:] == [
            "specs/data.bin changed  (dataset)",
            "code: layers changed  (export, float, quantize)",
            "    -    2      return images * size",
            "    +    2      return images + size",
            RATE,
            "/quantize/learning_rate/initial: 0.01 -> 0.02  (quantize)",
        ]


def test_gc_forgets_what_was_made_long_ago_and_is_gone(checkouts: tuple[ToyProject, ToyProject]) -> None:
    toy, _ = checkouts
    former = Record.read(toy.root / "build/net/evaluate.request.json").request.key
    toy.spec("net", model={"call": "nets:build"}, evaluate={"min_top1": 1})
    (toy.root / "layers.py").write_text(LAYERS.replace("*", "+"))
    build(Project.prepared(toy.root), executor=ToyExecutor())
    state = toy.root / "build/.qatbuild"
    texts = len(list((state / "code").iterdir()))
    assert toy.doit("why", former, "net").returncode == 1
    assert toy.doit("gc").returncode == 0
    assert toy.doit("why", former, "net").returncode == 1
    assert toy.doit("gc", "--age", "0").returncode == 0
    assert "no result" in toy.doit("why", former, "net").stderr
    assert len(OriginLog(state / "origins").rows) == 8
    assert len(list((state / "code").iterdir())) < texts
