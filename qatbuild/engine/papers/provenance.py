"""The provenance of a model: an in-toto Statement v1 with a SLSA v1 provenance predicate.

Sources: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance.
It holds no clock, host, user or absolute path. Measured times are left out with the file that has them: the subject
evaluate.manifest.json stands for the report without its latencies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from qatbuild.engine.history.origin import name_of
from qatbuild.engine.papers import BOM
from qatbuild.engine.papers.chain import Chain
from qatbuild.exchange.files import canonical_json, lined_json
from qatbuild.exchange.link import Link
from qatbuild.exchange.manifest import Manifest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://qatbuild.invalid/build/1"
BUILDER = "https://qatbuild.invalid/builder/1"
"""The project has no public address yet; the schema of specs has an id below the same one."""


def statement(chain: Chain, bom: str) -> str:
    """Returns the text of provenance.json, for the chain of a model and the text of its bom.json."""
    subjects = {**dict(_subjects(chain)), BOM: hashlib.sha256(bom.encode()).hexdigest()}
    return lined_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [_described(name, sha256) for name, sha256 in subjects.items()],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {"label": chain.label, "spec": chain.settings},
                    "internalParameters": {
                        "stages": [_stage(link) for link in chain.links.values()],
                        "threads": chain.threads,
                    },
                    "resolvedDependencies": list(_materials(chain)),
                },
                "runDetails": {"builder": {"id": BUILDER}},
            },
        },
        sort_keys=True,
    )


def _subjects(chain: Chain) -> Iterator[tuple[str, str]]:
    """Yields names and SHA-256 of the artifacts, and of the manifests of those that have measured times."""
    yield from ((name, sha256) for name, (_, sha256) in chain.artifacts.items() if sha256)
    for link in chain.unshared:
        if not all(sha256 for _, sha256 in link.manifest.files.values()):
            file = Manifest.path_of(link.folder, link.stage)
            yield file.relative_to(chain.home).as_posix(), link.sha256


def _stage(link: Link) -> dict[str, Any]:
    """Returns one step of the build: its request's key, the manifests that it read, the one that it left."""
    step = {
        "stage": link.stage,
        "key": link.record.request.key,
        "inputs": {role: each.sha256 for role, each in link.record.request.inputs.items()},
        "manifest": link.sha256,
    }
    return {**step, "processor": link.record.processor} if link.record.processor else step


def _materials(chain: Chain) -> Iterator[dict[str, Any]]:
    """Yields what the model was made from: spec, data, the user's files, code and packages."""
    yield _described("spec", hashlib.sha256(canonical_json(chain.settings).encode()).hexdigest())
    if (dataset := chain.links.get("dataset")) is not None:
        yield from _data(dataset)
    sources: dict[tuple[str, str], None] = {}
    for link in chain.links.values():
        request = link.record.request
        sources.update({(name_of(each.path, request.project), each.sha256): None for each in request.sources.values()})
        yield _described(f"code of {link.stage}", request.code)
    yield from (_described(name, sha256) for name, sha256 in sources if sha256)
    yield from ({"name": name, "uri": package_url(name, version)} for name, version in chain.packages)


def _data(link: Link) -> Iterator[dict[str, Any]]:
    """Yields the dataset, its files, and the archive that the spec names with a digest."""
    yield _described("dataset", link.sha256)
    yield from (_described(f"dataset/{name}", sha256) for name, (_, sha256) in link.manifest.files.items() if sha256)
    asked: Mapping[str, Any] = link.record.request.settings.get("dataset", {})
    if asked.get("url"):
        archive = {"name": "archive", "uri": asked["url"]}
        yield archive | ({"digest": {"sha256": asked["sha256"]}} if asked.get("sha256") else {})


def package_url(name: str, version: str) -> str:
    """Returns the package URL (purl) of an installed package, or of Python itself."""
    return f"pkg:{'generic' if name == 'python' else 'pypi'}/{name}@{version}"


def _described(name: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}}
