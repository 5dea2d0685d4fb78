"""Joins the page's JavaScript modules into one script, so that the page is one file and runs from file://.

Only two forms are understood, and the modules have no others: `import { a, b } from "./name.js";` and `export` before a
function or constant.
"""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function\*? |const |class )(\w+)", re.MULTILINE)


def bundled(folder: Path, main: str) -> str:
    """Returns one script that runs the module `main` and the modules that it imports, each in a scope of its own."""
    texts: dict[str, str] = {}
    _add(folder, main, texts)
    modules = "\n".join(_wrapped(name, text) for name, text in texts.items())
    return f'"use strict";\n(() => {{\nconst modules = {{}};\n{modules}\n}})();\n'


def _add(folder: Path, name: str, texts: dict[str, str]) -> None:
    """Adds a module behind those that it imports."""
    text = (folder / name).read_text(encoding="utf-8")
    for match in _IMPORT.finditer(text):
        if match[2] not in texts:
            _add(folder, match[2], texts)
    texts[name] = text


def _wrapped(name: str, text: str) -> str:
    body = _IMPORT.sub(r'const {\1} = modules["\2"];', text)
    names = ", ".join(match[2] for match in _EXPORT.finditer(body))
    body = _EXPORT.sub(r"\1\2", body)
    return f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {names} }};\n}})();'
