"""The whole spec of a label, with all defaults, as its stages read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qatbuild.engine.plan import Plan
from qatbuild.schema.load import merge_patch

_FIELDS = {"data": ("dataset", "path"), "table": ("dataset", "table"), "weights": ("model", "weights")}
"""The fields of a spec whose paths are sources of a stage, and so no settings, by the source's role."""


def whole_spec(plan: Plan, label: str, shown: Callable[[str], str]) -> dict[str, Any]:
    """Returns a label's spec with all defaults; `shown` is how the path of a source is written."""
    document: Any = {}
    for id_ in plan.labels[label].values():
        stage = plan.stages[id_]
        settings = {name: value for name, value in stage.settings.items() if name != "label"}
        if stage.route:
            settings["deploy"] = {stage.route: settings.pop(stage.route)}
        for role, (section, field) in _FIELDS.items():
            if role in stage.sources:
                path = {section: {field: shown(stage.sources[role])}}
                settings = merge_patch(settings, path, keep_null=True)
        document = merge_patch(document, settings, keep_null=True)
    return dict(document)
