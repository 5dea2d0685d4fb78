"""Escapes text for HTML and XML. The standard library's functions import large tables, which would delay each build."""

from __future__ import annotations

_SPECIAL = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
_FORBIDDEN = (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
"""Characters that XML forbids, such as the escape codes of a tool's colours."""

_TEXT = dict.fromkeys(_FORBIDDEN, "\ufffd") | {ord(each): name for each, name in _SPECIAL.items()}
_ATTRIBUTE = _TEXT | {ord(each): f"&#{ord(each)};" for each in "\t\n\r"}


def escape(text: str) -> str:
    """Returns the text for an element, or for an attribute in HTML, where line breaks need no escape."""
    return text.translate(_TEXT)


def attribute(text: str) -> str:
    """Returns the text as a quoted attribute in XML."""
    return f'"{text.translate(_ATTRIBUTE)}"'
