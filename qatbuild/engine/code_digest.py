"""Digests the code of a stage: one digest for all modules that it imports.

Modules are read, not imported: from the stage's own module, every `import` statement, also inside a function, is
followed as long as it leads to a file of qatbuild or of the project. A module's fingerprint is the digest of its syntax
tree without docstrings, so a comment or a line break rebuilds nothing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import resolve_name
from pathlib import Path

from qatbuild.engine.file_cache import FileCache
from qatbuild.exchange.errors import StageError, system_facts, system_hint
from qatbuild.exchange.file_state import are_settled
from qatbuild.exchange.files import canonical_json

PACKAGE = Path(__file__).parents[1]
TALK = frozenset(
    {"qatbuild.worker.console", "qatbuild.worker.typed_bar", "qatbuild.exchange.activity", "qatbuild.exchange.errors"}
)
"""Modules that only print or word errors: they cannot change the result of a stage that succeeds."""

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
_UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_PARSING = threading.Lock()


@dataclass
class Code:
    """Fingerprints and imports of source files, in a file cache."""

    project: Path
    cache: FileCache = field(default_factory=FileCache)
    package: Path = PACKAGE
    """The folder of qatbuild itself."""
    digests: dict[tuple[str, ...], str] = field(default_factory=dict)
    looked: dict[str, bool] = field(default_factory=dict)
    """Path of every possible module or package that was looked up -> whether it exists."""
    _files: dict[tuple[str, ...], tuple[int, list[str]]] = field(default_factory=dict)
    _modules: dict[str, tuple[Path, str, list[str]] | None] = field(default_factory=dict)
    """Module -> file, fingerprint and imports, as first read; None if neither qatbuild's nor the project's."""
    _plain: set[str] = field(default_factory=set)
    """Modules that are not packages: names imported from them are not modules."""

    @classmethod
    def load(cls, project: Path, path: Path) -> Code:
        """Returns an object with the file cache in `path`."""
        return cls(project, FileCache(path, "code"))

    def digest(self, modules: Iterable[str]) -> str:
        """Returns the SHA-256 over the fingerprints of the modules and all that they import, as first read."""
        names = tuple(modules)
        if names not in self.digests:
            before = time.time_ns()
            rows, files = {}, []
            for module, file, fingerprint in self.closure(names):
                files.append(str(file))
                if module not in TALK:
                    rows[module] = fingerprint
            self.digests[names] = digest_of(rows)
            self._files[names] = (before, files)
        return self.digests[names]

    def believe(self, digests: Mapping[str, tuple[str, list[str]]], since_ns: int) -> None:
        """Adopts digests whose lists of files are complete, and whose files have not changed, at `since_ns`.

        `digests`: the modules, joined by commas -> (digest, files).
        """
        for modules, (digest, files) in digests.items():
            names = tuple(modules.split(","))
            self.digests[names], self._files[names] = digest, (since_ns, files)

    def of_package(self) -> dict[str, tuple[str, list[str]]]:
        """Returns the digests so far that depend on qatbuild's own files only, in the form for `believe`."""
        inside = f"{self.package}{os.sep}"
        rows = {",".join(names): (digest, self._files[names][1]) for names, digest in self.digests.items()}
        return {modules: row for modules, row in rows.items() if all(file.startswith(inside) for file in row[1])}

    def digest_now(self, modules: Iterable[str]) -> str:
        """Returns the current digest; recomputes it only if one of its files has changed since."""
        names = tuple(modules)
        first = self.digest(names)
        since, files = self._files[names]
        try:
            if are_settled([os.stat(file).st_ctime_ns for file in files], since):  # noqa: PTH116  Many, and often.
                return first
        except OSError:  # A file is gone.
            pass
        return Code(self.project, self.cache, self.package).digest(names)

    def files(self, modules: Iterable[str]) -> list[str]:
        """Returns the files of a digest."""
        names = tuple(modules)
        self.digest(names)
        return self._files[names][1]

    def modules(self, digest: str) -> tuple[str, ...]:
        """Returns the modules of a digest that this object has computed or adopted; KeyError for another one."""
        for modules, each in self.digests.items():
            if each == digest:
                return modules
        raise KeyError(digest)

    def table(self, modules: Iterable[str]) -> dict[str, str]:
        """Returns module -> fingerprint of everything in a digest."""
        return {module: fingerprint for module, _, fingerprint in self.closure(modules) if module not in TALK}

    def fingerprints(self, modules: Iterable[str]) -> dict[str, str]:
        """Returns module -> fingerprint of these modules, without their imports."""
        rows = {module: self._module(module) for module in modules}
        return {module: row[1] for module, row in rows.items() if row is not None}

    def closure(self, modules: Iterable[str]) -> Iterator[tuple[str, Path, str]]:
        """Yields (module, file, fingerprint) of the modules and all that they import of qatbuild and the project."""
        names = list(dict.fromkeys(modules))
        seen = set(names)
        for module in names:  # The list grows meanwhile. A module comes before the names that are imported from it.
            parent = module.rpartition(".")[0]
            if parent and parent not in seen:
                names.append(parent)
                seen.add(parent)
            if parent in self._plain:
                continue
            if (row := self._module(module)) is not None:
                file, fingerprint, imports = row
                yield module, file, fingerprint
                names += [each for each in imports if each not in seen]
                seen.update(imports)

    def _module(self, module: str) -> tuple[Path, str, list[str]] | None:
        if module not in self._modules:
            file = self._file(module)
            self._modules[module] = None if file is None else (file, *self._read(module, file))
            if file is not None and file.name != "__init__.py":
                self._plain.add(module)
        return self._modules[module]

    def _file(self, module: str) -> Path | None:
        """Finds a module's file, trying few paths: later builds check again that the missing ones are missing."""
        top, *rest = module.split(".")
        if rest:
            parent = module.rpartition(".")[0]
            self._module(parent)
            if parent in self._plain:
                return None
        stem = "/".join([str(self.package), *rest] if top == PACKAGE.name else [str(self.project), top, *rest])
        folder = top == PACKAGE.name or self._is_there(f"{self.project}/{top}")
        for path in (f"{stem}/__init__.py", f"{stem}.py") if folder else () if rest else (f"{stem}.py",):
            if self._is_there(path):
                return Path(path)
        return None

    def _is_there(self, path: str) -> bool:
        if path not in self.looked:
            self.looked[path] = (os.path.isfile if path.endswith(".py") else os.path.isdir)(path)
        return self.looked[path]

    def _read(self, module: str, file: Path) -> tuple[str, list[str]]:
        try:
            status = file.stat()
            row = self.cache.get(str(file), status)
            source = file.read_bytes() if row is None else b""
        except OSError as fault:
            raise StageError("A module cannot be read.", system_facts(fault), system_hint(fault)) from fault
        if row is None:
            package = module if file.name == "__init__.py" else module.rpartition(".")[0]
            try:
                tree = _parsed(source)
                fingerprint, imports = _fingerprint(tree), sorted(set(_imports(tree, package)))
            except _UNPARSABLE:  # The stage reports it. Any change counts.
                fingerprint, imports = hashlib.sha256(source).hexdigest(), []
            row = json.dumps([fingerprint, imports])
            self.cache.put(str(file), status, row)
        fingerprint, imports = json.loads(row)
        return fingerprint, imports


