"""Reads spec files into typed variants. All faults of a file are reported together, as one SpecError."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import Facts, SpecError
from qatbuild.schema import faults, matrix, model
from qatbuild.schema.alternatives import without_alternatives
from qatbuild.schema.comments import WITH_OPTIONS, without_comments
from qatbuild.schema.diagnostics import Diagnostic, FaultySpecError, Sources
from qatbuild.schema.fault_list import FaultList
from qatbuild.schema.faults import Fault, Layer, ValidDocuments
from qatbuild.schema.matrix import Cell, Combination
from qatbuild.schema.nearest import nearest
from qatbuild.schema.read import read_json
from qatbuild.schema.rules import AllowedPaths, rule_violations
from qatbuild.schema.typed import each, typed

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST_LABEL = 255
_FOLDERS = {"shared", "work", "downloads"}
_COMMANDS = {
    "auto", "clean", "dumpdb", "forget", "help", "ignore", "info", "list", "reset-dep", "run", "strace",
    "tabcompletion", "explain", "plan", "affected", "audit", "check", "diff", "graph", "gc", "layers",
    "cure", "diagnose", "metrics", "new", "report", "reproduce", "schema", "sign", "status", "verify", "why",
}  # fmt: skip
RESERVED = _FOLDERS | _COMMANDS
"""Names that no spec may have: folders of the build, and commands."""

_OPTIONS = tuple((section, "options") for section in WITH_OPTIONS)


def find(specs: Path) -> dict[str, Path]:
    """Returns name -> file of every spec below `specs`. A file that begins with _ or . is only a base for others."""
    files = sorted(path for path in specs.rglob("*.json") if not path.is_dir())
    relative = {path: path.relative_to(specs) for path in files}
    return {
        name.with_suffix("").as_posix(): path
        for path, name in relative.items()
        if not any(part.startswith(("_", ".")) for part in name.parts)
    }


def find_below(root: Path, patterns: Iterable[str]) -> list[tuple[str, Path]]:
    """Returns (name, file) of every spec below the folders that match `patterns`, sorted by name.

    A name is the path from the root without folders called specs: vision/specs/net.json is vision/net. Files and
    folders that begin with _ or . are left out. Two files may get the same name, which the plan refuses.
    """
    names = {}
    for pattern in patterns:
        for folder in root.glob(pattern):
            for file in folder.rglob("*.json") if folder.is_dir() else [folder]:
                *folders, name = file.relative_to(root).with_suffix("").parts
                if not file.is_dir() and not any(part.startswith(("_", ".")) for part in (*folders, name)):
                    names[file] = "/".join([*(part for part in folders if part != "specs"), name])
    return sorted((name, file) for file, name in names.items())


def load(name: str, file: Path, allowed_paths: AllowedPaths) -> list[model.Variant]:
    """Returns the variants of the spec `name` in `file`, at least one. SpecError lists all its faults."""
    return load_with_documents(name, file, allowed_paths, ValidDocuments())[0]


def load_with_documents(
    name: str, file: Path, allowed_paths: AllowedPaths, valid: ValidDocuments
) -> tuple[list[model.Variant], tuple[Path, ...]]:
    """Returns the variants of a spec, as `load` does, and the files that were read: its own and all that it extends."""
    try:
        layers = list(_layers(file, allowed_paths))
        return _variants(name, file, allowed_paths, layers, valid), tuple(layer.file for layer in layers)
    except OSError as fault:  # A disk that fails, or a limit of its own: the other specs are not affected.
        facts = [("file", file), ("path", fault.filename), ("reason", fault.strerror)]
        raise SpecError("A path of a spec cannot be looked at.", facts) from fault


def documents(name: str, file: Path, allowed_paths: AllowedPaths) -> dict[str, Any]:
    """Returns the documents of a spec by label, each with all that applies to it. SpecError for a spec with faults."""
    layers, valid = list(_layers(file, allowed_paths)), ValidDocuments()
    merged_documents, errors = _checked(name, file, allowed_paths, layers, valid)
    if errors:
        raise errors.error()
    return merged_documents


def patched_variant(
    label: str, file: Path, document: Mapping[str, Any], patch: Mapping[str, Any], allowed_paths: AllowedPaths
) -> model.Variant:
    """Returns the variant that a merge patch makes of a valid document. SpecError if that is not valid."""
    result = patched(document, patch)
    described = [*faults.of_schema(result, ValidDocuments())] or [*rule_violations(result, file.parent, allowed_paths)]
    if described:
        raise SpecError(
            "A patch makes an invalid spec.", [("file", file), *((str(each.path), each.text) for each in described)]
        )
    return typed(label, file, result)


def _variants(
    name: str, file: Path, allowed_paths: AllowedPaths, layers: list[Layer], valid: ValidDocuments
) -> list[model.Variant]:
    """Returns the variants of a spec. FaultySpecError without the faults that only follow from a misspelt token."""
    valid_documents, errors = _checked(name, file, allowed_paths, layers, valid)
    if not errors:
        return [typed(label, file, document) for label, document in valid_documents.items()]
    if corrected := errors.corrected():
        errors = errors.without_consequences(_checked(name, file, allowed_paths, corrected, valid)[1])
    raise errors.error()


def _checked(
    name: str, file: Path, allowed_paths: AllowedPaths, layers: list[Layer], valid: ValidDocuments
) -> tuple[dict[str, Any], FaultList]:
    """Returns the documents of a spec by label, and its faults; there are documents only if there is no fault."""
    errors = FaultList(file, layers)
    errors.add((Fault((), text) for text in name_errors(name)), layers[:1])
    merged, patches = _merged(layers, errors)
    if patches is not None:
        described = faults.of_schema({**merged, "variants": patches}, valid)
        errors.add((fault for fault in described if fault.path[:1] == ("variants",)), layers)
    combined = _combinations(merged.pop("matrix", None), merged, layers, errors, valid)
    if not isinstance(patches, dict) or not patches:
        patches = {"": {}}
    count = len(patches) * len(combined)
    if text := matrix.too_many(count, count * matrix.size(merged) + len(combined) * matrix.size(patches)):
        errors.add([Fault(("variants" if len(combined) == 1 else "matrix",), text)], layers[:1])
        return {}, errors
    errors.variants = patches
    merged_documents = {}
    with_faults = 0
    for (variant, patch), combination in itertools.product(patches.items(), combined):
        document = merged
        for part in (patch if isinstance(patch, dict) else {}, *(cell.patch for cell in combination.cells)):
            errors.add(replaced(document, part), layers, variant)
            document = patched(document, part)
        over = [Layer(_holder(layers, cell), cell.place, cell.patch, len(cell.field)) for cell in combination.cells]
        if variant:
            over += [Layer(layer.file, ("variants", variant), _variant(layer.document, variant)) for layer in layers]
        label = "@".join(filter(None, (name, ",".join(filter(None, (variant, combination.name))))))
        described = [*faults.of_schema(document, valid), *_label_faults(label, variant)]
        broken = {fault.path[:1] for fault in described}
        rules = (
            fault for fault in rule_violations(document, file.parent, allowed_paths) if fault.path[:1] not in broken
        )
        described += itertools.islice(rules, faults.MOST)
        errors.add(described, [*over, *layers], variant)
        with_faults += bool(described)
        if max(len(errors), with_faults) >= faults.MOST:
            break
        if not errors:
            merged_documents[label] = document
    return ({} if errors else merged_documents), errors


def _label_faults(label: str, variant: str) -> Iterator[Fault]:
    """Yields a fault for a label that is no name of a folder."""
    if len(label.rpartition("/")[2]) > _LONGEST_LABEL:
        path = ("variants", variant) if variant else ()
        yield Fault(path, f"makes a label that is longer than {_LONGEST_LABEL} characters, a folder's name.")


def name_errors(name: str) -> Iterator[str]:
    """Yields a sentence for each reason to refuse a spec's name."""
    if not all(_NAME.fullmatch(part) for part in name.split("/")):
        yield f'a spec cannot be named "{name}": letters, digits, "_", "-", "." make a label.'
    if name.partition("/")[0] in RESERVED:
        yield f'a spec cannot be named "{name}": that is a command, or a folder of the build.'


