"""Whether this machine would make the result that a request's key stands for: the same packages and the same code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from qatbuild.engine.code_digest import Code
from qatbuild.engine.digests import Digests
from qatbuild.engine.execute.dask.parcel import Parcel
from qatbuild.engine.rebuild import toolchain
from qatbuild.exchange.errors import Facts, StageError
from qatbuild.exchange.request import Request

_DEVICES = "CUDA_VISIBLE_DEVICES"
_NO_DEVICES = {"", "-1"}

_HINT = "install the same versions on the workers (pip freeze), or run it here: doit run --executor local"
_CODE_HINT = "install the same qatbuild on the workers, and start them again"
_DEVICES_HINT = f"start workers and build alike: both with {_DEVICES}= or both without"


def unlike_packages(request: Request, worker: str) -> StageError | None:
    """Returns the refusal of a request that was made with other versions of Python or of packages; None if all agree.

    On which of its cards a worker computes is its own affair, but not whether on a card at all.
    """
    wanted = {name: version for name, version in request.toolchain.items() if name != _DEVICES}
    packages = tuple(name for name in wanted if name != "python")
    here = toolchain(packages, None)
    facts = [
        (name, f"{version or 'missing'} where you build, {here[name] or 'missing'} on the worker")
        for name, version in wanted.items()
        if version != here[name]
    ]
    if facts:
        return _refusal(request, worker, facts, _HINT)
    if (request.toolchain.get(_DEVICES) in _NO_DEVICES) != (os.environ.get(_DEVICES) in _NO_DEVICES):
        sides = f"{request.toolchain.get(_DEVICES)!r} where you build, {os.environ.get(_DEVICES)!r} on the worker"
        return _refusal(request, worker, [(_DEVICES, sides)], _DEVICES_HINT)
    return None


def has_code(parcel: Parcel, code: Code, digests: Digests) -> bool:
    """Returns whether `code`, of this machine and an unpacked parcel, is that of the parcel's request.

    Equal files need not be parsed, which would take a new worker longer than all else before its first stage. The
    user's own modules have come with the parcel; qatbuild's may differ in a comment.
    """
    return _has_files(code.package, parcel.own_files, digests) or code.digest(parcel.modules) == parcel.request.code


def _has_files(folder: Path, wanted: Mapping[str, str], digests: Digests) -> bool:
    try:
        return all(digests.sha256(folder / name) == sha256 for name, sha256 in wanted.items())
    except OSError:
        return False


def unlike_code(request: Request, worker: str, code: Mapping[str, str], theirs: Mapping[str, str]) -> StageError:
    """Returns the refusal of a request with another code digest: `code` and `theirs` are module -> fingerprint."""
    names = sorted(name for name in {*code, *theirs} if code.get(name) != theirs.get(name))
    facts = [("module", f"{name} {_how(name, code, theirs)}") for name in names]
    return _refusal(request, worker, facts, _CODE_HINT)


def _how(name: str, code: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    return "is missing on the worker" if name not in theirs else "is only there" if name not in code else "differs"


def _refusal(request: Request, worker: str, facts: Facts, hint: str) -> StageError:
    message = f"A Dask worker refuses the stage {request.stage}: its result might differ."
    return StageError(message, [("worker", worker), *facts], hint)
