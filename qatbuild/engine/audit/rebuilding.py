"""Builds a result again, in a scratch folder beside the build, from inputs of the build folder or of the store."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from qatbuild.engine.execute import Executor
from qatbuild.engine.forecast import CURRENT, Verdict
from qatbuild.engine.plan import Stage
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.store import Store
from qatbuild.exchange.errors import ArtifactError, QatbuildError
from qatbuild.exchange.files import make_folder, remove, write_text
from qatbuild.exchange.lock import held
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Input, Request

_LOCK = "lock"


class NotRebuiltError(Exception):
    """A result could not be built again here, for the reason in the text: that says nothing about the one kept."""


class Rebuilding:
    """Builds results again, one at a time, in the folder `scratch`."""

    def __init__(self, rebuilder: Rebuilder, store: Store, executor: Executor, verdicts: Mapping[str, Verdict]) -> None:
        """Begins with the verdicts of the audited stages and of all before them, by id."""
        self._rebuilder = rebuilder
        self._store = store
        self._executor = executor
        self._verdicts = verdicts
        self._scratch = rebuilder.build / "work" / "audit"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Waits for another audit of this build folder, and removes what a killed one left."""
        with held(self._scratch / _LOCK):
            self._clear()
            try:
                yield
            finally:
                self._clear()

    def _clear(self) -> None:
        for path in self._scratch.iterdir():
            if path.name != _LOCK:
                remove(path)

    def manifest(self, verdict: Verdict) -> tuple[Request, Manifest]:
        """Builds a result again; returns its request, and its manifest with the artifacts in its folder.

        They stay until the next call. NotRebuiltError if that cannot be done, or is not what was asked any more.
        """
        self._clear()
        try:
            request = self._request(verdict)
            make_folder(request.folder)
            self._executor.run(request)
            made = Manifest.read(Manifest.path_of(request.work, request.stage))
        except (QatbuildError, OSError) as fault:
            reason = fault.in_one_line() if isinstance(fault, QatbuildError) else str(fault)
            raise NotRebuiltError(reason) from fault
        if not self._rebuilder.is_unchanged(request, verdict.stage):
            raise NotRebuiltError("its inputs changed meanwhile")
        return request, replace(made, folder=request.out)

    def _request(self, verdict: Verdict) -> Request:
        stage = verdict.stage
        inputs = {role: self._input(self._verdicts[id_]) for role, id_ in stage.inputs.items()}
        request = self._rebuilder.draft(stage, inputs)
        if request.key != verdict.key:
            raise ArtifactError("Its inputs changed meanwhile.")
        return replace(request, folder=self._scratch / "published", work=self._scratch / stage.name)

    def _input(self, upstream: Verdict) -> Input:
        """Returns an input in its place, if it is up to date and all there; else fetched from the store."""
        stage = upstream.stage
        if upstream.will == CURRENT and self._is_whole(stage):
            return self._rebuilder.input(stage)
        folder = self._scratch / "inputs" / stage.name
        make_folder(folder)
        manifest = None if upstream.key is None else self._store.fetch(upstream.key, folder)
        if manifest is None:
            raise ArtifactError(f"Its input {stage.name} is neither built nor kept.")
        path, text = Manifest.path_of(folder, stage.name), manifest.to_json()
        write_text(path, text)
        return Input(path, hashlib.sha256(text.encode()).hexdigest())

    def _is_whole(self, stage: Stage) -> bool:
        manifest = Manifest.read(self._rebuilder.manifest_path(stage))
        return all((manifest.folder / name).is_file() for name in manifest.files)
