"""Base class of qatbuild's commands, which load the project of the dodo.py in this folder or in a parent folder."""

from __future__ import annotations

import getopt
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from doit.cmd_base import Command
from doit.cmdparse import CmdOption
from doit.exceptions import InvalidCommand

from qatbuild.exchange.errors import QatbuildError
from qatbuild.plugin.commands.inherited import is_ours_above
from qatbuild.plugin.invocation import Invocation, entered
from qatbuild.plugin.session import Session
from qatbuild.plugin.streams import guarded, of_file

Option = dict[str, Any]

JSON: Option = {
    "name": "json",
    "short": "",
    "long": "json",
    "type": bool,
    "default": False,
    "help": "print JSON for scripts",
}


class SpecCommand(Command):  # type: ignore[misc]
    """A command about specs. A subclass defines `name`, the `doc_` texts, `cmd_options`, and `run`."""

    name: ClassVar[str]
    cmd_options: ClassVar[Sequence[Option]] = (JSON,)

    def __init__(self, task_loader: Any, cmds: Any = None, **kwargs: Any) -> None:
        """Called by doit. `task_loader` finds and imports the dodo.py."""
        super().__init__(**kwargs)
        self.loader = task_loader
        self.cmds = cmds

    def get_options(self) -> list[CmdOption]:
        """Returns the options of the loader (-f, -d, -k) and of the command; sets -k below a dodo.py of qatbuild."""
        return [CmdOption(option) for option in (*seeking(self.loader.cmd_options), *self.cmd_options)]

    def parse_execute(self, in_args: list[str]) -> Any:
        """Parses options before, between and after labels."""
        try:
            options, names = getopt.gnu_getopt(in_args, self.cmdparser.get_short(), self.cmdparser.get_long())
        except getopt.GetoptError as fault:
            with entered(Invocation()) as command:
                self.loader.setup(self.cmdparser.parse([])[0])
                if self._is_foreign(command):
                    return self._task(in_args)
            raise InvalidCommand(f"doit {self.name}: {fault}. See: doit help {self.name}") from fault
        arguments = [part for option, value in options for part in ((option, value) if value else (option,))]
        return super().parse_execute([*arguments, "--", *names])

    def execute(self, opt_values: Any, pos_args: list[str]) -> Any:
        """Loads the dodo.py and runs the command. An expected error is printed as one block, without a traceback."""
        command = Invocation(tuple(pos_args))
        with guarded(command), entered(command):
            self.loader.setup(opt_values)
            if self._is_foreign(command):
                return self._task(pos_args)
            return self._status(command, opt_values, pos_args)

    def _status(self, command: Invocation, opt_values: Any, pos_args: list[str]) -> int:
        try:
            return self.run(self._session(command.sessions, pos_args), opt_values, pos_args)
        except QatbuildError as error:
            raise InvalidCommand(error.block()) from error
        except OSError as fault:
            if fault.filename is None:  # stdout's
                raise
            raise InvalidCommand(of_file(fault).block()) from fault

    def _session(self, sessions: list[Session], names: list[str]) -> Session:
        """Returns the session with the prefix of all names; without names, the only session."""
        if not sessions:
            raise InvalidCommand(
                f"`doit {self.name}` needs qatbuild specs, but this dodo.py has no project with specs."
            )
        fitting = [each for each in sessions if names and all(_begins(name, each.prefix) for name in names)]
        if len(sessions) > 1 and len(fitting) != 1:
            prefixes = ", ".join(each.prefix or "(none)" for each in sessions)
            message = f"This dodo.py has several projects: write labels with the prefix of one of them ({prefixes})."
            raise InvalidCommand(message)
        return fitting[0] if fitting else sessions[0]

    def _is_foreign(self, command: Invocation) -> bool:
        """Returns whether a project without specs has a task with the command's name."""
        return not command.sessions and f"task_{self.name}" in self.loader.namespace

    def _task(self, arguments: list[str]) -> Any:
        """Runs the task with the command's name."""
        run = self.cmds.get_plugin("run")(
            task_loader=self.loader, config=self.config, bin_name=self.bin_name, cmds=self.cmds, opt_vals=self.opt_vals
        )
        return run.parse_execute([self.name, *arguments])

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Does the command's work and returns its exit status."""
        raise NotImplementedError


def seeking(options: Iterable[Option]) -> list[Option]:
    """Returns a loader's options, with `-k` as the default if a parent folder has a dodo.py that uses qatbuild."""
    return [{**option, "default": is_ours_above()} if option["name"] == "seek_file" else option for option in options]


def _begins(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}/")


def write_json(value: object) -> None:
    """Prints a value for scripts."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")
