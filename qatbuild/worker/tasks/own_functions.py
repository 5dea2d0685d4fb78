"""Functions of the user, "package.module:function": importing and calling them, and the errors of both."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from qatbuild.exchange.errors import QatbuildError, StageError

_WHERE = (
    "Modules are imported from the project's root: package.module is package/module.py in the folder of pyproject.toml."
)


class OwnFunction(NamedTuple):
    """A function of the user: the setting that names it, its name "package.module:function", and itself."""

    setting: str
    call: str
    function: Callable[..., Any]

    @classmethod
    def load(cls, setting: str, call: str) -> OwnFunction:
        """Imports the function `call`. StageError if its module cannot be imported or does not have it."""
        path, _, name = call.partition(":")
        if not (path and name):
            raise StageError("A function must be written package.module:function.", [(setting, call)])
        module = _module(setting, call, path)
        function = getattr(module, name, None)
        if not callable(function):
            there = [key for key, value in vars(module).items() if inspect.isfunction(value) and key[0] != "_"]
            facts = [(setting, call), ("function", name), ("there are", ", ".join(there) or "no functions")]
            raise StageError("A module has no such function.", facts)
        return cls(setting, call, function)

    def __call__(self, predictions: Any, targets: Any) -> Any:
        """Calls the function. StageError with its line for any exception that it raises."""
        try:
            return self.function(predictions, targets)
        except QatbuildError:
            raise
        except Exception as fault:
            file = inspect.getsourcefile(inspect.unwrap(self.function)) if inspect.isroutine(self.function) else None
            inside = bool(file) and any(frame.filename == file for frame in traceback.extract_tb(fault.__traceback__))
            hint = "" if inside else "It is called as function(predictions, targets)."
            raise StageError("A function failed.", self._facts(fault, file), hint) from fault

    def refused(self, message: str, got: object, hint: str = "") -> StageError:
        """Returns the error of a function that returned something else than it must; it names the function's place."""
        return StageError(message, [(self.setting, self.call), *self._place(), ("returned", got)], hint)

    def _place(self) -> list[tuple[str, object]]:
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return [("at", f"{Path(code.co_filename).name}:{code.co_firstlineno}")] if code else []

    def _facts(self, fault: Exception, file: str | None) -> list[tuple[str, object]]:
        return [(self.setting, self.call), *_raised(fault, file)]


def _module(setting: str, call: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except ImportError as fault:
        hint = _WHERE if f"{path}.".startswith(f"{fault.name}.") else ""  # Not for a package that the module imports.
        facts = [(setting, call), ("reason", fault)]
        raise StageError("The module of a function cannot be imported.", facts, hint) from fault
    except Exception as fault:
        raise StageError("The module of a function failed.", [(setting, call), *_raised(fault, None)]) from fault


def _raised(fault: Exception, file: str | None) -> list[tuple[str, object]]:
    """Returns the last line in `file`, or the last one of all, and the exception."""
    frames = traceback.extract_tb(fault.__traceback__)
    last = ([frame for frame in frames if frame.filename == file] or frames)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}: {last.line}"
    return [("at", place), ("raised", f"{type(fault).__name__}: {fault}")]
