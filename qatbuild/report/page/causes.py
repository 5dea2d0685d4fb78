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
from qatbuild.schema.model import Variant
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
        findings = diagnose(report, recorded_variant(report["label"], past.settings, weights))
        return {"count": len(findings), "worst": list(map(_packed, findings[:_MOST]))}
    return {}


def recorded_variant(label: str, settings: Json, weights: str | None) -> Variant:
    """Returns the typed spec that made a model from its stages' settings and the weights that they began with.

    KeyError, TypeError or ValueError for settings that do not hold it.
    """
    document = _written(settings)
    document["train"]["steps"]  # Only the stage that trained has them.
    if weights is not None:
        document["model"]["weights"] = weights
    return typed(label, Path(), document)


def _written(value: Any) -> Any:
    """Returns settings as a spec could have them: without the fields that are null, which are defaults."""
    if isinstance(value, Mapping):
        return {name: _written(each) for name, each in value.items() if each is not None}
    return [_written(each) for each in value] if isinstance(value, list) else value


def _packed(finding: Finding) -> list[Any]:
    left_db = round(finding.db, 1) if math.isfinite(finding.db) else None
    return [finding.layer.name, left_db, finding.text, list(finding.fields)]
