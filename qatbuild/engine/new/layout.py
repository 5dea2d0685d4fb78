"""The text of a spec as people write it: what is short stands in one line."""

from __future__ import annotations

import json
from typing import Any

from qatbuild.schema.comments import COMMENT

_WIDTH = 100
_INDENT = "  "


def laid_out(value: Any, indent: str = "") -> str:
    """Returns the JSON of a value; an object with a comment has a line for each member."""
    line = json.dumps(value, ensure_ascii=False)
    is_long = len(indent) + len(line) > _WIDTH
    if isinstance(value, dict) and value and (is_long or not indent or COMMENT in value):
        deeper = indent + _INDENT
        members = (f"{deeper}{json.dumps(name)}: {laid_out(part, deeper)}" for name, part in value.items())
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and value and is_long:
        deeper = indent + _INDENT
        return "[\n" + ",\n".join(f"{deeper}{laid_out(part, deeper)}" for part in value) + f"\n{indent}]"
    return line