def digest_of(table: Mapping[str, str]) -> str:
    """Returns the code digest of modules with these fingerprints."""
    return hashlib.sha256(canonical_json(sorted(table.items())).encode()).hexdigest()


def _parsed(source: bytes) -> ast.Module:
    """Returns the tree of a module's text; one thread at a time: Python 3.11 adds up the depths of all their trees."""
    with _PARSING:
        return ast.parse(source)


def source_fingerprint(source: bytes) -> str:
    """Returns the fingerprint of a module's text."""
    try:
        return _fingerprint(_parsed(source))
    except _UNPARSABLE:
        return hashlib.sha256(source).hexdigest()


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """Returns the statements of a module, class or function without its docstring."""
    return body[1:] if body and _is_text(body[0]) else body


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                origin = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # More dots than packages: the stage will fail on it.
                continue
            yield origin
            # A name imported from a package may be a module of it.
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _fingerprint(tree: ast.Module) -> str:
    for node in (tree, *_statements(tree)):
        if isinstance(node, DOCUMENTED):
            node.body = without_docstring(node.body)
    return hashlib.sha256(ast.dump(tree, annotate_fields=False).encode()).hexdigest()


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields all statements of a module, and the clauses that hold some; ast.walk also visits every expression."""
    for name in _BLOCKS:
        for node in getattr(tree, name, ()):
            yield node
            yield from _statements(node)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
