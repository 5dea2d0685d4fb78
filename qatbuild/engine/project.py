"""A project on the disk: what [tool.qatbuild] of its pyproject.toml says, its specs, and the plan of them all."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qatbuild.engine.pools import POOLS
from qatbuild.engine.walk import tree
from qatbuild.exchange.errors import ArtifactError, QatbuildError, SpecError

if TYPE_CHECKING:
    from qatbuild.engine.plan import Plan
    from qatbuild.schema.model import Variant

_ELSEWHERE = "name another in [tool.qatbuild] build"

_SETTINGS: dict[str, type | tuple[type, ...]] = {
    "default": list,
    "specs": (str, list),
    "build": str,
    "allow": list,
    "threads": int,
    "store": (str, bool),
    "pools": dict,
    "takes": dict,
}


@dataclass(frozen=True)
class Project:
    """Where things are: `specs` and `build` folders, labels that plain doit builds, folders that specs may point at.

    `threads` is how many a stage computes with: by default one for each core of the machine. `store` is where results
    are kept, None if nowhere. With `patterns` the specs are in the folders that these match below the root; `specs` is
    then the root. `pools` and `takes` are for pools.py.
    """

    root: Path
    specs: Path
    build: Path
    default: tuple[str, ...] | None
    allowed: tuple[Path, ...]
    threads: int
    store: Path | None
    patterns: tuple[str, ...] = ()
    pools: tuple[tuple[str, float], ...] = ()
    takes: tuple[tuple[str, dict[str, float]], ...] = ()

    @property
    def memory(self) -> Path:
        """The folder of what the engine remembers between builds."""
        return self.build / ".qatbuild"

    @property
    def pages(self) -> Path:
        """The file of what report/pages.py remembers."""
        return self.memory / "pages"

    @classmethod
    def at(cls, root: Path) -> Project:
        """The project whose root folder is `root`. SpecError for settings that make no sense."""
        file = root / "pyproject.toml"
        settings = _settings(file) if file.is_file() else {}
        default = settings.get("default")
        specs = settings.get("specs", "specs")
        return cls(
            root,
            root / specs if isinstance(specs, str) else root,
            root / settings.get("build", "build"),
            None if default is None else tuple(default),
            tuple(Path(os.path.normpath(root.absolute() / path)) for path in settings.get("allow", ())),
            settings.get("threads") or os.cpu_count() or 1,
            _store(root, settings),
            _patterns(specs),
            tuple(_amounts("pools", settings.get("pools", {})).items()),
            tuple(
                (stage, _amounts(f"takes.{stage}", amounts, {*POOLS, *settings.get("pools", {})}))
                for stage, amounts in settings.get("takes", {}).items()
            ),
        )

    @classmethod
    def prepared(cls, root: Path) -> Project:
        """The project, with a folder for what the engine remembers. ArtifactError if that cannot be made."""
        project = cls.at(root)
        if odd := [character for character in "*?[\\" if character in str(project.build)]:
            facts = [("folder", project.build), ("has", " ".join(odd))]
            raise ArtifactError("TensorFlow takes the build folder's path for a pattern.", facts, _ELSEWHERE)
        try:
            project.memory.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            facts = [("folder", project.build), ("reason", fault.strerror)]
            raise ArtifactError(
                "The build folder cannot be made.", facts, f"make it writable, or {_ELSEWHERE}"
            ) from fault
        return project

    def files(self) -> list[tuple[str, Path]]:
        """Name and file of every spec."""
        from qatbuild.schema.load import find, find_below  # noqa: PLC0415  A build with nothing to do reads no specs.

        return find_below(self.root, self.patterns) if self.patterns else list(find(self.specs).items())

    def file(self, name: str) -> Path:
        """The file of a spec that there is."""
        return self._found[name] if self.patterns else self.specs / f"{name}.json"

    @cached_property
    def _found(self) -> dict[str, Path]:
        return dict(self.files())

    def folders(self) -> list[str]:
        """The folders in which a spec appears or vanishes: as long as none of them changes, there are no others."""
        if not self.patterns:
            return tree(str(self.specs))[0]
        found = {str(self.root): None}
        for pattern in self.patterns:
            parts = Path(pattern).parts
            for count in range(1, len(parts) + 1):
                for path in filter(Path.is_dir, self.root.glob("/".join(parts[:count]))):
                    found.update(dict.fromkeys(tree(str(path))[0] if count == len(parts) else [str(path)]))
        return list(found)

    def load(self, names: Iterable[str] | None = None) -> tuple[Plan, dict[str, str], dict[str, QatbuildError]]:
        """The plan of all good specs, their descriptions by name, and the error of each bad one by name.

        With `names`, of these specs alone.
        """
        from qatbuild.engine.plan import plan  # noqa: PLC0415
        from qatbuild.schema.faults import SOUND  # noqa: PLC0415
        from qatbuild.schema.load import load  # noqa: PLC0415
        from qatbuild.schema.rules import Territory  # noqa: PLC0415

        SOUND.load(self.memory / "sound")
        variants: list[Variant] = []
        descriptions: dict[str, str] = {}
        errors: dict[str, QatbuildError] = {}
        territory = Territory(self.root, self.allowed)
        files = self.files() if names is None else [(name, self.file(name)) for name in names]
        there = {name for name, _ in files}
        if self.patterns:
            there |= {*self._found}
        elif names is not None:
            there |= {above for name in there for above in _above(name) if self.file(above).is_file()}
        for name, file in files:
            try:
                _refuse_among_routes(name, there, file)
                loaded = load(name, file, territory)
            except QatbuildError as error:
                errors[name] = error
            else:
                variants += loaded
                descriptions[name] = loaded[0].description
        if names is not None:  # Those of the other specs are still needed.
            SOUND.met |= SOUND.known
        SOUND.save(self.memory / "sound")
        return plan(variants, self.root), descriptions, errors


def _refuse_among_routes(name: str, there: Collection[str], file: Path) -> None:
    """SpecError if the folder of a label would be that of another's route. `there` are the specs that there are."""
    for above in _above(name):
        if above in there and name.startswith(f"{above}/deploy/"):
            facts = [("file", file), ("/", f'the routes of "{above}" are in its folder {above}/deploy.')]
            raise SpecError(f'"{name}" cannot be a label beside "{above}".', facts, "move it to another folder")


