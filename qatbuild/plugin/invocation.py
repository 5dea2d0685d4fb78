"""The command line of one invocation of doit, and the sessions that its dodo.py opens.

doit imports a dodo.py without passing it the command line. So the command puts its invocation into a context variable,
from which the functions called in the dodo.py read it.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qatbuild.engine.build_lock import BuildLock
from qatbuild.engine.live.monitor import Monitor
from qatbuild.plugin.streams import ignore_interrupts

if TYPE_CHECKING:
    from qatbuild.engine.execute import Executor
    from qatbuild.engine.project import Project
    from qatbuild.plugin.session import Session


@dataclass
class Invocation:
    """One command: its names, whether it builds (`doit run`), and whether it runs every stage (-a).

    `whole`: whether it fetches every artifact (--artifacts all). `executor` says where stages run, if the command line
    does; `events` names the file for events, '' for none. With `lists` it only prints names and descriptions of labels
    (`doit list`). `namespace` returns the names that the dodo.py defines, once doit has imported it.
    `projects` are the projects of the dodo.py; `sessions` are the loaded ones among them; `creators` are the functions
    that make the tasks of its specs.
    """

    names: tuple[str, ...] = ()
    builds: bool = False
    always: bool = False
    whole: bool = False
    lists: bool = False
    executor: str = ""
    events: str = ""
    namespace: Callable[[], Mapping[str, Any]] = dict
    lock: BuildLock = field(default_factory=BuildLock)
    projects: list[Project] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    creators: list[Callable[[], Any]] = field(default_factory=list)
    _at_end: list[Callable[[], None]] = field(default_factory=list)
    _collects: bool = False
    _ends: list[Callable[[], object]] | None = None

    def open(self, project: Project) -> None:
        """Records a project of the dodo.py, whose folder a build will lock."""
        self.projects.append(project)
        self.lock.add(project.state.lock)

    def pause_garbage_collection(self) -> None:
        """Stops Python's collector while specs are loaded: scanning their objects repeatedly would take time."""
        if gc.isenabled() and _CURRENT.get() is self:  # Otherwise nothing would start it again.
            self._collects = True
            gc.disable()

    def resume_garbage_collection(self) -> None:
        """Starts the collector again, for later objects only."""
        if self._collects:
            self._collects = False
            gc.freeze()
            gc.enable()

    def names_parts(self, default: Iterable[str]) -> bool:
        """Returns whether the command line, or else `default`, has names of parts of labels, or patterns."""
        return any(character in name for name in self.names or default for character in ":*")

    def has_other_tasks(self) -> bool:
        """Returns whether the dodo.py has tasks besides those of its specs; they may depend on parts of labels."""
        names = self.namespace().items()
        return sum(name.startswith("task_") or hasattr(value, "create_doit_tasks") for name, value in names) > 1

    def at_end(self, action: Callable[[], None]) -> None:
        """Registers `action`, to be called when all stages have run, successfully or not."""
        self._at_end.append(action)

    @property
    def executors(self) -> list[Executor]:
        """The executors of the loaded projects."""
        return [session.builder.executor for session in self.sessions]

    @cached_property
    def monitor(self) -> Monitor:
        """What shows the build. ArtifactError if the file of events cannot be written."""
        return Monitor(Path(self.events) if self.events else None)

    def interrupt(self) -> None:
        """Stops the stages that are running."""
        self.monitor.stop()
        for executor in self.executors:
            executor.stop()

    def end(self) -> None:
        """Calls the registered actions, and releases the locks, each in any case: a second call does what is left.

        What follows an interrupt knows of it, and does not wait.
        """
        if self._ends is None:
            self._ends = self._listed_ends()
        if self._ends:
            try:
                self._ends.pop(0)()
            finally:
                self.end()

    def _listed_ends(self) -> list[Callable[[], object]]:
        finished = [session.builder.finish for session in self.sessions]
        closed = [self.monitor.close] if "monitor" in self.__dict__ else []
        return [*self._at_end, *finished, *closed, self.lock.give_back, self.resume_garbage_collection]


_CURRENT: ContextVar[Invocation | None] = ContextVar("invocation", default=None)


@contextlib.contextmanager
def entered(invocation: Invocation) -> Iterator[Invocation]:
    """Makes an invocation the current one, and ends it afterwards."""
    token = _CURRENT.set(invocation)
    try:
        try:
            yield invocation
        except KeyboardInterrupt:
            ignore_interrupts()
            raise
        finally:
            _end(invocation)
    finally:
        _CURRENT.reset(token)


def _end(invocation: Invocation) -> None:
    try:
        invocation.end()
    except KeyboardInterrupt:
        ignore_interrupts()
        invocation.end()
        raise


def current() -> Invocation:
    """Returns the current invocation; an empty one outside of qatbuild's commands."""
    return _CURRENT.get() or Invocation()
