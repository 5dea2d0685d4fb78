"""Errors as the user reads them."""

from __future__ import annotations

import pytest

from qatbuild.exchange import errors

KINDS = [
    "SpecError",
    "PlanError",
    "ArtifactError",
    "StageError",
    "DatasetError",
    "RewriteError",
    "ConversionError",
    "AcceptanceError",
]


def test_block_aligns_facts_and_ends_with_the_hint() -> None:
    error = errors.DatasetError(
        "An archive is truncated.", [("file", "a.tar"), ("expected", "3 bytes\n(or 4)")], "fetch it again"
    )
    assert error.block().splitlines() == [
        "An archive is truncated.",
        "  file      a.tar",
        "  expected  3 bytes",
        "            (or 4)",
        "  hint: fetch it again",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_error_crosses_the_process_boundary_unchanged(kind: str) -> None:
    error = getattr(errors, kind)("message", [("label", "value")], "hint")
    back = errors.from_json(error.to_json())
    assert type(back).__name__ == kind
    assert back.block() == error.block()


def test_every_error_is_drawn_in_the_docstring() -> None:
    assert all(kind in str(errors.__doc__) for kind in KINDS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, \u00fcber, \U0001f600", "plain, \u00fcber, \U0001f600"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines\t\x00\x7f\x9b", r"two\nlines\t\x00\x7f\x9b"),
        ("\u202eevil\u2066\u200f", r"\u202eevil\u2066\u200f"),
        ("\u2028\ufeff\ud800", r"\u2028\ufeff\ud800"),
    ],
)
def test_printable_text_has_no_character_that_moves_or_colours_others(text: str, shown: str) -> None:
    assert errors.printable(text) == shown
    assert errors.printable(text, keep="\n\t").replace("\n", r"\n").replace("\t", r"\t") == shown


def test_a_long_text_loses_its_middle() -> None:
    shown = errors.printable("a" * 1000 + "b" * 1000, 30)
    assert shown == f"{'a' * 20} ... {'b' * 10}"


def test_a_block_of_anything_has_at_most_20_printable_lines() -> None:
    evil = "\x1b[31m\u202e" + "x" * 100_000
    facts = [(f"{number}{evil}", f"{evil}\n{evil}") for number in range(50)]
    lines = errors.SpecError(evil, facts, evil).block().split("\n")
    assert len(lines) == errors.LINES
    assert all(line.isprintable() and len(line) < 1000 for line in lines)
    assert any(line.startswith("  and ") and line.endswith(" more") for line in lines)
    assert lines[-1].endswith("x")


def test_a_block_with_room_for_all_facts_shows_all() -> None:
    facts = [("fact", number) for number in range(errors.LINES - 1)]
    assert errors.SpecError("Message.", facts).block().split("\n")[-1] == "  fact  18"
    assert errors.SpecError("Message.", [*facts, ("fact", 19)]).block().split("\n")[-2:] == [
        "  fact  17",
        "  and 2 more",
    ]
