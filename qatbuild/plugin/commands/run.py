"""`doit run` as doit has it, and for the stages of qatbuild what doit has not.

It loads only what may be stale, and keeps others out of the folder that it builds in. In a project without a door it is
doit's own command.
"""

from __future__ import annotations

import functools
import gc
import signal
import sys
from typing import Any

from doit.cmd_run import Run as DoitRun

from qatbuild.plugin import asked
from qatbuild.plugin.commands.below import Below, own


class Run(Below, DoitRun):  # type: ignore[misc]
    """Build what is stale."""

    name = "run"

    def execute(self, params: Any, args: list[str]) -> Any:
        """Called by doit; the dodo.py is loaded below here."""
        run = asked.Asked(tuple(args), always=bool(params.get("always")))
        collecting = gc.isenabled()
        try:
            with asked.asking(run):
                return super().execute(params, args)
        except KeyboardInterrupt:
            if not run.folders:
                raise
            sys.stderr.write("\ninterrupted; run doit again to go on\n")
            raise SystemExit(128 + signal.SIGINT) from None
        finally:
            run.end()
            if collecting:
                gc.enable()

    @functools.wraps(DoitRun._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, *arguments: Any, **options: Any) -> Any:
        """Called by doit. Specs under a prefix are built when they are named, not by plain doit."""
        if self.sel_tasks is None:  # type: ignore[has-type]
            self.sel_tasks = own(self.loader, self.task_list)
        return super()._execute(*arguments, **options)
