"""Sizes, documentation and types of the library's code."""

import ast
from pathlib import Path

import pytest
from source_files import LIBRARY, ROOT, name_of, nodes, tree_of

MAX_FILE = 250
MAX_FUNCTION = 40
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE
    sizes = {node.name: node.end_lineno - node.lineno + 1 for node in nodes(path, *FUNCTIONS)}
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION} == {}


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_modules_and_public_names_are_documented(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree), "the module has no docstring"
    assert [node.name for node in public(tree) if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_every_function_is_annotated(path: Path) -> None:
    bare = []
    for node in nodes(path, *FUNCTIONS):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
        missing = [a.arg for a in arguments if not a.annotation and a.arg not in ("self", "cls")]
        # A constructor with annotated arguments needs no "-> None".
        if missing or (node.returns is None and (node.name != "__init__" or not arguments[1:])):
            bare.append(node.name)
    assert bare == []


def public(tree: ast.Module) -> list[ast.AST]:
    """Public functions, classes and methods of a module."""
    found = []
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                found += [m for m in node.body
                          if isinstance(m, FUNCTIONS) and not m.name.startswith("_")]  # fmt: skip
    return found


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_modules_hold_no_print(path: Path) -> None:
    printed = [node for node in nodes(path, ast.Call)
               if isinstance(node.func, ast.Name) and node.func.id == "print"]  # fmt: skip
    assert printed == []


def test_test_modules_have_names_of_their_own() -> None:
    """Without packages, two test modules of one name would be one module."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_the_library_says_that_it_is_typed() -> None:
    assert (ROOT / "jomed" / "py.typed").is_file()
