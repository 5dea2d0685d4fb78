"""The verified results of labels, for the commands that show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qatbuild.exchange.errors import ArtifactError
from qatbuild.plugin.session import Session
from qatbuild.report import failures
from qatbuild.report.models import ModelReport, read_models


def results(session: Session, labels: Iterable[str]) -> list[ModelReport]:
    """Returns the results of labels, in their order; of one that was never built, a model without any."""
    routes = session.plan.routes
    wanted = {label: routes[label] for label in labels}
    failed = failures.load(session.project.state.failures)
    models = {model.label: model for model in read_models(session.project.build, wanted, failed)}
    return [models.get(label, ModelReport(label, None, (), {})) for label in wanted]


def built(session: Session, names: Sequence[str]) -> list[ModelReport]:
    """Returns the models that task names select, without those that were never built; without names, all.

    ArtifactError if a named one was never built, or none at all.
    """
    models = results(session, session.labels(names))
    never = [session.task(model.label) for model in models if is_never_built(model)]
    if never and (names or len(never) == len(models)):
        raise ArtifactError("A model has not been built.", [("label", label) for label in never], f"doit {never[0]}")
    return [renamed(session, model) for model in models if not is_never_built(model)]


def is_never_built(model: ModelReport) -> bool:
    """Returns whether a model has neither results nor failures."""
    return model.report is None and not model.routes and not model.failures


def renamed(session: Session, model: ModelReport) -> ModelReport:
    """Returns a model with the name of its task as label."""
    if not session.prefix:
        return model
    label = session.task(model.label)
    failed = {stage: each._replace(label=label) for stage, each in model.failures.items()}
    return model._replace(label=label, failures=failed)
