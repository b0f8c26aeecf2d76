"""A project folder for tests: the real params/ and Snakefile, and small notebooks of its own."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from jomed.plan import CLOSING, EXPLORE, MAKES

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = (EXPLORE, *MAKES, *CLOSING)
RUN = "benchmark = 'retina'\nbackbone: str = 'tiny_qwen2vl'\nencoder = 'tiny_clip'\nseed: int = 0\n"
SHARED = "overrides = None\nruns_dir = None"


def make_project(folder: Path, code: Mapping[str, str] | None = None) -> Path:
    """Lay out a project in ``folder``; ``code`` is the code of notebooks by name."""
    shutil.copytree(ROOT / "params", folder / "params")
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "notebooks").mkdir()
    for name in NOTEBOOKS:
        own = "matrix = 'walkthrough'\n" if name in CLOSING else RUN
        parameters = f"profile = 'tiny'\n{own}{SHARED}"
        write_notebook(folder, name, parameters, (code or {}).get(name, "print(profile)"))
    return folder


def write_notebook(project: Path, name: str, parameters: str, code: str) -> Path:
    """A notebook of two cells."""
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{number}",
            "metadata": {"tags": tags},
            "outputs": [],
            "source": source,
        }
        for number, (tags, source) in enumerate(((["parameters"], parameters), ([], code)))
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": spec},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = project / "notebooks" / f"{name}.ipynb"
    path.write_text(json.dumps(notebook))
    return path
