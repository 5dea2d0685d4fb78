"""Labels, [DIR/]SPEC[@VARIANT][:STAGE]: names on the command line and of folders of the build."""

from __future__ import annotations

from typing import NamedTuple

SHARED = "shared"
"""Folder, and first part of the task names, of the stages that several labels share."""

_DEPLOY = "deploy."


class Label(NamedTuple):
    """One parsed label. `variant` and `stage` may be ''."""

    spec: str
    variant: str = ""
    stage: str = ""

    @classmethod
    def parse(cls, text: str) -> Label:
        """Parses any text as a label; whether the spec exists is not checked."""
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
    """Returns the route in the name of a stage: "vela" for "deploy.vela", '' for "float"."""
    return stage.removeprefix(_DEPLOY) if stage.startswith(_DEPLOY) else ""


def stage_of(route: str) -> str:
    """Returns the name of a route's stage: "deploy.vela" for "vela"."""
    return f"{_DEPLOY}{route}"
