"""What the commands have in common: they open the project of a dodo.py, in this folder or in one above it."""

from __future__ import annotations

import getopt
import inspect
import json
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from doit.cmd_base import Command
from doit.cmdparse import CmdOption
from doit.exceptions import InvalidCommand

from qatbuild.exchange.errors import ArtifactError, QatbuildError
from qatbuild.plugin.commands.inherited import be_unheard, is_ours_above
from qatbuild.plugin.session import Opened

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
    """A command about specs. A subclass has `name`, the `doc_` texts, `cmd_options`, and `look`."""

    name: ClassVar[str]
    cmd_options: ClassVar[Sequence[Option]] = (JSON,)

    def __init__(self, task_loader: Any, cmds: Any = None, **kwargs: Any) -> None:
        """Called by doit. `task_loader` finds and imports the dodo.py."""
        super().__init__(**kwargs)
        self.loader = task_loader
        self.cmds = cmds

    def get_options(self) -> list[CmdOption]:
        """The loader's options (-f, -d, -k) and the command's own; the dodo.py may stand in a folder above."""
        return [CmdOption(option) for option in (*seeking(self.loader.cmd_options), *self.cmd_options)]

    def parse_execute(self, in_args: list[str]) -> Any:
        """Options may stand behind labels, too."""
        try:
            options, names = getopt.gnu_getopt(in_args, self.cmdparser.get_short(), self.cmdparser.get_long())
        except getopt.GetoptError as fault:
            self.loader.setup(self.cmdparser.parse([])[0])
            if self._is_foreign():
                return self._task(in_args)
            raise InvalidCommand(f"doit {self.name}: {fault}. See: doit help {self.name}") from fault
        given = [part for option, value in options for part in ((option, value) if value else (option,))]
        return super().parse_execute([*given, "--", *names])

    def execute(self, opt_values: Any, pos_args: list[str]) -> Any:
        """Open the project and look; an expected error is one block, and so is Ctrl-C."""
        try:
            self.loader.setup(opt_values)
            return self._task(pos_args) if self._is_foreign() else self._looked(opt_values, pos_args)
        except KeyboardInterrupt:
            sys.stderr.write("\ninterrupted\n")
            raise SystemExit(128 + signal.SIGINT) from None

    def _looked(self, opt_values: Any, pos_args: list[str]) -> int:
        try:
            status = self.look(self._chosen(self.opened(), pos_args), opt_values, pos_args)
            sys.stdout.flush()
        except QatbuildError as error:
            raise InvalidCommand(error.block()) from error
        except BrokenPipeError:
            be_unheard()
            return 0
        except OSError as fault:
            facts = [("file", fault.filename), ("reason", fault.strerror)]
            raise InvalidCommand(ArtifactError("A file cannot be written or read.", facts).block()) from fault
        return status

    def opened(self) -> list[Opened]:
        """The projects that the dodo.py opened."""
        values = getattr(self.loader, "namespace", None) or {}
        owners = (getattr(value, "__self__", None) for value in values.values() if inspect.ismethod(value))
        return list({id(owner): owner for owner in owners if isinstance(owner, Opened)}.values())

    def _chosen(self, projects: list[Opened], names: list[str]) -> Opened:
        """The project that names are of; if there is but one, that one."""
        if not projects:
            raise InvalidCommand(
                f"`doit {self.name}` is about the specs of qatbuild, and this dodo.py has none of them."
            )
        fitting = [each for each in projects if names and all(_begins(name, each.prefix) for name in names)]
        if len(projects) > 1 and len(fitting) != 1:
            known = ", ".join(each.prefix or "(none)" for each in projects)
            raise InvalidCommand(f"This dodo.py has several projects: name labels of one of them. Prefixes: {known}.")
        return fitting[0] if fitting else projects[0]

    def _is_foreign(self) -> bool:
        """Whether the command's name is that of a task, which had it before qatbuild came."""
        return not self.opened() and f"task_{self.name}" in self.loader.namespace

    def _task(self, arguments: list[str]) -> Any:
        """Run the task that has the command's name."""
        run = self.cmds.get_plugin("run")(
            task_loader=self.loader, config=self.config, bin_name=self.bin_name, cmds=self.cmds, opt_vals=self.opt_vals
        )
        return run.parse_execute([self.name, *arguments])

    def look(self, opened: Opened, options: Any, names: list[str]) -> int:
        """Do what the command is for; its exit status."""
        raise NotImplementedError


def seeking(options: Iterable[Option]) -> list[Option]:
    """A loader's options with `-k` as the default: a dodo.py with specs may stand in a folder above."""
    return [{**option, "default": is_ours_above()} if option["name"] == "seek_file" else option for option in options]


def _begins(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}/")


def write_json(value: object) -> None:
    """Print a value for scripts."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")
