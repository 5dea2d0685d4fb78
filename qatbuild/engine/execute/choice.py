"""The executor of a project: the one that its settings, QATBUILD_EXECUTOR or the command line name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qatbuild.engine.execute import Executor
from qatbuild.engine.executor_name import LOCAL

if TYPE_CHECKING:
    from qatbuild.engine.project import Project
    from qatbuild.engine.rebuild import Rebuilder

_TIMEOUT_S = 10.0


def chosen(project: Project, rebuilder: Rebuilder) -> Executor:
    """Returns a new executor for a project's requests. Nothing is started or reached yet."""
    if project.executor == LOCAL:
        from qatbuild.engine.execute.local import LocalExecutor  # noqa: PLC0415  Not needed with another executor.

        return LocalExecutor()
    from qatbuild.engine.cache import READ_WRITE, Cache  # noqa: PLC0415
    from qatbuild.engine.execute.dask.executor import BLOBS, DaskExecutor, Setup  # noqa: PLC0415  It needs an extra.
    from qatbuild.engine.pools import THREADS_PER_CORE  # noqa: PLC0415

    scheduler = project.executor.partition("://")[2]
    folder = project.state.dask
    cache = project.cache if scheduler else Cache(str(folder / BLOBS), READ_WRITE, _TIMEOUT_S)
    at_once = max(1, THREADS_PER_CORE * (os.cpu_count() or 1) // project.threads)
    setup = Setup(cache, folder, dict(project.takes), project.threads, at_once, rebuilder.code, rebuilder.digests)
    return DaskExecutor(f"tcp://{scheduler}" if scheduler else "", setup)
