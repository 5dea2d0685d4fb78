"""A thousand single mistakes in the shipped specs: each is one fault, at the wrong token, with the right word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from qatbuild.exchange.errors import SpecError
from qatbuild.schema.diagnostics import Diagnostic, FaultySpecError, place_of
from qatbuild.schema.load import load
from qatbuild.schema.positions import Keys, Positions, Span
from qatbuild.schema.rules import AllowedPaths

SPECS = Path(__file__).parents[2] / "specs"
COUNT = 1000
LEAST_PLACED, LEAST_SUGGESTED = 0.99, 0.95


class Mutation(NamedTuple):
    """A text with one mistake: its kind, the spans that may be underlined, and what was written before a typo."""

    kind: str
    text: str
    spans: tuple[Span, ...]
    meant: str = ""


class Outcome(NamedTuple):
    """What the loader said about a mutation of a spec."""

    spec: str
    mutation: Mutation
    diagnostics: tuple[Diagnostic, ...]

    @property
    def is_placed(self) -> bool:
        """Whether the first fault stands at the mistake."""
        place = self.diagnostics[0].place
        wanted = {place_of(Path(), self.mutation.text, span)[1:3] for span in self.mutation.spans}
        return place is not None and place[1:3] in wanted

    @property
    def is_suggested(self) -> bool:
        """Whether the correction is what was written before."""
        return self.diagnostics[0].replacement == self.mutation.meant

    def __str__(self) -> str:
        lines = [f"{self.mutation.kind} in {self.spec}, {self.mutation.meant}"]
        return "\n".join([*lines, *(str(each[:3]) for each in self.diagnostics)])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """A thousand mutations that are faults; a seed or a smaller number of steps is another valid spec."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(SPECS, root / "specs", ignore=shutil.ignore_patterns("__pycache__"))
    files = sorted(file for file in (root / "specs").rglob("*.json") if not file.name.startswith("_"))
    random, result = Random(0), list[Outcome]()
    while len(result) < COUNT:
        file = random.choice(files)
        text = file.read_text()
        mutation = _mutation(random, text)
        if mutation is None:
            continue
        file.write_text(mutation.text)
        try:
            load("net", file, AllowedPaths(root))
        except FaultySpecError as error:
            result.append(Outcome(file.name, mutation, error.diagnostics))
        except SpecError as error:
            pytest.fail(f"{mutation}: {error}")
        finally:
            file.write_text(text)
    return result


def test_each_mistake_is_one_fault(outcomes: list[Outcome]) -> None:
    several = [each for each in outcomes if len(each.diagnostics) != 1]
    assert len(several) <= COUNT * (1 - LEAST_PLACED), "\n\n".join(map(str, several[:20]))


def test_the_token_that_is_wrong_is_underlined(outcomes: list[Outcome]) -> None:
    astray = [each for each in outcomes if not each.is_placed]
    assert len(astray) <= COUNT * (1 - LEAST_PLACED), "\n\n".join(map(str, astray[:20]))


def test_the_right_word_is_suggested_for_a_typo(outcomes: list[Outcome]) -> None:
    typos = [each for each in outcomes if each.mutation.meant]
    wrong = [each for each in typos if not each.is_suggested]
    assert len(typos) > COUNT / 4
    assert len(wrong) <= len(typos) * (1 - LEAST_SUGGESTED), "\n\n".join(map(str, wrong[:20]))


def test_every_kind_of_mistake_was_made(outcomes: list[Outcome]) -> None:
    kinds = {each.mutation.kind for each in outcomes}
    assert kinds == {"typo", "type", "range", "missing", "twice", "choice", "extends"}


def _mutation(random: Random, text: str) -> Mutation | None:
    """Returns one mistake in a spec, which may happen to make a valid one; None if this spec has no place for it."""
    members = Positions(text).members
    kind = random.choice(("typo", "typo", "type", "range", "missing", "twice", "choice", "extends"))
    keys = random.choice([keys for keys in members if keys])
    key, value = members[keys]
    written = text[value.start : value.end]
    match kind:
        case "typo" if key and not _is_a_name(keys):
            return _typo(random, text, key, kind)
        case "extends" if keys == ("extends",):
            return _typo(random, text, value, kind)
        case "choice" if written.startswith('"') and keys[-1] in _CHOICES:
            return _typo(random, text, value, kind)
        case "type" if keys[-1] not in ("description", "extends"):
            return _replaced(text, value, '"x"' if not written.startswith('"') else "[7]", kind)
        case "range" if written[0] in "0123456789":
            return _replaced(text, value, random.choice(("-1", "1e12", "-0.5")), kind)
        case "twice" if key:
            again = f"{text[key.start : value.end]}, "
            spans = (Span(key.start + len(again), key.end + len(again)),)
            return Mutation(kind, text[: key.start] + again + text[key.start :], spans)
        case "missing" if key and keys[-1] in _REQUIRED:
            return _without(text, keys, kind)
    return None


_CHOICES = ("name", "schedule", "method", "scheme", "task", "precision", "range", "start", "loss", "mode")


_REQUIRED = ("model", "input", "learning_rate", "initial", "mean", "std_dev")
"""Fields without a default: without another one, its absence means its default."""


def _is_a_name(keys: Keys) -> bool:
    """Whether a key is a name that the user chooses, or one of a matrix or of options."""
    chosen = ("variants", "inputs", "outputs", "matrix", "options", "features", "metrics", "gates")
    return any(key in chosen for key in keys[:-1] if isinstance(key, str)) and keys[-2] in chosen


def _typo(random: Random, text: str, span: Span, kind: str) -> Mutation:
    word = text[span.start + 1 : span.end - 1]
    at = random.randrange(max(len(word) - 1, 1))
    edits = (word[:at] + word[at + 1 :], word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :])
    wrong = random.choice([*edits, word[:at] + random.choice("aeiou") + word[at:]])
    if wrong == word:
        wrong = word + word[-1]
    made = _replaced(text, span, json.dumps(wrong), kind)
    return made._replace(meant=json.dumps(word))


def _replaced(text: str, span: Span, by: str, kind: str) -> Mutation:
    spans = (Span(span.start, span.start + len(by)),)
    return Mutation(kind, text[: span.start] + by + text[span.end :], spans)


def _without(text: str, keys: Keys, kind: str) -> Mutation:
    """Removes a member; the fault is that of the object that lacks it: its key, or its opening brace."""
    document = json.loads(text)
    part = document
    for each in keys[:-1]:
        part = part[each]
    del part[keys[-1]]
    changed = json.dumps(document)
    key, value = Positions(changed).members[keys[:-1]]
    return Mutation(kind, changed, (key or Span(value.start, value.start + 1),))
