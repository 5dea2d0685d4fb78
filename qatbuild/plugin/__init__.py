"""All that speaks doit, and nothing else does.

A dodo.py needs two lines:

    from qatbuild.plugin import door
    DOIT_CONFIG, task_specs = door(__file__)
"""

from qatbuild.plugin.tasks import door

__all__ = ["door"]
