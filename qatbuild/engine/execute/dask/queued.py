"""A stage as a task of Dask that waits at the scheduler until a worker has room for it.

Dask binds most tasks to a worker at once, for the sake of the data that they read: a stage would wait behind another
one of that worker while others have nothing to do, and a new worker would get it only by work stealing, which looks
once a second. Tasks that bring data into a cluster wait at the scheduler, and a stage is like them: its files do not
travel through Dask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask.task_spec import Task

from qatbuild.engine.execute.dask.worker import perform

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from distributed import Client, Future


def queued(
    client: Client, key: str, parcel: str, resources: Mapping[str, float], workers: Collection[str] | None
) -> Future:
    """Queues a parcel under a key, for these workers only unless None. A task with resources is bound, as in Dask."""
    task = Task(key, perform, parcel, _data_producer=True)  # The scheduler asks for it (Scheduler.is_rootish).
    return client.get({key: task}, key, workers=workers, resources=resources, sync=False)
