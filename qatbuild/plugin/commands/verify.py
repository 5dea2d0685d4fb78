"""`doit verify`: checks every byte of a model from its papers and .tflite back to its dataset."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qatbuild.engine.papers.verification import Verified
from qatbuild.exchange.errors import ArtifactError
from qatbuild.plugin.commands.command import SpecCommand, write_faults, write_json
from qatbuild.plugin.commands.models import selected, verifier
from qatbuild.plugin.commands.option import JSON, option
from qatbuild.plugin.session import Session


class Verify(SpecCommand):
    """Verifies models, and ends at the first that is not what its papers say."""

    name = "verify"
    doc_purpose = "check every byte of a model back to its dataset"
    doc_usage = "[--key PUBLIC.pem] [LABEL] ..."
    doc_description = (
        "Read the artifacts, manifests, records and papers of models anew and compare all digests, stage by stage from"
        " the evaluation back to the dataset, then the spec, code and data that are here. With --key, also check the"
        " signature. Ends with status 1 at the first difference, and names file, stage, expected and actual digest."
    )
    cmd_options = (
        JSON,
        option("key", "", "public key of the signature, in PEM"),
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints what was verified; returns 1 for a difference, or if specs with faults are left out."""
        key = Path(options["key"]) if options["key"] else None
        verifying = verifier(session)
        rows: list[dict[str, Any]] = []
        for model in selected(session, names):
            try:
                result = verifying.verify(model, key)
            except ArtifactError as error:
                fields = {"message": error.message, "facts": dict(error.facts), "hint": error.hint}
                rows.append({"label": model.task, "ok": False, **fields})
                if options["json"]:
                    write_json({"models": rows})
                else:
                    sys.stderr.write(f"{model.task}: {error.block()}\n")
                return 1
            rows.append(_fields(result, model.task))
            if not options["json"]:
                sys.stdout.writelines(f"{line}\n" for line in _lines(result, model.task))
        if options["json"]:
            write_json({"models": rows})
        return write_faults(session, names)


def _fields(result: Verified, label: str) -> dict[str, Any]:
    counts = {"stages": result.stages, "files": result.files, "bytes": result.bytes, "signed_by": result.signed_by}
    return {"label": label, "ok": True, **counts, "absent": dict(result.absent)}


def _lines(result: Verified, label: str) -> Iterator[str]:
    signature = f", signed by {result.signed_by}" if result.signed_by else ""
    yield f"{label}: {result.files} files of {result.stages} stages verified, {result.bytes:,} bytes{signature}"
    yield from (f"  not compared: {what}: {why}" for what, why in dict.fromkeys(result.absent))
