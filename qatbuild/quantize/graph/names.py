"""Names of operations: their name scopes, and the layer names that reports and errors show."""

from __future__ import annotations

from collections.abc import Sequence


def parent_scope(name: str) -> str:
    """Returns the name scope that contains `name`, '' at the root."""
    return name.rpartition("/")[0]


def each_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """Returns one name, or several, as several."""
    return (names,) if isinstance(names, str) else tuple(names)


def tensor_name(name: str) -> str:
    """Returns the name of a tensor: the first output of an operation if `name` is an operation's."""
    return name if ":" in name else f"{name}:0"


def join(scope: str, name: str) -> str:
    """Returns `name` inside `scope`; `scope` may be ''."""
    return f"{scope}/{name}" if scope else name


def layer_name(name: str, network_scope: str) -> str:
    """Returns the layer of the operation `name` within the network.

    "conv1" for "CifarNet/conv1/Conv2D" and "norm1" for "CifarNet/norm1", with the network scope "CifarNet/".
    """
    inside = name.removeprefix(network_scope)
    before, standardization, matched = inside.partition("per_image_standardization")
    if matched:  # its operations are spread over several name scopes
        return before + standardization
    return parent_scope(inside) or inside
