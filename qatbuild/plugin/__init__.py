"""All that speaks doit, and nothing else does.

A dodo.py needs two lines:

    from qatbuild.plugin import door
    DOIT_CONFIG, task_specs = door(__file__)
"""

from __future__ import annotations

from typing import Any

__all__ = ["door"]


def __getattr__(name: str) -> Any:
    """Import on demand: doit imports this package for its commands, also in projects without a spec."""
    if name not in __all__:
        raise AttributeError(name)
    from qatbuild.plugin import entrance  # noqa: PLC0415

    return getattr(entrance, name)
