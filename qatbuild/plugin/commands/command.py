"""Base class of qatbuild's commands, which load the project of the dodo.py in this folder or in a parent folder."""

from __future__ import annotations

import getopt
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from doit.cmd_base import Command, DodoTaskLoader
from doit.cmdparse import CmdOption
from doit.exceptions import InvalidCommand
from doit.loader import load_tasks

from qatbuild.plugin.commands.inherited import is_ours_above
from qatbuild.plugin.commands.option import JSON, Option
from qatbuild.plugin.invocation import Invocation, entered
from qatbuild.plugin.session import Session
from qatbuild.plugin.streams import guarded, of_file

_OPTION_SIZES = (("-", "short"), ("--", "long"))


class SpecCommand(Command):  # type: ignore[misc]
    """A command about specs. A subclass defines `name`, the `doc_` texts, `cmd_options`, and `run`."""

    name: ClassVar[str]
    cmd_options: ClassVar[Sequence[Option]] = (JSON,)
    even_beside_a_task: ClassVar[bool] = False
    """Whether the command runs although the dodo.py has a task with its name (plugin/__main__.py)."""

    def __init__(self, task_loader: Any, cmds: Any = None, **kwargs: Any) -> None:
        """Called by doit. `task_loader` finds and imports the dodo.py."""
        super().__init__(**kwargs)
        self.loader = task_loader
        self.cmds = cmds
        self.started_in = Path.cwd()
        """The user's working directory: doit goes to the folder of the dodo.py."""
        self._arguments: list[str] = []
        """The arguments without the loader's options, for a task with the command's name."""

    def get_options(self) -> list[CmdOption]:
        """Returns the options of the loader (-f, -d, -k) and of the command; sets -k below a dodo.py of qatbuild."""
        return [CmdOption(option) for option in (*seeking(self.loader.cmd_options), *self.cmd_options)]

    def parse_execute(self, in_args: list[str]) -> Any:
        """Parses options before, between and after labels."""
        self._arguments = in_args
        try:
            options, names = getopt.gnu_getopt(in_args, self.cmdparser.get_short(), self.cmdparser.get_long())
        except getopt.GetoptError as fault:
            with entered(Invocation()) as command:
                self.loader.setup(self.cmdparser.parse([])[0])
                is_foreign = self._is_foreign(command)
            if is_foreign:
                return self._task(command)
            raise InvalidCommand(f"doit {self.name}: {fault}. See: doit help {self.name}") from fault
        loaders = {f"{dashes}{option[size]}" for option in self.loader.cmd_options for dashes, size in _OPTION_SIZES}
        self._arguments = [*_joined(each for each in options if each[0] not in loaders), *names]
        return super().parse_execute([*_joined(options), "--", *names])

    def execute(self, opt_values: Any, pos_args: list[str]) -> Any:
        """Loads the dodo.py and runs the command. An expected error is printed as one block, without a traceback."""
        command = Invocation(tuple(pos_args))
        with guarded(command):
            with entered(command):
                self.loader.setup(opt_values)
                if not self._is_foreign(command):
                    return self._status(command, opt_values, pos_args)
            return self._task(command)

    def _status(self, command: Invocation, opt_values: Any, pos_args: list[str]) -> int:
        try:
            return self.run(self._session(command.sessions, pos_args), opt_values, pos_args)
        except OSError as fault:
            if fault.filename is None:  # stdout's
                raise
            raise of_file(fault) from fault

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
        """Returns whether the dodo.py has a task of its own with the command's name, which doit has to run.

        Only its tasks tell: any function may make a task of any name. Those of its specs never have such a name, unless
        it is their prefix.
        """
        if self.even_beside_a_task:
            return False
        creators = set(map(id, command.creators))
        others = {name: value for name, value in self.loader.namespace.items() if id(value) not in creators}
        tasks = load_tasks(others, (), allow_delayed=True, config=self.loader.config)
        return self.name in {*(task.name for task in tasks), *(session.prefix for session in command.sessions)}

    def _task(self, command: Invocation) -> Any:
        """Runs the task with the command's name, in a build: it imports a dodo.py with specs again, to lock them."""
        options = dict(self.opt_vals)
        if isinstance(self.loader, DodoTaskLoader):  # Where it found the dodo.py; it is in its folder by now.
            options |= {"dodoFile": self.loader.namespace["__file__"], "cwdPath": os.getcwd()}  # noqa: PTH109
            if command.projects:
                sys.modules.pop(self.loader.namespace["__name__"])
        run = self.cmds.get_plugin("run")(
            task_loader=self.loader, config=self.config, bin_name=self.bin_name, cmds=self.cmds, opt_vals=options
        )
        return run.parse_execute([self.name, *self._arguments])

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Does the command's work, which each one defines, and returns its exit status."""
        raise NotImplementedError


def seeking(options: Iterable[Option]) -> list[Option]:
    """Returns a loader's options, with `-k` as the default if a parent folder has a dodo.py that uses qatbuild."""
    return [{**option, "default": is_ours_above()} if option["name"] == "seek_file" else option for option in options]


def _joined(options: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yields options with their values as arguments."""
    return (part for pair in options for part in pair if part)


def _begins(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}/")


def write_faults(session: Session, names: Iterable[str]) -> int:
    """Prints on stderr why specs are left out of a selection without names; returns the exit status."""
    faults = session.faults(names)
    sys.stderr.writelines(f"{error.block()}\n" for error in faults)
    return 1 if faults else 0


def write_unreadable(session: Session, names: Iterable[str]) -> int:
    """Prints on stderr why specs are left out of all labels of the project; returns the exit status."""
    unreadable = session.unreadable(names)
    sys.stderr.writelines(f"{session.errors[name].block()}\n" for name in unreadable)
    return 1 if unreadable else 0


def write_json(value: object) -> None:
    """Prints a value for scripts."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")
