"""The public names of qatbuild.quantize: importable, typed by the stub, imported from their wing when first used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from qatbuild import quantize

pytestmark = pytest.mark.tf


PUBLIC: list[str] = vars(quantize)["__all__"]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_importable(name):
    assert callable(getattr(quantize, name))


def test_stub_has_the_public_names():
    stub = ast.parse(Path(quantize.__file__).with_suffix(".pyi").read_text())
    names = [str(alias.asname) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == sorted(PUBLIC)


def test_other_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="create_graph"):
        quantize.create_graph  # type: ignore[attr-defined]  # noqa: B018 - the access raises
