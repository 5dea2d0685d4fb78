"""Finds where the keys and values of a JSON text stand, which its values do not say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

Keys = tuple[str | int, ...]
"""A path into a document: keys of objects, indices of lists."""

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^\s"\[\]{},:]+|[\[\]{},:])', re.DOTALL)


class Span(NamedTuple):
    """The characters from `start` to before `end` of a text."""

    start: int
    end: int


class Member(NamedTuple):
    """Where a value stands, and its key; an item of a list and the document itself have none."""

    key: Span | None
    value: Span


class Positions:
    """The members of a JSON text by their paths, and the keys that occur a second time in their object.

    Of a text that is not JSON it has the members before its first error.
    """

    def __init__(self, text: str) -> None:
        """Scans a text."""
        self.members: dict[Keys, Member] = {}
        self.repeated: list[Span] = []
        self._text = text
        self._tokens = _tokens(text)
        try:
            self._value((), None, next(self._tokens))
        except (StopIteration, RecursionError, ValueError):  # The text ends early, or is no JSON.
            return

    def nearest(self, path: Keys) -> tuple[Keys, Member] | None:
        """Returns the longest part of a path that stands in the text, and its place; None for an empty text."""
        for length in range(len(path), -1, -1):
            if (member := self.members.get(path[:length])) is not None:
                return path[:length], member
        return None

    def token(self, wanted: str) -> Span | None:
        """Returns the first token that reads like this."""
        return next((span for span in _tokens(self._text) if self._text[span.start : span.end] == wanted), None)

    def _value(self, path: Keys, key: Span | None, first: Span) -> None:
        """Enters the value that begins with the token `first`, and all that it holds."""
        self.members[path] = Member(key, first)
        opening = self._text[first.start]
        if opening == "{":
            last = self._object(path)
        elif opening == "[":
            last = self._list(path)
        else:
            return
        self.members[path] = Member(key, Span(first.start, last.end))

    def _object(self, path: Keys) -> Span:
        """Enters the members of an object; returns its closing brace."""
        token = next(self._tokens)
        while self._reads(token) != "}":
            name = json.loads(self._reads(token))
            inside = (*path, name)
            if inside in self.members:
                self.repeated.append(token)
            next(self._tokens)  # the colon
            self._value(inside, token, next(self._tokens))
            token = self._after_comma()
        return token

    def _list(self, path: Keys) -> Span:
        """Enters the items of a list; returns its closing bracket."""
        token = next(self._tokens)
        number = 0
        while self._reads(token) != "]":
            self._value((*path, number), None, token)
            number += 1
            token = self._after_comma()
        return token

    def _after_comma(self) -> Span:
        token = next(self._tokens)
        return next(self._tokens) if self._reads(token) == "," else token

    def _reads(self, token: Span) -> str:
        return self._text[token.start : token.end]


def _tokens(text: str) -> Iterator[Span]:
    return (Span(*match.span(1)) for match in _TOKEN.finditer(text))
