"""A project on the disk: the settings in [tool.qatbuild] of its pyproject.toml, and the files of its specs."""

from __future__ import annotations

import contextlib
import math
import os
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qatbuild.engine.executor_name import LOCAL, VARIABLE, executor_name
from qatbuild.engine.pools import POOLS
from qatbuild.engine.state_folder import StateFolder
from qatbuild.engine.walk import tree
from qatbuild.exchange.errors import ArtifactError, SpecError, system_facts, system_hint
from qatbuild.exchange.files import make_folder, read_text

if TYPE_CHECKING:
    from qatbuild.engine.cache import Cache

_ELSEWHERE = "set [tool.qatbuild] build to another folder"

_SETTINGS: dict[str, type | tuple[type, ...]] = {
    "default": list,
    "specs": (str, list),
    "build": str,
    "allow": list,
    "threads": int,
    "store": (str, bool),
    "cache": str,
    "cache_mode": str,
    "cache_timeout": (int, float),
    "pools": dict,
    "takes": dict,
    "executor": str,
}


class Everything(NamedTuple):
    """Selects every spec of a project."""


class Only(NamedTuple):
    """Selects the specs with these names."""

    names: tuple[str, ...]


Selection = Everything | Only


@dataclass(frozen=True)
class Project:
    """Folders and settings of a project.

    `specs` and `build` are folders, `default` the labels that plain doit builds (None: all), `allowed` folders outside
    the project that specs may use. `threads` is the number of threads of a stage, by default the number of cores.
    `store` is the folder of kept results, or None. If there are `patterns`, the specs are in the folders below the root
    that match them, and `specs` is the root. `pools` and `takes` limit concurrent stages (pools.py). `cache` is where
    results are on other machines, or None: what is up to date does not depend on it. `executor` says
    where stages run (executor_name.py).
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
    cache: Cache | None = field(default=None, repr=False)
    executor: str = field(default=LOCAL, repr=False)

    @property
    def state(self) -> StateFolder:
        """The files that the engine keeps between builds."""
        return StateFolder.of(self.build)

    @classmethod
    def at(cls, root: Path) -> Project:
        """Reads the project whose root folder is `root`. SpecError for invalid settings."""
        root = Path(os.path.abspath(root))  # noqa: PTH100  Recipes and requests name files by their absolute paths.
        file = root / "pyproject.toml"
        settings = _settings(file) if os.path.lexists(file) else {}
        default = settings.get("default")
        specs = settings.get("specs", "specs")
        return cls(
            root,
            root / specs if isinstance(specs, str) else root,
            root / settings.get("build", "build"),
            tuple(default) if default else None,
            tuple(Path(os.path.normpath(root.absolute() / path)) for path in settings.get("allow", ())),
            settings.get("threads") or os.cpu_count() or 1,
            _store(root, settings),
            _patterns(specs),
            tuple(_amounts("pools", settings.get("pools", {})).items()),
            tuple(
                (stage, _amounts(f"takes.{stage}", amounts, {*POOLS, *settings.get("pools", {})}))
                for stage, amounts in settings.get("takes", {}).items()
            ),
            _cache(root, settings),
            _executor(settings),
        )

    @classmethod
    def prepared(cls, root: Path) -> Project:
        """Reads the project and makes its state folder. ArtifactError if that is impossible."""
        project = cls.at(root)
        if odd := [character for character in "*?[\\" if character in str(project.build)]:
            facts = [("folder", project.build), ("characters", " ".join(odd))]
            raise ArtifactError(
                "The build folder's path has characters that TensorFlow reads as a pattern.", facts, _ELSEWHERE
            )
        try:
            make_folder(project.state.path)
        except OSError as fault:
            facts = [("folder", project.build), *system_facts(fault)]
            raise ArtifactError(
                "The build folder cannot be created.", facts, f"make it writable, or {_ELSEWHERE}"
            ) from fault
        return project

    def files(self) -> list[tuple[str, Path]]:
        """Returns name and file of every spec. SpecError if a folder of specs cannot be read."""
        from qatbuild.schema.load import find, find_below  # noqa: PLC0415  A build with nothing to do needs no specs.

        with _reading_folders():
            for folder in self._tops():
                tree(str(folder), unreadable=_refuse)
            return find_below(self.root, self.patterns) if self.patterns else list(find(self.specs).items())

    def folders_without_specs(self) -> list[str]:
        """Returns the folders of the settings that lead to no spec: empty, gone, misspelt or not mounted.

        A pattern with wildcards may match nothing, unless nothing else leads to a spec either.
        """
        from qatbuild.schema.load import find, find_below  # noqa: PLC0415

        with _reading_folders():
            if not self.patterns:
                return [] if find(self.specs) else [str(self.specs)]
            empty = [pattern for pattern in self.patterns if not find_below(self.root, [pattern])]
        if len(empty) == len(self.patterns):
            return empty
        return [pattern for pattern in empty if not any(character in pattern for character in "*?[")]

    def _tops(self) -> list[Path]:
        """Returns the existing folders below which the specs are."""
        tops = [self.specs] if not self.patterns else [path for each in self.patterns for path in self.root.glob(each)]
        return [top for top in tops if top.is_dir()]

    def file(self, name: str) -> Path:
        """Returns the file of a spec."""
        return self._files_by_name[name] if self.patterns else self.specs / f"{name}.json"

    @cached_property
    def _files_by_name(self) -> dict[str, Path]:
        return dict(self.files())

    def folders(self) -> list[str]:
        """Returns the folders whose states change when a spec is added or removed."""
        if not self.patterns:
            return tree(str(self.specs))[0]
        folders = {str(self.root): None}
        for pattern in self.patterns:
            parts = Path(pattern).parts
            for count in range(1, len(parts) + 1):
                for path in filter(Path.is_dir, self.root.glob("/".join(parts[:count]))):
                    folders.update(dict.fromkeys(tree(str(path))[0] if count == len(parts) else [str(path)]))
        return list(folders)


def _refuse(fault: OSError) -> None:
    raise fault


@contextlib.contextmanager
def _reading_folders() -> Iterator[None]:
    """Reports a folder that cannot be read: its specs must not seem to be gone."""
    try:
        yield
    except OSError as fault:
        facts = [("folder", fault.filename), ("reason", fault.strerror)]
        raise SpecError("A folder of specs cannot be read.", facts, "change its permissions, or mount it") from fault


def _patterns(specs: str | list[Any]) -> tuple[str, ...]:
    """Returns the patterns of a list of folders; () for a single folder. SpecError for one outside the project."""
    patterns = tuple(map(str, specs)) if isinstance(specs, list) else ()
    for pattern in patterns:
        if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            where = f'"{pattern}" must be a folder below the project, or a pattern for such folders'
            raise SpecError("The project's settings have faults.", [("tool.qatbuild.specs", where)])
    return patterns


def _amounts(where: str, table: Any, pools: Collection[str] = ()) -> dict[str, float]:
    """Returns amounts by pool. SpecError for an invalid amount, and for a pool that is not in `pools`."""
    facts = []
    if not isinstance(table, dict):
        facts.append((f"tool.qatbuild.{where}", f"must be a table of pools, got {table!r}."))
    for name, amount in table.items() if isinstance(table, dict) else ():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
            facts.append((f"tool.qatbuild.{where}.{name}", f"must be a number of at least 0, got {amount!r}."))
        elif pools and name not in pools:
            facts.append((f"tool.qatbuild.{where}.{name}", f"unknown pool. Known: {', '.join(sorted(pools))}."))
    if facts:
        raise SpecError("The project's settings have faults.", facts)
    return {name: float(amount) for name, amount in table.items()}


def _store(root: Path, settings: dict[str, Any]) -> Path | None:
    chosen = settings.get("store", True)
    if chosen is True:
        return root / str(settings.get("build", "build")) / ".store"
    return Path(os.path.normpath(root.absolute() / Path(chosen).expanduser())) if chosen else None


def _executor(settings: dict[str, Any]) -> str:
    if name := os.environ.get(VARIABLE):
        return executor_name(name, VARIABLE)
    return executor_name(settings.get("executor", LOCAL), "tool.qatbuild.executor")


def _cache(root: Path, settings: dict[str, Any]) -> Cache | None:
    if not (settings.get("cache") or os.environ.get("QATBUILD_CACHE")):
        return None
    from qatbuild.engine.cache import cache_of  # noqa: PLC0415  Without a cache nothing is paid for it.

    return cache_of(settings, root)


def _settings(file: Path) -> dict[str, Any]:
    try:
        settings = dict(tomllib.loads(read_text(file)).get("tool", {}).get("qatbuild", {}))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as fault:
        hint = system_hint(fault) if isinstance(fault, OSError) else ""
        raise SpecError("The project's settings cannot be read.", [("file", file), ("reason", fault)], hint) from fault
    facts: list[tuple[str, object]] = []
    for name, value in settings.items():
        wanted = _SETTINGS.get(name)
        if wanted is None:
            facts.append((f"tool.qatbuild.{name}", f"unknown setting. Known: {', '.join(_SETTINGS)}."))
        elif not isinstance(value, wanted):
            kinds = wanted if isinstance(wanted, tuple) else (wanted,)
            kind = " or ".join(kind.__name__ for kind in kinds)
            facts.append((f"tool.qatbuild.{name}", f"must be a {kind}, got {value!r}."))
    if facts:
        raise SpecError("The project's settings have faults.", [("file", file), *facts])
    return dict(settings)