def _combinations(
    cells: Any,
    merged: Mapping[str, Any],
    layers: list[Layer],
    errors: FaultList,
    valid: ValidDocuments,
) -> list[Combination]:
    """Returns the combinations of the merged matrix; only the empty combination without a valid matrix."""
    if cells is None:
        return [Combination()]
    described = [
        fault for fault in faults.of_schema({**merged, "matrix": cells}, valid) if fault.path[:1] == ("matrix",)
    ]
    combined: list[Combination] = []
    if not described:
        combined, described = matrix.combinations(cells, merged)
    errors.add(described, layers)
    return combined or [Combination()]


def _holder(layers: list[Layer], cell: Cell) -> Path:
    """Returns the file whose matrix wrote a cell; of several, the strongest layer's."""
    return faults.place(cell.place, layers)[0].file


def merge_patch(target: Any, patch: Any, *, keep_null: bool = False) -> Any:
    """Applies a JSON merge patch (RFC 7396): objects merge, null removes, everything else replaces.

    With `keep_null` the target is itself a patch: a null stays in it.
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None and not keep_null:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value, keep_null=keep_null)
    return merged


def patched(document: Any, patch: Any) -> Any:
    """Applies a merge patch to a document; what excludes the patch's fields is dropped (see alternatives.py)."""
    return merge_patch(without_alternatives(document, patch), patch)


def replaced(document: Any, patch: Any, path: tuple[str, ...] = ()) -> Iterator[Fault]:
    """Yields a fault for each value that is no object, but that a patch of its fields would replace without a word."""
    if not isinstance(patch, dict) or path in _OPTIONS:
        return
    if isinstance(document, dict):
        for key in sorted(document.keys() & patch.keys()):
            yield from replaced(document[key], patch[key], (*path, key))
    elif document is not None:
        yield faults.no_object(path, document)


