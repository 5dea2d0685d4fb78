"""`doit sign`: signs the provenance of a verified model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from qatbuild.engine.papers import PROVENANCE, SIGNATURE
from qatbuild.engine.papers.signature import KEY_VARIABLE, signed
from qatbuild.exchange.errors import SpecError
from qatbuild.exchange.files import read_bytes, write_text
from qatbuild.plugin.commands.command import SpecCommand, write_faults
from qatbuild.plugin.commands.models import selected, verifier
from qatbuild.plugin.commands.option import option
from qatbuild.plugin.session import Session


class Sign(SpecCommand):
    """Verifies models and signs them."""

    name = "sign"
    doc_purpose = "sign the provenance of a model"
    doc_usage = "[--key PRIVATE.pem] [LABEL] ..."
    doc_description = (
        f"Verify each model as `doit verify` does, then write {SIGNATURE}: its provenance in a DSSE envelope. The"
        f" private key is the file of --key, or that of the variable {KEY_VARIABLE}. Needs the extra: qatbuild[sign]."
    )
    cmd_options = (option("key", "", f"private key in PEM [default: ${KEY_VARIABLE}]"),)

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Signs the models; returns 1 if specs with faults are left out. ArtifactError for one that is not intact."""
        key = options["key"] or os.environ.get(KEY_VARIABLE, "")
        if not key:
            raise SpecError("No private key is named.", hint=f"doit sign --key PRIVATE.pem, or set {KEY_VARIABLE}")
        verifying = verifier(session)
        for model in selected(session, names):
            home = session.project.build / model.label
            (home / SIGNATURE).unlink(missing_ok=True)
            verifying.verify(model, None)
            write_text(home / SIGNATURE, signed(read_bytes(home / PROVENANCE), Path(key)))
            sys.stdout.write(f"{(home / SIGNATURE).relative_to(session.project.build.parent)}\n")
        return write_faults(session, names)
