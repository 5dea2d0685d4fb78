"""Why the layers of a model lose accuracy, for the page: what `doit diagnose` says of the model as it was built.

The spec comes from the records of the stages, not from its file, which may have been edited since.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qatbuild.report.diagnosis import Finding, diagnose
from qatbuild.report.layer_losses import has_signs
from qatbuild.report.page.stages import History
from qatbuild.schema.ends import IMAGES
from qatbuild.schema.typed import typed

_MOST = 5
"""The layers that `doit diagnose` prints of a model, too."""

Json = Mapping[str, Any]


def causes(report: Json, past: History) -> dict[str, Any]:
    """Returns `worst`, [layer, dB left, sentence, fields of the spec] of each, and the `count` of all findings.

    Empty if nothing can be said: the signs, or the records, are incomplete or of another version.
    """
    if not has_signs(report):
        return {}
    sources = past.links["float"].record.request.sources if "float" in past.links else {}
    weights = str(sources["weights"].path) if "weights" in sources else None
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        document = recorded_spec(past.settings, weights)
        findings = diagnose(report, typed(report["label"], Path(), document))
        worst = [_packed(each.as_written_in(document)) for each in findings[:_MOST]]
        return {"count": len(findings), "worst": worst}
    return {}


def recorded_spec(settings: Json, weights: str | None) -> dict[str, Any]:
    """Returns the spec that made a model from its stages' settings and the weights that they began with.

    Its only input has the short form if it is named images, which is that form's name; stages read the long form.
    KeyError or TypeError for settings that do not hold a spec.
    """
    document = dict(_written(settings))
    document["train"]["steps"]  # Only the stage that trained has them.
    if weights is not None:
        document["model"]["weights"] = weights
    if [*document["inputs"]] == [IMAGES]:
        document["input"] = document.pop("inputs")[IMAGES]
    return document


def _written(value: Any) -> Any:
    """Returns settings as a spec could have them: without the fields that are null, which are defaults."""
    if isinstance(value, Mapping):
        return {name: _written(each) for name, each in value.items() if each is not None}
    return [_written(each) for each in value] if isinstance(value, list) else value


def _packed(finding: Finding) -> list[Any]:
    left_db = round(finding.db, 1) if math.isfinite(finding.db) else None
    return [finding.layer.name, left_db, finding.text, list(finding.fields)]
