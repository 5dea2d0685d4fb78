"""`doit verify` and `doit sign`: every byte of a model, from its papers and .tflite back to its dataset."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.papers.chain import read_chain
from qatbuild.engine.papers.signature import signed
from qatbuild.engine.papers.verification import Model, Verifier, check_papers
from qatbuild.engine.papers.writing import texts
from qatbuild.engine.project import Everything, Project
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.exchange.errors import ArtifactError
from tests.builds.conftest import ToyProject, toy_at
from tests.hints import follows


class Keys(NamedTuple):
    """Files of one key."""

    private: Path
    public: Path

    @classmethod
    def new(cls, folder: Path, password: bytes = b"") -> Keys:
        """Makes a key below a folder."""
        key, keys = Ed25519PrivateKey.generate(), cls(folder / "private.pem", folder / "public.pem")
        locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        keys.private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked))
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        keys.public.write_bytes(key.public_key().public_bytes(pem, form))
        return keys


def home(toy: ToyProject) -> Path:
    return toy.root / "build/net"


def verify(toy: ToyProject) -> dict[str, Any]:
    """What `doit verify --json` says of the model."""
    done = toy.doit("verify", "--json", "net")
    assert "Traceback" not in done.stderr, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert model["ok"] == (done.returncode == 0)
    return dict(model)


def verifier(toy: ToyProject) -> Callable[[], object]:
    """Returns a function that verifies the model in this process."""
    project = Project.at(toy.root)
    loaded, code = LoadedProject.load(project, Everything()), Rebuilder.of(toy.root, project.build, 1).code
    planned = {name: loaded.plan.stages[id_] for name, id_ in loaded.plan.labels["net"].items()}
    model = Model("net", "net", planned, loaded.abouts["net"])
    return lambda: Verifier(toy.root, project.build, code.digest).verify(model, None)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    """A model that tests damage and mend again."""
    toy = toy_at(tmp_path_factory.mktemp("verify"))
    toy.spec("net", deploy={"c_array": {}})
    toy.built()
    return toy


def flipped(file: Path, places: range | None = None) -> Iterator[int]:
    """Flips one bit of one byte of a file after the other; each is mended before the next."""
    data = file.read_bytes()
    with file.open("r+b", buffering=0) as opened:
        for place in places or range(len(data)):
            os.pwrite(opened.fileno(), bytes([data[place] ^ 1 << place % 8]), place)
            yield place
            os.pwrite(opened.fileno(), data[place : place + 1], place)


def test_a_model_is_verified_back_to_its_data(built: ToyProject) -> None:
    done = built.doit("verify", "net")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("net: 11 files of 9 stages verified, ")
    assert "not compared" not in done.stdout


def test_every_flipped_byte_of_the_papers_is_noticed(built: ToyProject, tmp_path: Path) -> None:
    keys = Keys.new(tmp_path)
    derived = texts(
        read_chain("net", home(built)), LoadedProject.load(Project.at(built.root), Everything()).abouts["net"]
    )
    envelope = home(built) / "provenance.intoto.jsonl"
    envelope.write_text(signed(derived["provenance.json"].encode(), keys.private))
    assert check_papers("net", home(built), derived, keys.public)
    unnoticed = []
    for name in ("bom.json", "provenance.json", envelope.name):
        for place in flipped(home(built) / name):
            try:
                check_papers("net", home(built), derived, keys.public)
                unnoticed.append((name, place))
            except ArtifactError:
                continue
    envelope.unlink()
    assert unnoticed == []


def test_a_flipped_byte_of_any_artifact_or_manifest_is_noticed_and_named(built: ToyProject) -> None:
    check = verifier(built)
    check()
    artifacts = [path for path in (built.root / "build").rglob("*") if path.is_file()]
    names = {"log", "doit.db", "runs.txt", "report.html", "junit.xml"}
    artifacts = [path for path in artifacts if not names & {path.name} and ".qatbuild" not in path.parts]
    artifacts = [path for path in artifacts if not path.name.endswith(".request.json")]
    assert len(artifacts) >= 20
    for file in artifacts:
        for _ in flipped(file, range(0, file.stat().st_size, max(1, file.stat().st_size // 3))):
            with pytest.raises(ArtifactError) as caught:
                check()
            facts = dict(caught.value.facts)
            sealed = file.with_name(file.name.replace(".manifest.", ".request."))  # Of the two, either may be wrong.
            assert Path(facts["file"]) in {file, sealed}, facts
            assert {"stage", "expected", "actual"} <= set(facts) or "reason" in facts


def test_a_flipped_digest_in_a_record_is_noticed(built: ToyProject) -> None:
    check = verifier(built)
    for record in (built.root / "build").rglob("*.request.json"):
        text = record.read_bytes()
        for word in (b'"code": "', b'"seal": "', b'"threads": '):
            place = text.index(word) + len(word)
            for _ in flipped(record, range(place, place + 1)):
                with pytest.raises(ArtifactError) as caught:
                    check()
                assert Path(dict(caught.value.facts)["file"]) == record


@pytest.mark.parametrize(
    ("stage", "edit"),
    [
        ("dataset", lambda root: (root / "specs/data.bin").write_text("other")),
        ("float", lambda root: ToyProject(root).spec("net", train={"steps": 7, "learning_rate": {"initial": 0.1}})),
        ("check", lambda root: (root / "nets.py").write_text("def build(images, classes, *, training): return 1")),
    ],
)
def test_other_data_another_spec_and_other_code_are_named(
    toy: ToyProject, stage: str, edit: Callable[[Path], object]
) -> None:
    network = {"model": {"call": "nets:build"}} if stage == "check" else {}
    (toy.root / "nets.py").write_text("def build(images, classes, *, training): return 0")
    toy.spec("net", **network)
    toy.built()
    edit(toy.root)
    model = verify(toy)
    assert not model["ok"]
    assert {"stage", "file", "expected", "actual"} <= set(model["facts"])
    toy.built()
    assert verify(toy)["ok"]


def test_data_that_are_not_here_are_said_to_be(toy: ToyProject) -> None:
    toy.built()
    (toy.root / "specs/data.bin").unlink()
    model = verify(toy)
    assert model["ok"]
    assert "is not on this machine" in model["absent"]["data of dataset"]


def test_a_project_that_was_moved_is_verified_where_it_is(toy: ToyProject, tmp_path: Path) -> None:
    toy.built()
    moved = ToyProject(tmp_path.parent / f"{tmp_path.name}-moved")
    shutil.move(toy.root, moved.root)
    try:
        assert verify(moved)["ok"]
        (moved.root / "specs/data.bin").write_text("other")
        assert not verify(moved)["ok"]
    finally:
        shutil.move(moved.root, toy.root)


def test_a_restored_model_has_equal_papers_and_says_what_stayed_in_the_cache(tmp_path: Path) -> None:
    machines = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        toy = toy_at(tmp_path / name)
        settings = f'[tool.qatbuild]\nstore = "{tmp_path / name}.store"\ncache = "{tmp_path / "cache"}"\n'
        (toy.root / "pyproject.toml").write_text(settings)
        machines.append((toy, toy.built()))
    (one, ran), (two, ran_there) = machines
    assert (len(ran), ran_there) == (8, [])
    for name in ("bom.json", "provenance.json"):
        assert (home(one) / name).read_bytes() == (home(two) / name).read_bytes()
    model = verify(two)
    assert model["ok"]
    assert model["absent"]["artifacts of float"] == "they stayed in the cache"
    assert verify(one)["absent"] == {}


def test_a_damaged_model_is_mended_as_the_hint_says(toy: ToyProject) -> None:
    toy.built()
    before = (home(toy) / "model.tflite").read_bytes()
    (home(toy) / "model.tflite").write_bytes(before[:-1])
    model = verify(toy)
    assert model["facts"]["stage"] == "convert"
    assert toy.built(*model["hint"].removeprefix("doit ").split()) == ["convert"]
    assert verify(toy)["ok"]


def test_missing_papers_are_written_as_the_hint_says(toy: ToyProject) -> None:
    toy.built()
    (home(toy) / "bom.json").unlink()
    model = verify(toy)
    assert model["facts"]["actual"] == "missing"
    assert model["hint"] == follows("doit {}:evaluate").format("net")
    assert toy.built("net:evaluate") == []
    assert verify(toy)["ok"]


def test_a_model_that_is_not_built_is_an_expected_error(toy: ToyProject) -> None:
    done = toy.doit("verify", "net")
    assert done.returncode == 1
    assert "A manifest cannot be read." in done.stderr
    assert "hint: doit net" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_signature_is_of_one_model_and_one_key(toy: ToyProject, tmp_path: Path) -> None:
    toy.built()
    keys, others = Keys.new(tmp_path), Keys.new(tmp_path / "specs")
    done = toy.doit("verify", "net", "--key", str(keys.public))
    assert done.returncode == 1
    assert "A model is not signed" in done.stderr
    done = toy.doit("sign", "net")
    assert done.returncode != 0
    assert follows("doit sign --key PRIVATE.pem, or set {}").format("QATBUILD_SIGNING_KEY") in done.stderr
    done = toy.doit("sign", "net", "--key", str(keys.private))
    assert done.stdout == "build/net/provenance.intoto.jsonl\n", done.stderr
    assert "signed by" in toy.doit("verify", "net", "--key", str(keys.public)).stdout
    assert "no public key was named" in toy.doit("verify", "net").stdout
    assert toy.doit("verify", "net", "--key", str(others.public)).returncode == 1
    secret = keys.private.read_text().splitlines()[1]
    assert not [
        path for path in (toy.root / "build").rglob("*") if path.is_file() and secret in path.read_text("latin1")
    ]


def test_what_is_not_verified_is_not_signed(toy: ToyProject, tmp_path: Path) -> None:
    toy.built()
    (home(toy) / "model.tflite").write_text("other")
    done = toy.doit("sign", "net", "--key", str(Keys.new(tmp_path).private))
    assert done.returncode != 0
    assert "A model is not what its papers say." in done.stderr
    assert not (home(toy) / "provenance.intoto.jsonl").exists()


def test_without_the_extra_a_signature_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "securesystemslib.dsse", None)
    with pytest.raises(ArtifactError, match=r"pip install 'qatbuild\[sign\]'"):
        signed(b"{}", Keys.new(tmp_path).private)


def test_ci_signs_with_a_locked_key_from_its_environment(
    toy: ToyProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.built()
    keys = Keys.new(tmp_path, b"open sesame")
    monkeypatch.setenv("QATBUILD_SIGNING_KEY", str(keys.private))
    for password, is_right in (("wrong", False), ("open sesame", True)):
        monkeypatch.setenv("QATBUILD_SIGNING_PASSWORD", password)
        done = toy.doit("sign", "net")
        assert (done.returncode == 0) == is_right, done.stderr
        assert password not in done.stdout + done.stderr


def test_a_private_key_is_no_public_one_and_openssl_makes_it(toy: ToyProject, tmp_path: Path) -> None:
    toy.built()
    keys = Keys.new(tmp_path)
    toy.doit("sign", "net", "--key", str(keys.private))
    done = toy.doit("verify", "net", "--key", str(keys.private))
    assert done.returncode == 1
    command = follows("openssl pkey -in PRIVATE.pem -pubout -out PUBLIC.pem")
    assert command in done.stderr
    made = tmp_path / "made.pem"
    command = command.replace("PRIVATE.pem", str(keys.private)).replace("PUBLIC.pem", str(made))
    subprocess.run(command.split(), check=True)
    assert toy.doit("verify", "net", "--key", str(made)).returncode == 0
