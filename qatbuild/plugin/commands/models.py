"""The models that names on a command line select, for the commands about built models."""

from __future__ import annotations

from collections.abc import Iterable

from qatbuild.engine.papers.verification import Model, Verifier
from qatbuild.plugin.session import Session


def selected(session: Session, names: Iterable[str]) -> list[Model]:
    """Returns the models whose evaluation the names select; without names, those of a plain `doit`."""
    return [_model(session, label) for label in session.evaluated(names)]


def _model(session: Session, label: str) -> Model:
    planned = {name: session.plan.stages[id_] for name, id_ in session.plan.labels[label].items()}
    return Model(label, session.task(label), planned, session.loaded.abouts[label])


def verifier(session: Session) -> Verifier:
    """Returns what verifies the models of a session's project."""
    project = session.project
    return Verifier(project.root, project.build, session.builder.rebuilder.code.digest)
