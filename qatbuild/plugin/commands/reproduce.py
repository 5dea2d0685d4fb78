"""`doit reproduce`: rebuilds a model in a scratch folder and says whether the bytes are equal."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qatbuild.engine.forecast import CURRENT
from qatbuild.engine.reproduce import Reproduced, reproduce
from qatbuild.exchange.errors import ArtifactError
from qatbuild.plugin.commands.command import SpecCommand, write_faults, write_json
from qatbuild.plugin.commands.models import selected
from qatbuild.plugin.commands.option import JSON, flag
from qatbuild.plugin.session import Session


class Reproduce(SpecCommand):
    """Rebuilds models without any kept result and compares them stage by stage."""

    name = "reproduce"
    doc_purpose = "rebuild a model elsewhere and compare all bytes"
    doc_usage = "[--keep] [LABEL] ..."
    doc_description = (
        "Build each model anew in a scratch folder, without the store, and compare the manifests in the order of the"
        " stages. Ends with status 1 if a stage differs, and names the first one, its file and its first tensor."
    )
    cmd_options = (
        JSON,
        flag("keep", "keep the scratch folder"),
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints whether the bytes are equal; returns 1 if not, or if specs with faults are left out."""
        rows, status = [], 0
        try:
            for model in selected(session, names):
                _check_current(session, model.task)
                result, folder = _rebuilt(session, model.label, keep=options["keep"], quiet=options["json"])
                status |= result.first is not None
                rows.append(_fields(result, model.task) | ({"folder": folder} if folder else {}))
                if not options["json"]:
                    sys.stdout.writelines(f"{line}\n" for line in _lines(result, model.task, folder))
        finally:
            session.builder.executor.stop()
        if options["json"]:
            write_json({"models": rows})
        return status | write_faults(session, names)


def _check_current(session: Session, task: str) -> None:
    """Raises ArtifactError unless all stages of a label are up to date: else other inputs would make other bytes."""
    verdicts = session.forecast([task]).values()
    if stale := [verdict for verdict in verdicts if verdict.will != CURRENT]:
        facts = [(verdict.stage.name, reason.text) for verdict in stale for reason in verdict.reasons]
        raise ArtifactError(f"{task} is not up to date.", facts, f"doit {task}, and then reproduce it")


def _rebuilt(session: Session, label: str, *, keep: bool, quiet: bool) -> tuple[Reproduced, str]:
    """Returns the comparison, and the scratch folder if it is kept."""
    scratch = Path(tempfile.mkdtemp(prefix="qatbuild-reproduce-"))
    say = sys.stderr.write if quiet else sys.stdout.write
    try:
        return reproduce(session.project, label, scratch, session.builder.executor, say), str(scratch) if keep else ""
    except BaseException:
        session.builder.executor.stop()  # Its stages write into the folder.
        raise
    finally:
        if not keep:
            shutil.rmtree(scratch, ignore_errors=True)


def _fields(result: Reproduced, label: str) -> dict[str, Any]:
    first = None if result.first is None else result.first._asdict()
    return {
        "label": label,
        "equal": result.first is None,
        "stages": {**dict.fromkeys(result.equal, "equal"), **dict.fromkeys(result.different, "different")},
        "first": first,
    }


def _lines(result: Reproduced, label: str, folder: str) -> Iterator[str]:
    if result.first is None:
        yield f"{label}: {len(result.equal)} stages rebuilt, all bytes equal"
    else:
        stage, file, tensor, values = result.first
        yield f"{label}: bytes differ from the stage {stage} on ({', '.join(result.different)})"
        yield f"  {file or 'facts'}  {tensor}: {values}"
    if folder:
        yield f"  kept in {folder}"
