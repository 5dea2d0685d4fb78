"""`doit check`: whether the specs are right."""

from __future__ import annotations

import sys
from typing import Any

from qatbuild.engine.forecast import needed
from qatbuild.engine.undeclared_inputs import undeclared
from qatbuild.exchange.errors import SpecError
from qatbuild.plugin.commands.command import JSON, SpecCommand, write_json
from qatbuild.plugin.session import Opened

_NETWORKS = ("check", "float", "quantize", "export")
"""The stages that call the user's network."""


class Check(SpecCommand):
    """Every spec is read and planned; all faults of all specs are shown."""

    name = "check"
    doc_purpose = "validate the specs"
    doc_usage = "[--audit] [LABEL] ..."
    doc_description = (
        "All faults of all specs, each with its JSON pointer. Nothing is run. With --audit also the files of the"
        " project that stages opened without having declared them, as far as Python opens them."
    )
    cmd_options = (
        JSON,
        {
            "name": "audit",
            "short": "",
            "long": "audit",
            "type": bool,
            "default": False,
            "help": "report what the stages that ran here opened without having declared it",
        },
    )

    def look(self, opened: Opened, options: Any, names: list[str]) -> int:
        """Print the faults; 1 if there are any."""
        if options["audit"]:
            return _audit(opened, options, names)
        names = opened.plain(names)
        errors = {name: error for name, error in opened.errors.items() if not names or name in names}
        if good := set(names) - set(errors):
            opened.select(good)
        labels = [
            opened.task(label)
            for label in opened.plan.labels
            if not names or {label, label.partition("@")[0]} & set(names)
        ]
        if options["json"]:
            faults = {
                name: {"message": error.message, "facts": error.facts, "hint": error.hint}
                for name, error in errors.items()
            }
            write_json({"labels": labels, "errors": faults})
        else:
            sys.stdout.writelines(f"{error.block()}\n" for error in errors.values())
            fine = f"{len(labels)} label{'' if len(labels) == 1 else 's'} without faults"
            bad = f", {len(errors)} spec{'' if len(errors) == 1 else 's'} with" if errors else ""
            sys.stdout.write(f"{fine}{bad}\n")
        return 1 if errors else 0


def _audit(opened: Opened, options: Any, names: list[str]) -> int:
    """Print what was opened and not declared; 1 if there is anything."""
    rebuilder = opened.builder.rebuilder
    found = [undeclared(rebuilder, stage) for stage in needed(opened.plan, opened.select(names))]
    guilty = [each for each in found if each.files]
    unseen = sum(each.files is None for each in found)
    if options["json"]:
        stages = [
            {"id": each.stage.id, "stage": each.stage.name, "labels": each.stage.labels, "files": each.files}
            for each in found
        ]
        write_json({"stages": stages})
        return 1 if guilty else 0
    for each in guilty:
        facts = [("reads", name) for name in each.files or ()]
        label = f"{each.stage.labels[0]}:{each.stage.name}"
        hint = "list it in model.files, so that its change is seen" if each.stage.name in _NETWORKS else ""
        sys.stdout.write(SpecError(f"{label} read what it does not declare.", facts, hint).block() + "\n")
    sys.stdout.write(f"{len(found) - unseen - len(guilty)} stages read what they declare")
    sys.stdout.write(f", {len(guilty)} more than that" if guilty else "")
    sys.stdout.write(f"; {unseen} have not run here\n" if unseen else "\n")
    return 1 if guilty else 0
