"""Rooms import one way: no module knows a later room, and hardly any knows the phantom world."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from source_files import LIBRARY, ROOT, name_of, nodes

BASE = (
    *("settings", "shapes", "params", "catalogue", "config", "variants", "storage", "artifacts"),
    "records",
    "progress",
)
ROOMS = ("data", "retrieval", "reading", "training", "evaluation", "reporting")
# What each part may import besides itself and the base modules before it.
ALLOWED: dict[str, set[str]] = {
    **{name: {*BASE[:place]} for place, name in enumerate(BASE)},
    **{name: {*BASE, *ROOMS[:place]} for place, name in enumerate(ROOMS)},
    "phantom": {*BASE, "data", "retrieval", "reading"},
    "stages": {*BASE, *ROOMS[:-1], "phantom"},
}
ALLOWED["progress"] = set()
# Modules beside the rooms: they put rooms together and no room imports them.
TOP = {*BASE, *ROOMS, "phantom", "stages"}
PRESENTING = {f"stages/{name}.py" for name in ("pictures", "results", "tables", "variants")}
"""Stages that show finished runs; those that make an artefact know nothing of reporting."""


def part_of(path: Path) -> str:
    """The room of a module, or its name where it lies beside the rooms."""
    return path.relative_to(ROOT / "jomed").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The parts of the library that a module imports, anywhere in its text."""
    found = set()
    for node in nodes(path, ast.Import, ast.ImportFrom):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            whole = [node.module or ""]
            if node.module == "jomed":
                whole = [f"jomed.{alias.name}" for alias in node.names]
        else:
            whole = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in whole if name.startswith("jomed.")}
    return found


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_a_module_imports_no_later_room(path: Path) -> None:
    part = part_of(path)
    shows = str(path.relative_to(ROOT / "jomed")) in PRESENTING
    if part in ALLOWED:
        assert imported(path) <= {*ALLOWED[part], part, *(["reporting"] if shows else [])}


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_modules_beside_the_rooms_are_imported_by_no_room(path: Path) -> None:
    if part_of(path) in TOP:
        assert imported(path) <= TOP


def test_only_stages_know_the_phantom_among_the_rooms() -> None:
    knowing = {part_of(path) for path in LIBRARY if "phantom" in imported(path)}
    assert knowing & TOP == {"phantom", "stages"}


def test_every_room_is_checked() -> None:
    folders = {path.parent.name for path in (ROOT / "jomed").glob("*/__init__.py")}
    assert folders == {*ROOMS, "phantom", "stages"}
    assert {f"{name}.py" for name in BASE} <= {path.name for path in (ROOT / "jomed").glob("*.py")}


def test_showing_data_and_results_loads_no_deep_learning_library() -> None:
    """Half of the notebooks only show things; torch and its company take many seconds to load."""
    modules = "jomed.stages.data, jomed.stages.pictures, jomed.stages.tables"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == 0
