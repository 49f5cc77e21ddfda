"""The house: imports run one way, gis ← grids ← layers ← cases ← api, and modules stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[1]
ORDER = ("gis", "grids", "layers", "cases", "api")  #: each may import from itself and from those to its left
LONGEST = 500
MODULES = sorted(path for package in ORDER for path in (HOME / package).rglob("*.py"))


def upward(package: str, source: str) -> list[str]:
    """The imports of a module of ``package`` that run the wrong way, wherever in the module they stand."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "" if node.level == 0 else package]
        else:
            continue
        for name in names:
            root = name.split(".")[0]
            if root == "tests" or (root in ORDER and ORDER.index(root) > ORDER.index(package)):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOME)))
def test_no_module_imports_from_a_package_further_right(path: Path) -> None:
    package = path.relative_to(HOME).parts[0]
    assert upward(package, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOME)))
def test_no_module_is_longer_than_five_hundred_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize(
    "source",
    [
        "import api.city",
        "from cases import desk",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from layers.units import unit_ids",
        "def late():\n    from api import cli",
        "try:\n    import cases.duty as duty\nexcept ImportError:\n    pass",
    ],
)
def test_the_walk_sees_an_upward_import_wherever_it_hides(source: str) -> None:
    assert len(upward("grids", source)) == 1


def test_the_walk_lets_the_others_pass() -> None:
    assert upward("grids", "import gis.db\nfrom grids.city import City\nfrom . import areas\nimport pandas") == []