def _above(name: str) -> list[str]:
    """What a label is below: "a" and "a/b" for "a/b/c"."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _patterns(specs: str | list[Any]) -> tuple[str, ...]:
    """What a list of folders says. SpecError for one that leads out of the project."""
    patterns = tuple(map(str, specs)) if isinstance(specs, list) else ()
    for pattern in patterns:
        if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            where = f'"{pattern}" must be a folder below the project, or a pattern of such'
            raise SpecError("The project's settings have faults.", [("tool.qatbuild.specs", where)])
    return patterns


def _amounts(where: str, given: Any, known: Collection[str] = ()) -> dict[str, float]:
    """Numbers by pool. SpecError for what is none, and for a pool that there is not."""
    facts = []
    if not isinstance(given, dict):
        facts.append((f"tool.qatbuild.{where}", f"must be a table of pools, got {given!r}."))
    for name, amount in given.items() if isinstance(given, dict) else ():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
            facts.append((f"tool.qatbuild.{where}.{name}", f"must be a number of at least 0, got {amount!r}."))
        elif known and name not in known:
            facts.append(
                (f"tool.qatbuild.{where}.{name}", f"there is no such pool. Known: {', '.join(sorted(known))}.")
            )
    if facts:
        raise SpecError("The project's settings have faults.", facts)
    return {name: float(amount) for name, amount in given.items()}


def _store(root: Path, settings: dict[str, Any]) -> Path | None:
    chosen = settings.get("store", True)
    if chosen is True:
        return root / str(settings.get("build", "build")) / ".store"
    return Path(os.path.normpath(root.absolute() / Path(chosen).expanduser())) if chosen else None


def _settings(file: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("qatbuild", {})
    except (OSError, ValueError) as fault:
        raise SpecError("The project's settings cannot be read.", [("file", file), ("reason", fault)]) from fault
    facts: list[tuple[str, object]] = []
    for name, value in settings.items():
        wanted = _SETTINGS.get(name)
        if wanted is None:
            facts.append((f"tool.qatbuild.{name}", f"unknown. Known: {', '.join(_SETTINGS)}."))
        elif not isinstance(value, wanted):
            kinds = wanted if isinstance(wanted, tuple) else (wanted,)
            kind = " or ".join(kind.__name__ for kind in kinds)
            facts.append((f"tool.qatbuild.{name}", f"must be a {kind}, got {value!r}."))
    if facts:
        raise SpecError("The project's settings have faults.", [("file", file), *facts])
    return dict(settings)
