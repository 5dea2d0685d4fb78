"""`doit check`: validates the specs, and with --audit the declared inputs of stages."""

from __future__ import annotations

import sys
from typing import Any

from qatbuild.engine.forecast import needed
from qatbuild.engine.undeclared_inputs import undeclared_inputs
from qatbuild.exchange.errors import SpecError, printable
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.commands.option import JSON, flag, format_option
from qatbuild.plugin.session import Session
from qatbuild.report.findings import FORMATS, as_json
from qatbuild.schema.correct import correct
from qatbuild.schema.label import spec_of

_NETWORKS = ("check", "float", "quantize", "export")
"""The stages that call the user's network."""

_LIST_IT = "list the file in model.files, so that its changes rebuild the stage"

_MOST_ROUNDS = 10
"""Largest number of times that specs are corrected: a corrected field shows faults of its values."""

_FORMATS = {
    "text": "for a terminal",
    "json": "for scripts",
    "sarif": "for editors",
    "github": "annotations of a workflow",
    "gitlab": "a code quality report",
}


class Check(SpecCommand):
    """Reads and plans every spec and prints all faults."""

    name = "check"
    doc_purpose = "validate the specs"
    doc_usage = "[--format FORMAT] [--fix] [--audit] [LABEL] ..."
    doc_description = (
        "Print all faults of all specs with their lines and JSON pointers; run nothing. With --fix, correct misspelt"
        " fields and values first. With --audit, print instead the files of the project that stages opened in Python"
        " without declaring them."
    )
    cmd_options = (
        JSON,
        format_option(_FORMATS, "what is printed"),
        flag("fix", "correct misspelt fields and values in the spec files"),
        flag("audit", "print files that stages opened without declaring them"),
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the faults; returns 1 if there are any."""
        if options["audit"]:
            return _audit(session, options, names)
        if options["fix"]:
            session = _fixed(session, names)
        names = session.without_prefix(names)
        errors = {name: error for name, error in session.errors.items() if not names or name in names}
        if good := set(names) - set(errors):
            session.select(good)  # SpecError for an unknown name.
        labels = [
            session.task(label) for label in session.plan.labels if not names or {label, spec_of(label)} & set(names)
        ]
        if options["json"] or options["format"] == "json":
            write_json({"labels": labels, "errors": as_json(errors)})
        elif options["format"] in FORMATS:
            sys.stdout.write(FORMATS[options["format"]](errors) + "\n")
        else:
            sys.stdout.writelines(f"{error.block()}\n" for error in errors.values())
            good_labels = f"{len(labels)} label{'' if len(labels) == 1 else 's'} without faults"
            bad_specs = f", {len(errors)} spec{'' if len(errors) == 1 else 's'} with" if errors else ""
            sys.stdout.write(f"{good_labels}{bad_specs}\n")
        return 1 if errors else 0


def _fixed(session: Session, names: list[str]) -> Session:
    """Corrects misspelt tokens, says which on stderr, and loads the specs again. Another fault may show only then."""
    wanted = session.without_prefix(names)
    for _ in range(_MOST_ROUNDS):
        errors = [error for name, error in session.errors.items() if not wanted or spec_of(name) in wanted]
        corrections = correct(errors, session.project.root)
        if not corrections:
            break
        for each in corrections:
            sys.stderr.write(f"{printable(each.where)}  {printable(each.former)} -> {each.now}\n")
        session = session.reload()
    return session


def _audit(session: Session, options: Any, names: list[str]) -> int:
    """Prints undeclared files; returns 1 if there are any."""
    rebuilder = session.builder.rebuilder
    stages = [undeclared_inputs(rebuilder, stage) for stage in needed(session.plan, session.select(names))]
    faulty = [each for each in stages if each.files]
    not_run = sum(each.files is None for each in stages)
    if options["json"]:
        rows = [
            {"id": each.stage.id, "stage": each.stage.name, "labels": each.stage.labels, "files": each.files}
            for each in stages
        ]
        write_json({"stages": rows})
        return 1 if faulty else 0
    for each in faulty:
        facts = [("reads", name) for name in each.files or ()]
        label = f"{each.stage.labels[0]}:{each.stage.name}"
        hint = _LIST_IT if each.stage.name in _NETWORKS else ""
        sys.stdout.write(SpecError(f"{label} reads undeclared files.", facts, hint).block() + "\n")
    sys.stdout.write(f"{len(stages) - not_run - len(faulty)} stages read declared files only")
    sys.stdout.write(f", {len(faulty)} read undeclared files" if faulty else "")
    sys.stdout.write(f"; {not_run} have not run here, or were restored\n" if not_run else "\n")
    return 1 if faulty else 0
