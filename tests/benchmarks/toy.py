"""The benchmark's stages: each writes a line into every artifact, as the toy actions of the other tools do.

The toy of tests/builds does more, for the tests' sake: it counts runs, fails on demand, and writes event logs.
"""

from __future__ import annotations

import hashlib
import json
import os

from qatbuild.exchange.manifest import CLOCKED, Manifest
from qatbuild.exchange.request import Request
from tests.builds.toolchain import ARTIFACTS, ToyExecutor


class LineExecutor(ToyExecutor):
    """Runs a request by writing the digest of its settings and inputs."""

    def run(self, request: Request) -> None:
        """Leaves the artifacts and their manifest, each written once."""
        text = json.dumps(self.report(request)) if request.stage == "evaluate" else request.key
        data = text.encode()
        entry = len(data), hashlib.sha256(data).hexdigest()
        out = str(request.out)
        os.makedirs(out, exist_ok=True)  # noqa: PTH103
        names = ARTIFACTS[request.stage]
        for name in names:
            _write(f"{out}/{name}", data)
        files = {name: (0, "") if name in CLOCKED else entry for name in sorted(names)}
        manifest = Manifest(request.stage, request.out, files, {})
        _write(str(Manifest.path_of(request.work, request.stage)), manifest.to_json().encode())


def _write(file: str, data: bytes) -> None:
    with open(file, "wb", buffering=0) as target:  # noqa: PTH123
        target.write(data)
