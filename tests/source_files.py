"""The library's source files as syntax trees, for the tests that read code."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "jomed").rglob("*.py"))


def name_of(path: Path) -> str:
    """A file's path from the project's root, as a test's id."""
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def nodes(path: Path, *kinds: type) -> Iterator[ast.AST]:
    """All nodes of some kinds in a source file."""
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, kinds))


def dotted(node: ast.AST) -> str:
    """The dotted name that an expression spells; "?" is what is no name: "?.eval"."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"
