"""`doit affected --since REF`: the labels whose inputs changed since a git revision, for CI."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qatbuild.engine.checkout import Checkout, Comparison, compare, present_side
from qatbuild.engine.code_digest import Code
from qatbuild.engine.file_cache import FileCache
from qatbuild.engine.git import Revision, Span
from qatbuild.engine.reason import Reason
from qatbuild.exchange.errors import SpecError
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.commands.option import JSON, flag, option
from qatbuild.plugin.session import Session
from qatbuild.schema.label import Label, spec_of


class Affected(SpecCommand):
    """Prints the labels whose inputs changed since a revision."""

    name = "affected"
    doc_purpose = "print the labels whose inputs changed since a git revision"
    doc_usage = "--since REF [LABEL] ..."
    doc_description = (
        "Print one label per line. The working tree is compared with the revision: specs and their bases, data in git,"
        " networks and their imports, pinned packages. Comments and formatting are ignored."
    )
    cmd_options = (
        JSON,
        option("since", "", "a commit, branch or tag"),
        flag("why", "also print the reasons"),
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the labels; returns 1 if specs have faults, because they cannot be compared."""
        if not options["since"]:
            raise SpecError("The option --since is missing.", hint="doit affected --since main")
        revision = Revision(session.project.root, options["since"])
        labels, removed = _compare(session, revision)
        if names:
            session.select(names)
            wanted = {Label.parse(name).name for name in session.without_prefix(names)}
            labels = {label: labels[label] for label in labels if not wanted or {label, spec_of(label)} & wanted}
        labels = {session.task(label): stages for label, stages in labels.items()}
        if options["json"]:
            write_json(
                {
                    "since": options["since"],
                    "commit": revision.commit,
                    "labels": [{"label": label, "stages": _stages(stages)} for label, stages in labels.items()],
                    "removed": list(map(session.task, removed)),
                    "unreadable": sorted(session.errors),
                }
            )
        else:
            sys.stdout.writelines(_lines(labels, why=options["why"]))
        for error in session.errors.values():
            sys.stderr.write(f"{error.block()}\n")
        return 1 if session.errors else 0


def _stages(stages: dict[str, list[Reason]]) -> list[dict[str, Any]]:
    return [{"stage": name, "reasons": [reason.to_json() for reason in reasons]} for name, reasons in stages.items()]


def _lines(labels: dict[str, dict[str, list[Reason]]], *, why: bool) -> Iterator[str]:
    for label, stages in labels.items():
        yield f"{label}\n"
        if why:
            texts = dict.fromkeys(reason.text for reasons in stages.values() for reason in reasons)
            yield from (f"    {text}\n" for text in texts)


def _compare(session: Session, revision: Revision) -> Comparison:
    if not revision.changed:
        return Comparison({}, [])
    project = session.project
    fingerprints = FileCache(project.state.files, "code")
    with tempfile.TemporaryDirectory() as top:
        then = Checkout.of(revision, project, Path(top), fingerprints).side
        return compare(then, present_side(session.loaded, revision, Code(project.root, fingerprints)), Span(revision))
