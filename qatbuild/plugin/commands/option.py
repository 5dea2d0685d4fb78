"""The options of commands, in the form in which doit takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Option = dict[str, Any]


def option(name: str, default: Any, text: str, *, short: str = "", kind: type | None = None) -> Option:
    """Returns --NAME, whose values are of the default's type, or of `kind`; `text` is its help."""
    fields = {"type": kind or type(default), "default": default, "help": text}
    return {"name": name, "short": short, "long": name.replace("_", "-"), **fields}


def flag(name: str, text: str, *, short: str = "") -> Option:
    """Returns --NAME, which takes no value; `text` is its help."""
    return option(name, default=False, text=text, short=short)


def format_option(formats: Mapping[str, str], purpose: str) -> Option:
    """Returns --format with these formats and what each is for; the first one is the default."""
    default, *_ = formats
    return option("format", default, f"{purpose} [default: {default}]") | {"choices": [*formats.items()]}


JSON = flag("json", "print JSON for scripts")
OUTPUT = option("output", "", "file or folder to write", short="o")
