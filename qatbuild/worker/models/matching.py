"""Ends of a network by name: the spec's names against those of the network."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from qatbuild.exchange.errors import Facts, StageError

_LISTED = 10
_LIKE = 0.5
End = TypeVar("End")


def matched(wanted: Sequence[str], there: Mapping[str, End], kind: str, title: str) -> dict[str, End]:
    """Returns the network's end of each wanted name; a lone one stands for the lone wanted name, whatever its own.

    `kind` is "inputs" or "outputs". StageError, with the names that exist, if the network lacks one of the names; ends
    without a wanted name are left out. A name may be written with "_" where the spec has "/".
    """
    if len(wanted) == len(there) == 1:
        return dict(zip(wanted, there.values(), strict=True))
    plain = {name.replace("/", "_"): end for name, end in there.items()} | dict(there)
    missing = [name for name in wanted if name not in plain and name.replace("/", "_") not in plain]
    if not missing:
        return {name: plain[name] if name in plain else plain[name.replace("/", "_")] for name in wanted}
    raise StageError(*_differ(wanted, missing, list(there), kind, title))


def require_all(wanted: Sequence[str], there: Iterable[str], title: str) -> None:
    """Raises StageError if the network has inputs beside the wanted ones, of which nothing could be known."""
    names = list(there)
    if len(names) > max(len(wanted), 1):
        plain = {name.replace("/", "_") for name in wanted} | set(wanted)
        missing = [name for name in names if name not in plain]
        facts = [("network", title), ("inputs of the spec", ", ".join(wanted)), ("not among them", ", ".join(missing))]
        hint = f'The spec lists every input of the network: "inputs": {{{_keys(names)}}}'
        raise StageError("The network has more inputs than the spec.", facts, hint)


def nearest(name: str, there: Iterable[str]) -> list[str]:
    """Returns the names most like `name`, the most like first; at most 10."""
    names = list(there)
    scope, _, last = name.rpartition("/")
    same = [each for each in names if each.rpartition("/")[2] == last]
    beside = [each for each in names if scope and each.rpartition("/")[0] == scope]
    like = difflib.get_close_matches(name, names, _LISTED, _LIKE)
    return list(dict.fromkeys([*like[:1], *same, *beside, *like]))[:_LISTED]


def _differ(
    wanted: Sequence[str], missing: Sequence[str], there: Sequence[str], kind: str, title: str
) -> tuple[str, Facts, str]:
    facts: list[tuple[str, object]] = [("network", title)]
    for name in missing:
        like = nearest(name, there)
        facts.append((f"{kind}.{name}", f"nearest: {like[0]}" if like else "missing"))
    facts.append(("it has", ", ".join(there[:_LISTED]) or "none"))
    hint = f'Name the {kind} of the spec as the network does: "{kind}": {{{_keys(there)}}}'
    if kind == "outputs" and any("/" in name for name in missing):
        hint = f'Return each tensor by its name, {", ".join(wanted)}, or name it with "_" instead of "/".'
    return f"The network has no such {kind[:-1]}.", facts, hint


def _keys(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}": {{...}}' for name in names[:_LISTED])
