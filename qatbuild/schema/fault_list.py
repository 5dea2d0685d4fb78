"""Collects the faults of one spec, each once with the variants that have it, and makes one error of them."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.schema import faults
from qatbuild.schema.diagnostics import Diagnostic, FaultySpecError, Place, Sources, pointer
from qatbuild.schema.faults import Fault, Layer
from qatbuild.schema.positions import Keys

_MOST_VARIANTS = 3
"""Largest number of variants that are named beside a fault of theirs."""


class _Row(NamedTuple):
    """Where a fault is written: the file and the path of keys in it."""

    file: Path
    keys: Keys
    text: str


class FaultList:
    """The faults of a spec whose own file is `file`; `layers` are it and the files that it extends, strongest first."""

    def __init__(self, file: Path, layers: Sequence[Layer]) -> None:
        """Begins without faults."""
        self.file = file
        self._layers = layers
        self.variants: Collection[str] = ()
        """The names of all variants that were looked at."""
        self._rows: dict[_Row, tuple[Fault, dict[str, None]]] = {}

    def __len__(self) -> int:
        """Returns the number of different faults."""
        return len(self._rows)

    def add(self, described: Iterable[Fault], layers: Sequence[Layer], variant: str = "") -> None:
        """Adds faults of a document that was merged from `layers`, as one of `variant`; at most MOST are kept."""
        for fault in described:
            if len(self._rows) < faults.MOST:
                layer, keys = faults.place(fault.path, layers)
                if fault.at_key:
                    fault, keys = _of_key(fault, layer, keys)  # noqa: PLW2901
                self._rows.setdefault(_Row(layer.file, keys, fault.text), (fault, {}))[1][variant] = None

    def corrected(self) -> list[Layer]:
        """Returns the layers with every misspelt token as it was meant; [] without one."""
        misspelt = [(row, fault) for row, (fault, _) in self._rows.items() if fault.replacement]
        layers = [layer._replace(document=copy.deepcopy(layer.document)) for layer in self._layers if misspelt]
        for layer in layers:
            for row, fault in misspelt:
                if row.file == layer.file:
                    _correct(layer.document, row.keys, json.loads(fault.replacement), at_key=fault.at_key)
        return layers

    def without_consequences(self, others: FaultList) -> FaultList:
        """Returns the misspelt tokens, and the faults that are left when they are corrected."""
        result = FaultList(self.file, self._layers)
        result.variants = self.variants
        result._rows = {row: about for row, about in self._rows.items() if about[0].replacement} | others._rows
        return result

    def error(self) -> FaultySpecError:
        """Returns the error that says all faults."""
        facts = [
            (where if file == self.file else f"{file.name} {where}", text)
            for file, keys, text in self._rows
            for where in [pointer(keys)]
        ]
        count = "1 fault" if len(facts) == 1 else f"{len(facts)} faults"
        if len(facts) >= faults.MOST:
            count = f"{faults.MOST} faults or more"
        sources = Sources()
        diagnostics = [self._diagnostic(row, *about, sources) for row, about in self._rows.items()]
        return FaultySpecError(f"A spec has {count}.", [("file", self.file), *facts], diagnostics)

    def _diagnostic(self, row: _Row, fault: Fault, variants: Collection[str], sources: Sources) -> Diagnostic:
        is_of_some = 0 < len(variants) < len(self.variants)
        notes = [*self._extending(row.file, sources)]
        if is_of_some and row.keys[:1] != ("variants",):
            notes += self._variants(list(variants), sources)
        place = sources.place(row.file, row.keys, at_key=fault.at_key)
        return Diagnostic(pointer(row.keys), row.text, place, tuple(notes), fault.replacement)

    def _extending(self, file: Path, sources: Sources) -> Iterator[tuple[str, Place]]:
        """Yields the places through which the spec has the content of another file."""
        files = [layer.file for layer in self._layers]
        for above in files[: files.index(file)] if file in files else ():
            if (place := sources.place(above, ("extends",))) is not None:
                yield "is extended here", place

    def _variants(self, names: Sequence[str], sources: Sources) -> Iterator[tuple[str, Place]]:
        """Yields the places of the variants that alone have a fault."""
        for name in names[:_MOST_VARIANTS]:
            for layer in self._layers:
                keys = ("variants", name)
                place = sources.place(layer.file, keys, at_key=True)
                if place is not None and name and name in _names(layer.document):
                    yield f"only in the variant {name}", place
                    break


def _of_key(fault: Fault, layer: Layer, keys: Keys) -> tuple[Fault, Keys]:
    """Returns a fault of a key, and the path of that key in the file of the layer that wrote it.

    In a matrix the key is the whole name of a field, such as train.steps. A key that is there already is no correction.
    """
    holder, above = layer.document, fault.path[layer.inside : -1]
    if len(fault.path) <= layer.inside:
        keys = layer.prefix if isinstance(layer.prefix[-1], str) else layer.prefix[:-1]
        parts = str(keys[-1]).split(".")
        if fault.replacement:
            parts[len(fault.path) - 1] = json.loads(fault.replacement)
            fault = fault._replace(replacement=json.dumps(".".join(parts)))
        return fault, keys
    for key in above:
        holder = holder.get(key) if isinstance(holder, dict) else None
    if fault.replacement and isinstance(holder, dict) and json.loads(fault.replacement) in holder:
        fault = fault._replace(replacement="")
    return fault, keys


def _correct(document: Any, keys: Keys, meant: Any, *, at_key: bool) -> None:
    """Renames a key of a document, or replaces a value, in place. A misspelt `extends` has been followed already."""
    *above, last = keys
    with contextlib.suppress(LookupError, TypeError):
        for key in above:
            document = document[key]
        if at_key and isinstance(document, dict):
            value = document.pop(last)
            if meant != "extends":
                document.setdefault(meant, value)
        elif not at_key:
            document[last] = meant


def _names(document: object) -> Collection[str]:
    variants = document.get("variants") if isinstance(document, dict) else None
    return variants if isinstance(variants, dict) else ()
