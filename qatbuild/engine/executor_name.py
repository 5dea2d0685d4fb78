"""The names of executors: local, dask (a cluster of this machine), dask://HOST:PORT (a scheduler)."""

from __future__ import annotations

import re

from qatbuild.exchange.errors import SpecError

VARIABLE = "QATBUILD_EXECUTOR"
LOCAL = "local"
_DASK = re.compile(r"dask(://([^/:]+|\[[^/\]]+\]):\d+)?")


def executor_name(name: str, where: str) -> str:
    """Returns the name of an executor; SpecError with the place `where` it stands for anything else."""
    if name == LOCAL or _DASK.fullmatch(name):
        return name
    hint = "write local, dask (a cluster of this machine) or dask://HOST:PORT (a scheduler)"
    raise SpecError("This is no executor.", [(where, f'"{name}"')], hint)