def _merged(layers: list[Layer], errors: FaultList) -> tuple[Any, Any]:
    """Returns (document, patches of its variants or None) of layers, the strongest of which comes first."""
    merged: Any = {}
    patches: Any = None
    for number, layer in reversed([*enumerate(layers)]):
        fields = {key: value for key, value in layer.document.items() if key != "variants"}
        errors.add(replaced(merged, fields), layers[number + 1 :])
        merged = patched(merged, fields)
        if "variants" in layer.document:
            patches = merge_patch(patches, layer.document["variants"], keep_null=True)
    if isinstance(patches, dict):  # A null removes a variant of the base.
        patches = {name: patch for name, patch in patches.items() if patch is not None}
    return merged, patches


def _layers(file: Path, allowed_paths: AllowedPaths) -> Iterator[Layer]:
    """Yields a spec file and the files that it extends, strongest first. Paths become relative to the first."""
    seen: dict[str, str] = {}
    folder = file.parent
    while True:
        document = without_comments(read_json(file))
        if not isinstance(document, dict):
            raise SpecError("A spec must be a JSON object.", [("file", file)])
        base = document.pop("extends", document.get(_misspelt_extends(document)))
        if base is not None and not (isinstance(base, str) and base):
            raise _dangling("A spec has 1 fault.", file, file, "must be the path of another spec.")
        document.pop("$schema", None)
        if file.parent != folder:
            _rebase(document, file.parent, folder)
        yield Layer(file, (), document)
        if base is None:
            return
        seen[os.path.realpath(file)] = file.name  # A path too long for the system is one that does not exist.
        above, file = file, file.parent / base
        if os.path.realpath(file) in seen:
            circle = " -> ".join([*seen.values(), file.name])
            raise _dangling("A spec extends itself.", above, file, base, [("circle", circle)])
        if not allowed_paths.holds(file):
            raise _dangling("A spec extends a file outside the project.", above, file, base)
        if not os.path.isfile(file):  # noqa: PTH113  Path.is_file fails for a name that is too long.
            what = "no file" if os.path.lexists(file) else "a file that does not exist"
            hint = "the path is relative to the spec that names it"
            raise _dangling(f"A spec extends {what}.", above, file, base, hint=hint, near=_neighbour(above, base))


def _misspelt_extends(document: dict[str, Any]) -> str:
    """Returns the key that is meant to be `extends`; '' without one."""
    unknown = document.keys() - faults.fields()
    return next((key for key in sorted(unknown) if nearest(key, faults.fields()) == "extends"), "")


def _dangling(
    message: str, above: Path, file: Path, base: str, more: Facts = (), *, hint: str = "", near: str = ""
) -> FaultySpecError:
    """Returns the error of a spec `above` whose `extends` does not lead to another spec."""
    place = Sources().place(above, ("extends",))
    text = f"{base}{f'. Did you mean {json.dumps(near)}?' if near else ''}"
    rows = [*more, *([("Did you mean", near)] if near else [])]
    diagnostic = Diagnostic("/extends", " ".join([text, *(str(value) for _, value in more)]), place)
    diagnostic = diagnostic._replace(replacement=json.dumps(near) if near else "")
    return FaultySpecError(message, [("file", file), ("/extends", base), *rows], [diagnostic], hint)


def _neighbour(above: Path, base: str) -> str:
    """Returns the path in the same folder that is most like a base that does not exist; '' without one."""
    folder, _, name = base.rpartition("/")
    try:
        names = sorted(path.name for path in (above.parent / folder).glob("*.json"))
    except OSError:
        return ""
    return "/".join(filter(None, (folder, near))) if (near := nearest(name, names)) else ""


def _rebase(document: Any, folder: Path, home: Path) -> None:
    """Rewrites the paths in a base's document, in place: from relative to `folder` to valid in the folder `home`."""
    variants, cells = document.get("variants"), document.get("matrix")
    parts = [document, *(variants.values() if isinstance(variants, dict) else ())]
    if isinstance(cells, dict):
        _rebase_matrix(cells, folder, home)
    for part in filter(lambda part: isinstance(part, dict), parts):
        for *sections, name in model.PATHS:
            holder = part
            for section in sections:
                holder = holder.get(section) if isinstance(holder, dict) else None
            if isinstance(holder, dict) and name in holder:
                holder[name] = each(holder[name], lambda path: str(folder / path))


def _rebase_matrix(cells: dict[str, Any], folder: Path, home: Path) -> None:
    """Makes paths in a matrix relative to the spec: they become part of labels, which are equal on every machine."""

    def moved(paths: Any) -> Any:
        return each(paths, lambda path: os.path.relpath(folder / path, home))

    for field in map(".".join, model.PATHS):
        values = _list(cells.get(field))
        values[:] = map(moved, values)
        for row in (*_list(cells.get("exclude")), *_list(cells.get("include"))):
            if isinstance(row, dict) and field in row:
                row[field] = moved(row[field])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _variant(document: Any, name: str) -> Any:
    variants = document.get("variants")
    return variants.get(name) if isinstance(variants, dict) else None
