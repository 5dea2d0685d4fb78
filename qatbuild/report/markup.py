"""Texts in HTML and in XML. The standard library's own escapes bring tables that take longer to import than to use."""

from __future__ import annotations

_SPECIAL = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
_FORBIDDEN = (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)
"""Characters that no XML file may hold: a tool's colours, for one."""

_TEXT = dict.fromkeys(_FORBIDDEN, "\ufffd") | {ord(each): name for each, name in _SPECIAL.items()}
_ATTRIBUTE = _TEXT | {ord(each): f"&#{ord(each)};" for each in "\t\n\r"}


def escape(text: str) -> str:
    """The text as an element's, or as an attribute's in HTML, where a line's end is one."""
    return text.translate(_TEXT)


def attribute(text: str) -> str:
    """The text as an attribute's in XML, in quotes."""
    return f'"{text.translate(_ATTRIBUTE)}"'
