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
