"""The short door: every spec below specs/ is a doit task."""

from qatbuild.plugin import door

DOIT_CONFIG, task_specs = door(__file__)
