"""A loaded project: its specs are read and planned, and labels select stages of the plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.plan import Plan, plan
from qatbuild.engine.project import Everything, Project, Selection
from qatbuild.exchange.errors import QatbuildError, SpecError
from qatbuild.schema.faults import ValidDocuments
from qatbuild.schema.label import SHARED, Label
from qatbuild.schema.load import load_with_documents
from qatbuild.schema.model import About, Variant
from qatbuild.schema.nearest import suggest
from qatbuild.schema.rules import AllowedPaths


class LoadedProject(NamedTuple):
    """The plan of a project's valid specs; and by spec name descriptions, files, and the errors of invalid specs.

    `abouts` are by label what the specs say about their models for people.
    """

    project: Project
    plan: Plan
    descriptions: Mapping[str, str]
    documents: Mapping[str, tuple[Path, ...]]
    errors: Mapping[str, QatbuildError]
    abouts: Mapping[str, About]

    @classmethod
    def load(cls, project: Project, selection: Selection) -> LoadedProject:
        """Reads and plans the selected specs. SpecError for a folder without specs, and for an unknown default."""
        loaded = cls.read(project, selection)
        if isinstance(selection, Everything):
            _check_folders(project)
            _check_default(project, loaded.names)
        return loaded

    @classmethod
    def read(cls, project: Project, selection: Selection) -> LoadedProject:
        """Reads and plans the selected specs, possibly none."""
        valid = ValidDocuments(project.state.valid_documents)
        variants: list[Variant] = []
        descriptions: dict[str, str] = {}
        documents: dict[str, tuple[Path, ...]] = {}
        errors: dict[str, QatbuildError] = {}
        allowed_paths = AllowedPaths(project.root, project.allowed)
        if isinstance(selection, Everything):
            files = project.files()
        else:
            files = [(name, project.file(name)) for name in selection.names]
        neighbours = _neighbours(project, [name for name, _ in files])
        for name, file in files:
            try:
                _check_folder(name, neighbours, file)
                loaded, documents[name] = load_with_documents(name, file, allowed_paths, valid)
            except QatbuildError as error:
                errors[name] = error
            else:
                variants += loaded
                descriptions[name] = loaded[0].description
        if not isinstance(selection, Everything):
            valid.keep_unvisited()
        valid.save()
        abouts = {variant.label: variant.about for variant in variants}
        return cls(project, plan(variants, project.root), descriptions, documents, errors, abouts)

    @property
    def names(self) -> set[str]:
        """Every label and every name of a spec."""
        return {*self.plan.labels, *self.descriptions, *self.errors}

    @property
    def default(self) -> list[str]:
        """The labels and specs of a build without names."""
        everything = [*self.plan.labels, *self.errors]
        return list(everything if self.project.default is None else self.project.default) or everything

    def select(self, names: Iterable[str]) -> list[str]:
        """Returns the ids of the stages that names select: labels, specs, or either with :STAGE.

        Raises the error of a spec that could not be read, and SpecError for an unknown name.
        """
        return list(dict.fromkeys(id_ for name in names for id_ in self._ids(name)))

    def select_sound(self, names: Iterable[str]) -> tuple[list[str], dict[str, QatbuildError]]:
        """Returns the ids of the stages that names select, and by spec name the errors of specs with faults."""
        labels = {name: Label.parse(name).name for name in names}
        errors = {label: self.errors[label] for label in labels.values() if label in self.errors}
        return self.select(name for name, label in labels.items() if label not in errors), errors

    def labels(self, names: Iterable[str]) -> list[str]:
        """Returns the labels whose stages names select; a name of shared stages selects those that share them.

        Raises what `select` raises.
        """
        wanted: dict[str, None] = {}
        for name in names:
            ids = self._ids(name)
            named = self._labels(Label.parse(name))
            wanted.update(dict.fromkeys(named or [each for id_ in ids for each in self.plan.stages[id_].labels]))
        return list(wanted)

    def _labels(self, label: Label) -> list[str]:
        return [each for each in self.plan.labels if label.name in (each, Label.parse(each).spec)]

    def _ids(self, name: str) -> list[str]:
        label = Label.parse(name)
        if label.name in self.errors:
            raise self.errors[label.name]
        if label == Label(SHARED, "", label.stage):
            ids = [id_ for id_ in self.plan.stages if id_.startswith(f"{SHARED}/{label.stage}")]
        else:
            stages = [row for each in self._labels(label) for row in self.plan.labels[each].items()]
            ids = [id_ for stage, id_ in stages if _matches(label.stage, stage)]
            if stages and not ids:
                present = dict.fromkeys(stage for stage, _ in stages)
                message = f'"{label.name}" has no stage "{label.stage}".{suggest(label.stage, present)}'
                raise SpecError(message, [("it has", ", ".join(present))])
        if not ids:
            raise SpecError(f'There is no label "{name}".{suggest(label.name, self.names)}')
        return ids


def _check_folders(project: Project) -> None:
    """Raises SpecError if a folder or pattern of the settings leads to no spec."""
    if empty := project.folders_without_specs():
        is_partly = project.patterns and len(empty) < len(project.patterns)
        message = "A folder of the project's settings has no specs." if is_partly else "The project has no specs."
        hint = "write a spec as a JSON file in this folder, or set [tool.qatbuild] specs to another folder"
        raise SpecError(message, [("folder", folder) for folder in empty], hint)


def _check_default(project: Project, names: Collection[str]) -> None:
    """Raises SpecError for a default that is not a name."""
    for label in project.default or ():
        if Label.parse(label).name not in names:
            where = f"tool.qatbuild.default{suggest(label, names)}"
            raise SpecError(f'The default "{label}" is not a label or spec.', [("pyproject.toml", where)])


def _matches(wanted: str, stage: str) -> bool:
    """Returns whether a stage is selected: by its name, by "deploy" for every route, or by '' for all stages."""
    return wanted in ("", stage, stage.partition(".")[0])


def _neighbours(project: Project, names: Iterable[str]) -> Collection[str]:
    """Returns the specs whose folders may contain these specs' folders, and the specs themselves."""
    if project.patterns:
        return {*names, *(name for name, _ in project.files())}
    names = set(names)
    return names | {above for name in names for above in _above(name) if project.file(above).is_file()}


def _check_folder(name: str, specs: Collection[str], file: Path) -> None:
    """Raises SpecError if the folder of a label would be the folder of another label's route."""
    for above in _above(name):
        if above in specs and name.startswith(f"{above}/deploy/"):
            facts = [("file", file), ("/", f'the folder {above}/deploy holds the routes of "{above}".')]
            raise SpecError(f'The label "{name}" conflicts with "{above}".', facts, "move its spec to another folder")


def _above(name: str) -> Iterator[str]:
    """Yields the names of the folders above a label: "a" and "a/b" for "a/b/c"."""
    parts = name.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))
