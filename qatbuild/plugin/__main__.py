"""`python -m qatbuild.plugin COMMAND ...`: `doit COMMAND ...`, even beside a task with the command's name."""

from __future__ import annotations

import sys

from doit.doit_cmd import DoitMain

from qatbuild.plugin.commands.command import SpecCommand

if __name__ == "__main__":
    SpecCommand.even_beside_a_task = True
    sys.exit(DoitMain().run(sys.argv[1:]))
