"""The spec of one label as a document, and the variants that patches of it make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.loaded import LoadedProject
from qatbuild.schema.label import Label
from qatbuild.schema.load import documents, patched_variant
from qatbuild.schema.model import Variant
from qatbuild.schema.read import read_json
from qatbuild.schema.rules import AllowedPaths

_NOTHING: Mapping[str, Any] = {}


class Specification(NamedTuple):
    """The document of a label, with all that it extends and with its variant's fields; `file` is the spec's.

    `variant_name` is the key of the label's part in the spec's "variants"; '' for a label without one, or of a matrix.
    """

    label: str
    variant_name: str
    file: Path
    document: Mapping[str, Any]
    allowed_paths: AllowedPaths

    @classmethod
    def of(cls, loaded: LoadedProject, label: str) -> Specification:
        """Reads the spec of a planned label. SpecError if its file has faults by now."""
        project, name = loaded.project, Label.parse(label).spec
        allowed_paths = AllowedPaths(project.root, project.allowed)
        file, variant = project.file(name), Label.parse(label).variant
        is_written = any(variant in (read_json(path).get("variants") or ()) for path in loaded.documents[name])
        document = documents(name, file, allowed_paths)[label]
        return cls(label, variant if is_written else "", file, document, allowed_paths)

    def variant(self, patch: Mapping[str, Any] = _NOTHING, label: str = "") -> Variant:
        """Returns the typed variant that a merge patch makes, under another label. SpecError if that is not valid."""
        return patched_variant(label or self.label, self.file, self.document, patch, self.allowed_paths)

    def of_spec(self, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the patch of the whole spec that a patch of the label's document is."""
        return {"variants": {self.variant_name: dict(patch)}} if self.variant_name else dict(patch)
