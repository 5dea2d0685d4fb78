"""Writes the papers of models: at the moment when an evaluation or a route was made, else at the end of a build.

Papers are no artifacts: nothing is made from them, no key and no up-to-dateness depends on them, and a build with
nothing to do does not look at them. A build that loads a spec writes its papers that are not as they should be.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

from qatbuild.engine.outcome import is_judged
from qatbuild.engine.papers import BOM, PAPERS, PROVENANCE, SIGNATURE
from qatbuild.engine.papers.chain import Chain, read_chain
from qatbuild.engine.papers.provenance import package_url, statement
from qatbuild.engine.plan import Plan, Stage
from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import discard, read_bytes, write_text
from qatbuild.exchange.link import Link
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import Record
from qatbuild.report.bill_of_materials import bill_of_materials
from qatbuild.report.model_card import BuiltModel
from qatbuild.schema.model import About

_MOST_LINKS = 256
"""Links that are kept in memory: a build ends one model before it begins the next."""


class Papers:
    """The papers of the models in one build folder. Threads may share it."""

    def __init__(self, build: Path, plan: Plan, abouts: Mapping[str, About]) -> None:
        """Makes the writer for the models of a plan; `abouts` is what their specs say about them, by label."""
        self._build = build
        self._plan = plan
        self._abouts = abouts
        self._links: OrderedDict[str, Link] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, stage: Stage, manifest: Manifest, text: str, record: Record) -> None:
        """Takes a stage that was published this moment; after a model's evaluation or route, writes its papers."""
        with self._lock:
            self._keep(Link(manifest, text, record))
        if is_judged(stage):
            self._write_all(stage.labels)

    def finish(self, looked_at: Iterable[str], made: Iterable[str]) -> None:
        """Writes the other papers that may not be as they should be, at the end of a build.

        `looked_at` are the stages that the build verified, `made` those that it made, by id. A model whose evaluation
        was made has its papers already.
        """
        labels, made, looked_at = self._plan.labels, set(made), set(looked_at)
        touched = {label for id_ in made for label in self._plan.stages[id_].labels}
        touched |= {label for label, ids in labels.items() if ids["evaluate"] in looked_at}
        self._write_all(label for label in labels if label in touched and labels[label]["evaluate"] not in made)

    def _write_all(self, labels: Iterable[str]) -> None:
        """Writes the papers of models. These are built, so a fault of the disk is only a line on stderr."""
        for label in labels:
            try:
                self.write(label)
            except OSError as fault:
                sys.stderr.write(f"{label}: its papers cannot be written: {fault}\n")

    def write(self, label: str) -> None:
        """Writes the papers of a model, if they are not as they should be.

        A model that is not evaluated, or that was evaluated before it changed, has no papers: earlier ones are removed,
        as is a signature of other papers. OSError if a file cannot be written.
        """
        home = self._build / label
        with self._lock:
            try:
                chain = read_chain(label, home, self._link)
            except ArtifactError:
                chain = None
            if chain is None or not chain.is_whole:
                for name in PAPERS:
                    discard(home / name)
                return
            for name, text in texts(chain, self._abouts.get(label, About())).items():
                _put(home / name, text)

    def _link(self, folder: str, stage: str) -> Link:
        link = self._links.get(f"{folder}/{stage}") or Link.read(folder, stage)
        self._keep(link)
        return link

    def _keep(self, link: Link) -> None:
        place = f"{link.folder}/{link.stage}"
        self._links[place] = link
        self._links.move_to_end(place)
        if len(self._links) > _MOST_LINKS:
            self._links.popitem(last=False)


def texts(chain: Chain, about: About) -> dict[str, str]:
    """Returns the text of each paper of a model, without its signature; `about` is what the spec says about it."""
    bom = bill_of_materials(_described(chain, about))
    return {BOM: bom, PROVENANCE: statement(chain, bom)}


def _described(chain: Chain, about: About) -> BuiltModel:
    dataset = chain.links.get("dataset")
    files = {name: each for name, each in chain.artifacts.items() if each[1]}
    processors = dict.fromkeys(link.record.processor for link in chain.links.values() if link.record.processor)
    return BuiltModel(
        label=chain.label,
        about=about,
        settings=chain.settings,
        facts={stage: link.manifest.facts for stage, link in chain.links.items()},
        files=files,
        dataset="" if dataset is None else dataset.sha256,
        packages=tuple((name, version, package_url(name, version)) for name, version in chain.packages),
        processors=tuple(processors),
    )


def _put(file: Path, text: str) -> None:
    """Writes a paper unless it is as it should be; a signature of other papers is removed."""
    try:
        present = read_bytes(file)
    except OSError:
        present = None
    if present != text.encode():
        write_text(file, text)
        if present is not None:
            discard(file.with_name(SIGNATURE))
