"""Labels: [DIR/]SPEC[@VARIANT][:STAGE], as they are written on the command line and name folders of the build."""

from __future__ import annotations

from typing import NamedTuple

SHARED = "shared"
"""The folder, and the first part of the task names, of stages that several labels use."""

_DEPLOY = "deploy."


class Label(NamedTuple):
    """One parsed label. `variant` and `stage` are '' where the text names none."""

    spec: str
    variant: str = ""
    stage: str = ""

    @classmethod
    def parse(cls, text: str) -> Label:
        """Parses a label; any text is one, whether or not a spec has that name."""
        name, _, stage = text.partition(":")
        spec, _, variant = name.partition("@")
        return cls(spec, variant, stage)

    @property
    def name(self) -> str:
        """The label without its stage: SPEC or SPEC@VARIANT."""
        return f"{self.spec}@{self.variant}" if self.variant else self.spec

    def __str__(self) -> str:
        return f"{self.name}:{self.stage}" if self.stage else self.name


def spec_of(text: str) -> str:
    """Returns the spec's name in a label: "cnn" for "cnn@small:float"."""
    return text.partition(":")[0].partition("@")[0]


def route_of(stage: str) -> str:
    """Returns the route of a stage's name: "vela" for "deploy.vela"; '' for a stage that is no deployment."""
    return stage.removeprefix(_DEPLOY) if stage.startswith(_DEPLOY) else ""


def stage_of(route: str) -> str:
    """Returns the name of a route's stage: "deploy.vela" for "vela"."""
    return f"{_DEPLOY}{route}"
