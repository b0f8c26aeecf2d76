"""The notebooks of the project as files: where they are, their code and their parameters."""

import ast
import functools
import json
from pathlib import Path
from typing import Any

from jomed.config import ConfigError, project_root
from jomed.params import nearest


def notebook_path(notebook: str) -> Path:
    """The notebook of that name or path. Raises ConfigError where there is none."""
    folder = project_root() / "notebooks"
    for path in (folder / f"{notebook}.ipynb", folder / notebook, Path(notebook)):
        if path.suffix == ".ipynb" and path.is_file():
            return path
    names = [path.stem for path in folder.glob("*.ipynb")]
    raise ConfigError(f"no notebook {notebook!r} in {folder}{nearest(notebook, names)}")


def code_cells(path: Path) -> list[tuple[tuple[str, ...], str]]:
    """(tags, source) of the code cells of a notebook. Raises ConfigError if it is not readable."""
    return _code_cells(path, path.stat().st_mtime_ns)


@functools.lru_cache
def _code_cells(path: Path, modified: int) -> list[tuple[tuple[str, ...], str]]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [
            (tuple(cell["metadata"].get("tags", ())), "".join(cell["source"]))
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a notebook: {error!r}") from None


def notebook_parameters(source: Path) -> dict[str, Any]:
    """Names and defaults in the cell tagged "parameters". Raises ConfigError where there is none.

    The cell is parsed and not run, so every default has to be a literal.
    """
    texts = [code for tags, code in code_cells(source) if "parameters" in tags]
    if len(texts) != 1:
        raise ConfigError(f"{source}: {len(texts)} cells have the tag 'parameters', not one")
    values: dict[str, Any] = {}
    for statement in ast.parse(texts[0]).body:
        if isinstance(statement, ast.AnnAssign):
            targets: list[ast.expr] = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and statement.value is not None:
                values[target.id] = _literal(statement.value, target.id, source)
    return values


def _literal(value: ast.expr, name: str, source: Path) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        raise ConfigError(f"{source}: the default of {name!r} is not a plain value") from None
