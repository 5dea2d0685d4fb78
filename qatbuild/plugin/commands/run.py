"""`doit run` as doit has it, and for the stages of qatbuild what doit has not.

It loads only what may be stale, and keeps others out of the folder that it builds in. In a project without a door it is
doit's own command.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import signal
import sys
from pathlib import Path
from typing import Any

from doit.action import PythonAction
from doit.cmd_run import Run as DoitRun
from doit.control import TaskControl
from doit.exceptions import InvalidCommand
from doit.task import Stream

from qatbuild.plugin import invocation
from qatbuild.plugin.commands.inherited import Below, be_unheard, own


class Run(Below, DoitRun):  # type: ignore[misc]
    """Build what is stale."""

    name = "run"

    def execute(self, params: Any, args: list[str]) -> Any:
        """Called by doit; the dodo.py is loaded below here."""
        run = invocation.Asked(tuple(args), always=bool(params.get("always")))
        collecting = gc.isenabled()
        try:
            try:
                with invocation.asking(run):
                    return super().execute(params, args)
            finally:
                run.end()
        except BrokenPipeError:  # As programs end that do not handle it; what was built is recorded.
            if not run.folders:
                raise
            be_unheard()
            raise SystemExit(128 + signal.SIGPIPE) from None
        except KeyboardInterrupt:
            if not run.folders:
                raise
            sys.stderr.write("\ninterrupted; run doit again to go on\n")
            raise SystemExit(128 + signal.SIGINT) from None
        finally:
            if collecting:
                gc.enable()

    @functools.wraps(DoitRun._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, *arguments: Any, **options: Any) -> Any:
        """Called by doit. Specs under a prefix are built when they are named, not by plain doit."""
        if self.sel_tasks is None:  # type: ignore[has-type]
            self.sel_tasks = own(self.loader, self.task_list)
        run = invocation.current()
        if run is None or not run.folders or not options["num_process"] or options["single"]:
            return super()._execute(*arguments, **options)
        return self._side_by_side(run, **options)

    def _side_by_side(self, run: invocation.Asked, **options: Any) -> int:
        """As doit's own `_execute`, with a runner of ours, for which doit has no place."""
        from qatbuild.plugin.runner import PoolRunner  # noqa: PLC0415  Only with -n.

        if options["par_type"] not in {"process", "thread"}:
            raise InvalidCommand(f"Invalid parallel type {options['par_type']}")
        PythonAction.pm_pdb = options["pdb"]
        self.control = TaskControl(self.task_list, auto_delayed_regex=options["auto_delayed_regex"])
        self.control.process(self.sel_tasks)
        kind = self.reporters[options["reporter"]] if isinstance(options["reporter"], str) else options["reporter"]
        with contextlib.ExitStack() as stack:
            out = options["outfile"]
            if isinstance(out, str):
                out = stack.enter_context(Path(out).open("w", encoding="utf-8"))
            runner = PoolRunner(
                self.dep_manager,
                kind(out, {"failure_verbosity": options["failure_verbosity"]}),
                options["continue_"],
                options["always"],
                Stream(options["verbosity"], options["force_verbosity"]),
                num_process=options["num_process"],
                pools=run.pools,
                stop=run.interrupt,
            )
            return int(runner.run_all(self.control.task_dispatcher()))
