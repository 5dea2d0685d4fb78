"""`doit check`: whether the specs are right."""

from __future__ import annotations

import sys
from typing import Any

from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.opened import Opened


class Check(SpecCommand):
    """Every spec is read and planned; all faults of all specs are shown."""

    name = "check"
    doc_purpose = "validate the specs"
    doc_usage = "[SPEC] ..."
    doc_description = "All faults of all specs, each with its JSON pointer. Nothing is run."

    def look(self, opened: Opened, options: Any, names: list[str]) -> int:
        """Print the faults; 1 if there are any."""
        errors = {name: error for name, error in opened.errors.items() if not names or name in names}
        if names:
            opened.select(set(names) - set(errors))
        labels = [label for label in opened.plan.labels if not names or {label, label.partition("@")[0]} & set(names)]
        if options["json"]:
            faults = {
                name: {"message": error.message, "facts": error.facts, "hint": error.hint}
                for name, error in errors.items()
            }
            write_json({"labels": labels, "errors": faults})
        else:
            sys.stdout.writelines(f"{error.block()}\n" for error in errors.values())
            good = f"{len(labels)} label{'' if len(labels) == 1 else 's'} without faults"
            bad = f", {len(errors)} spec{'' if len(errors) == 1 else 's'} with" if errors else ""
            sys.stdout.write(f"{good}{bad}\n")
        return 1 if errors else 0
