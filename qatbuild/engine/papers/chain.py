"""The chain behind a model: its stages as they were published, from the dataset to the evaluation and the routes.

It is read from the manifests and records that lie beside the artifacts, not from a spec: what was built, not what would
be. Records name folders by absolute paths; the chain follows them relative to the model's own folder, so that a project
can be moved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from qatbuild.engine.plan import STAGES
from qatbuild.exchange.link import Link
from qatbuild.exchange.manifest import Manifest
from qatbuild.schema.label import route_of, stage_of

_VARIABLES = ("CUDA_VISIBLE_DEVICES",)
"""Members of a toolchain that are no packages."""


@dataclass(frozen=True)
class Chain:
    """The links of one model in the order of the stages, by stage name; `home` is the model's folder."""

    label: str
    home: Path
    links: Mapping[str, Link]

    @cached_property
    def unshared(self) -> list[Link]:
        """The links that belong to this model alone; the others may be shared."""
        inside = f"{self.home}{os.sep}"
        return [link for link in self.links.values() if f"{link.folder}{os.sep}".startswith(inside)]

    @cached_property
    def artifacts(self) -> dict[str, tuple[int, str]]:
        """Name, relative to the model's folder, -> (bytes, SHA-256) of the artifacts that belong to this model alone.

        The digest of those with measured times is ''.
        """
        files: dict[str, tuple[int, str]] = {}
        for link in self.unshared:
            place = f"{link.folder}/"[len(f"{self.home}/") :]
            files.update({f"{place}{name}": each for name, each in link.manifest.files.items()})
        return files

    @cached_property
    def packages(self) -> list[tuple[str, str]]:
        """Names and versions of the packages that the stages used, and of Python."""
        rows = dict.fromkeys(row for link in self.links.values() for row in link.record.request.toolchain.items())
        return [(name, version) for name, version in rows if version and name not in _VARIABLES]

    @property
    def threads(self) -> int:
        """The number of threads that the evaluation computed with."""
        return self.links["evaluate"].record.request.threads

    @property
    def is_whole(self) -> bool:
        """Whether every stage was made from just the upstream results that lie here now."""
        return all(_fits(link, self.links) for link in self.links.values())

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The spec that made the model: the settings of its stages, with every default filled in."""
        spec: dict[str, Any] = {}
        for stage, link in self.links.items():
            route = route_of(stage)
            for name, value in link.record.request.settings.items():
                if name == route:
                    spec["deploy"] = {**spec.get("deploy", {}), name: value}
                elif name not in spec:
                    spec[name] = value
                elif spec[name] is not value and isinstance(value, dict):
                    spec[name] = {**spec[name], **value}
        spec.pop("label", None)
        return spec


def read_chain(label: str, home: Path, link_of: Callable[[str, str], Link] = Link.read) -> Chain:
    """Reads the chain of a model in its folder `home`, with the routes that were built from this model.

    ArtifactError if a manifest or record is missing or invalid.
    """
    links: dict[str, Link] = {}
    waiting = [(str(home), "evaluate")]
    while waiting:
        folder, stage = waiting.pop()
        if stage not in links:
            link = links[stage] = link_of(folder, stage)
            waiting += [(where, role) for role, (where, _) in link.inputs.items()]
    ordered = {stage: links[stage] for stage in STAGES if stage in links}
    for route in _routes(home):
        folder, stage = f"{home}/deploy/{route}", stage_of(route)
        if Manifest.path_of(Path(folder), stage).is_file():
            link = link_of(folder, stage)
            if _fits(link, links):
                ordered[stage] = link
    return Chain(label, home, ordered)


def _routes(home: Path) -> list[str]:
    """Returns the names of the routes with a folder, in order."""
    try:
        return sorted(os.listdir(f"{home}/deploy"))  # noqa: PTH208  Once a model.
    except OSError:
        return []


def _fits(link: Link, links: Mapping[str, Link]) -> bool:
    """Returns whether a stage was made from just these upstream stages."""
    return all(role in links and links[role].sha256 == sha256 for role, (_, sha256) in link.inputs.items())
