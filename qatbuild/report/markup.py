"""Escapes text for HTML and XML. The standard library's functions import large tables, which would delay each build."""

from __future__ import annotations

from qatbuild.exchange.errors import printable

_TEXT = {ord(each): name for each, name in zip("&<>\"'", ("&amp;", "&lt;", "&gt;", "&quot;", "&#x27;"), strict=True)}
_LINES = "\t\n\r"
_ATTRIBUTE = _TEXT | {ord(each): f"&#{ord(each)};" for each in _LINES}


def escape(text: str) -> str:
    """Returns the text for an element, or for an attribute in HTML, where line breaks need no escape.

    Characters that XML forbids, such as the escape codes of a tool's colours, are among those that cannot be printed.
    """
    return printable(text, keep=_LINES).translate(_TEXT)


def attribute(text: str) -> str:
    """Returns the text as a quoted attribute in XML."""
    return f'"{printable(text, keep=_LINES).translate(_ATTRIBUTE)}"'
