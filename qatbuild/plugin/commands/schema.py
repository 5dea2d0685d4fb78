"""`doit schema`: prints the JSON Schema of specs, or where it lies."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from doit.exceptions import InvalidCommand

from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.commands.option import flag
from qatbuild.plugin.invocation import Invocation, entered
from qatbuild.plugin.streams import guarded
from qatbuild.schema.faults import SCHEMA_PATH
from qatbuild.schema.nearest import suggest

EDITOR_SCHEMA_PATH = SCHEMA_PATH.with_name("editor.schema.json")
"""The schema of a file as an editor sees it: variants, and a spec that extends another, hold any part of a spec."""

_PATH = flag("path", 'print where the schema lies, for "$schema" in a spec')


class Schema(SpecCommand):
    """Prints the schema in any folder: it needs no spec, and no dodo.py."""

    name = "schema"
    doc_purpose = "print the JSON Schema of specs, or where it lies"
    doc_usage = "[SECTION] ..."
    doc_description = "A section is a part of a spec, such as train, quantize or evaluate, or a route of deploy."
    cmd_options = (_PATH,)

    def execute(self, opt_values: Any, pos_args: list[str]) -> Any:
        """Prints the schema, or runs the task of the dodo.py that is called schema."""
        command = Invocation(lists=True)
        with guarded(command):
            if self._names_a_task(command, opt_values):
                return self._task(command)
            return _print_path() if opt_values["path"] else _print_schema(pos_args)

    def _names_a_task(self, command: Invocation, opt_values: Any) -> bool:
        with contextlib.suppress(Exception), contextlib.redirect_stdout(sys.stderr), entered(command):
            self.loader.setup(opt_values)
            return self._is_foreign(command)
        return False  # Without a dodo.py that can be imported there are no tasks.


def _print_path() -> int:
    sys.stdout.write(f"{EDITOR_SCHEMA_PATH}\n")
    return 0


def _print_schema(sections: list[str]) -> int:
    """Prints the whole file, or the named sections as one object."""
    if not sections:
        sys.stdout.write(EDITOR_SCHEMA_PATH.read_text(encoding="utf-8"))
        return 0
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    parts = {**schema["properties"], **schema["$defs"]}
    for section in sections:
        if section not in parts:
            raise InvalidCommand(f'doit schema: no section is called "{section}".{suggest(section, parts)}')
    write_json({section: parts[section] for section in sections})
    return 0
