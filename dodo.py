"""Makes every spec below specs/ a doit task."""

from qatbuild.plugin import project_tasks

DOIT_CONFIG, task_specs = project_tasks(__file__)
