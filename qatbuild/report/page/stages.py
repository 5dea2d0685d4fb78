"""Reads the published stages behind a model, and what each left for the page: times, settings, curves, details."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.details import FILE as DETAILS
from qatbuild.exchange.files import file_sha256, parse_json, read_bytes, read_json
from qatbuild.exchange.link import Link
from qatbuild.exchange.published import run_path
from qatbuild.report.published_stages import PublishedStages

_ORDER = ("dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate")
_OF_TRAINING = ("curve", "validation", "metric", "best", "last")

Json = Mapping[str, Any]


class History(NamedTuple):
    """The stages that an evaluation rests on, by name, in the order of a build, and the run.json of each that ran here.

    A stage is left out if it is not as the later stage read it, or if its record is not as it was published. So is the
    run.json of a stage that was restored from a cache, and one that was edited.
    """

    links: Mapping[str, Link] = {}
    runs: Mapping[str, Json] = {}

    @property
    def seconds(self) -> float | None:
        """The time of all stages that ran here; None if none of them has a record of it."""
        seconds = [fields["seconds"] for fields in self.runs.values() if "seconds" in fields]
        return round(sum(seconds), 1) if seconds else None

    @property
    def finished(self) -> str:
        """When the evaluation ended, in ISO 8601; '' if it was restored."""
        return str(self.runs.get("evaluate", {}).get("finished", ""))

    @property
    def settings(self) -> dict[str, Any]:
        """The spec that made the model, with every default filled in."""
        spec: dict[str, Any] = {}
        for link in self.links.values():
            for name, value in link.record.request.settings.items():
                both = isinstance(value, dict) and isinstance(spec.get(name), dict)
                spec[name] = {**spec[name], **value} if both else value
        spec.pop("label", None)
        return spec

    @property
    def curves(self) -> Iterator[tuple[str, Json]]:
        """(stage, its curve and validation figures) of the stages that trained."""
        for stage in ("float", "quantize"):
            facts = self.links[stage].manifest.facts if stage in self.links else {}
            fields = {name: facts[name] for name in _OF_TRAINING if facts.get(name)}
            if "curve" in fields or "validation" in fields:
                yield stage, fields


def history(home: Path, published: PublishedStages) -> History:
    """Returns the stages behind the evaluation in the folder `home`."""
    links: dict[str, Link] = {}
    waiting = [(str(home), "evaluate", "")]
    while waiting:
        folder, stage, sha256 = waiting.pop()
        link = None if stage in links else published.link(folder, stage)
        if link is not None and sha256 in {"", link.sha256}:
            links[stage] = link
            waiting += [(where, role, wanted) for role, (where, wanted) in link.inputs.items()]
    ordered = {stage: links[stage] for stage in _ORDER if stage in links}
    return History(ordered, {stage: fields for stage, link in ordered.items() if (fields := _run(link))})


def details(home: Path, published: PublishedStages) -> Json:
    """Returns the details.json of an evaluation (exchange/details); empty without one, or if it was edited."""
    path = home / DETAILS
    try:
        intact = path.is_file() and file_sha256(path) == published.sha256(str(home), "evaluate", DETAILS)
        fields = read_json(path) if intact else {}
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _run(link: Link) -> Json:
    """Returns the run.json of a stage that ran here, if it is as it was written then."""
    if not link.record.ran:
        return {}
    try:
        data = read_bytes(run_path(link.folder, link.stage))
        fields = parse_json(data) if hashlib.sha256(data).hexdigest() == link.record.ran else {}
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}
