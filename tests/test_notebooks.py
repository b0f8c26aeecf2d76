"""The notebooks keep to the rules that make them readable, re-runnable and safe to publish."""

import ast
import json
import re
import statistics
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from jomed.config import PARAMETERS, ConfigError, configure

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [
    "00_explore_a_case",
    "01_prepare_corpora",
    "02_prepare_benchmarks",
    "03_build_index",
    "04_train_reader",
    "05_train_retriever",
    "06_evaluate",
    "07_compare_methods",
    "08_ablate",
    "09_analyse_inconsistency",
    "10_draw_figures",
]
HEADER = ("Purpose", "Reads", "Writes", "Runtime", "Paper item")
FORBIDDEN_OUTPUT = {
    "absolute path": r"(?<![\w.:/])/(home|root|tmp|work|Users|usr|opt|mnt|data)/",
    "e-mail address": r"[\w.+-]+@[\w-]+\.[a-z]{2,}",
    "token": r"\b(hf_|ghp_|sk-)[A-Za-z0-9]{16,}",
    "patient or study": r"\b[ps]1?\d{7,8}\b",
    "image id": r"\b[0-9a-f]{8}(-[0-9a-f]{8}){4}\b",
    "commit hash": r"\b[0-9a-f]{40}\b",
}
every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str | None = None) -> list[Any]:
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if kind in (None, cell.cell_type)]


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def parameters_of(path: Path) -> ast.Module:
    chosen = [cell for cell in cells(path, "code") if "parameters" in tags(cell)]
    assert len(chosen) == 1
    return ast.parse(chosen[0].source)


def bound_names(source: str) -> set[str]:
    """Names that a cell assigns in any way."""
    tree = ast.parse(source)
    return {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    }


def lines_of(cell: Any) -> int:
    return sum(1 for line in cell.source.splitlines() if line.strip())


def texts(cell: Any) -> str:
    """Everything in a cell's outputs that can be read, pictures left out."""
    found = []
    for output in cell.get("outputs", []):
        data = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}
        found.append(json.dumps([output.get("text", ""), output.get("traceback", ""), data]))
    return "\n".join(found)


def test_the_notebooks_are_numbered_without_gaps() -> None:
    assert [path.stem for path in NOTEBOOKS] == NAMES


@every
def test_the_notebook_is_valid_and_its_cells_keep_their_ids(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]+", cell.id) for cell in notebook.cells)
    assert notebook.metadata.kernelspec.name == "python3"


@every
def test_the_header_says_what_the_notebook_does(path: Path) -> None:
    header = cells(path)[0]
    assert header.cell_type == "markdown"
    assert header.source.startswith(f"# {path.stem[:2]} · ")
    assert re.findall(r"^\| \*\*(.+?)\*\* \|", header.source, re.MULTILINE) == list(HEADER)
    runtime = next(line for line in header.source.splitlines() if "**Runtime**" in line)
    assert "phantom" in runtime
    assert "paper" in runtime


@every
def test_the_parameters_are_typed_commented_and_read(path: Path) -> None:
    code = cells(path, "code")
    assert "parameters" in tags(code[1])
    for line, node in zip(code[1].source.splitlines(), parameters_of(path).body, strict=True):
        assert isinstance(node, ast.AnnAssign)
        assert isinstance(node.target, ast.Name)
        assert node.value is not None
        assert node.target.id in PARAMETERS
        assert re.search(r"  # \w+", line)
    assert code[2].source == "config = configure(globals())"


@every
def test_papermill_sees_every_parameter_with_its_type(path: Path) -> None:
    found = papermill.inspect_notebook(str(path))
    declared = [node.target.id for node in parameters_of(path).body]  # type: ignore[attr-defined]
    assert list(found) == declared
    assert all(entry["inferred_type_name"] != "None" for entry in found.values())


@every
def test_no_other_cell_binds_a_parameter(path: Path) -> None:
    names = bound_names("\n".join(ast.unparse(node) for node in parameters_of(path).body))
    others = [cell for cell in cells(path, "code") if "parameters" not in tags(cell)]
    assert not any(names & bound_names(cell.source) for cell in others)


@every
def test_imports_stand_in_the_first_code_cell_only(path: Path) -> None:
    first, *others = [ast.parse(cell.source) for cell in cells(path, "code")]
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in first.body)
    stars = [n for n in ast.walk(first) if isinstance(n, ast.alias) and n.name == "*"]
    late = [n for t in others for n in ast.walk(t) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert (stars, late) == ([], [])


@every
def test_no_definitions_magics_or_branches_on_the_profile(path: Path) -> None:
    for cell in cells(path, "code"):
        assert not re.search(r"^\s*[!%]", cell.source, re.MULTILINE)
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.If
            )
        assert "filterwarnings" not in cell.source


@every
def test_cells_are_few_and_short_and_explained(path: Path) -> None:
    code, prose = cells(path, "code"), cells(path, "markdown")
    assert len(code) + len(prose) <= 45
    assert max(map(lines_of, code)) <= 25
    assert statistics.median(map(lines_of, code)) <= 5
    assert 0.8 <= len(prose) / len(code) <= 1.3


def test_the_median_notebook_has_at_most_thirty_cells() -> None:
    assert statistics.median(len(cells(path)) for path in NOTEBOOKS) <= 30


@every
def test_only_the_stamp_is_left_out_of_the_comparison(path: Path) -> None:
    ignored = [cell for cell in cells(path, "code") if set(tags(cell)) - {"parameters"}]
    assert [(cell.id, tags(cell)) for cell in ignored] == [("stamp", ["nbval-ignore-output"])]


@every
def test_links_lead_to_notebooks_that_exist(path: Path) -> None:
    links = [
        link for cell in cells(path, "markdown") for link in re.findall(r"\]\((.+?)\)", cell.source)
    ]
    assert links
    assert all((path.parent / link).is_file() for link in links)


@every
def test_every_code_cell_was_executed_in_order(path: Path) -> None:
    code = cells(path, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    shown = [cell for cell in code if isinstance(ast.parse(cell.source).body[-1], ast.Expr)]
    assert all(cell.outputs for cell in shown)


@every
def test_outputs_hold_no_error_no_warning_and_nothing_private(path: Path) -> None:
    for cell in cells(path, "code"):
        kinds = [(output.output_type, output.get("name")) for output in cell.outputs]
        assert ("stream", "stderr") not in kinds
        assert not [kind for kind, _ in kinds if kind == "error"]
        for what, pattern in FORBIDDEN_OUTPUT.items():
            assert not re.search(pattern, texts(cell)), what


def test_a_misspelt_parameter_stops_a_notebook() -> None:
    with pytest.raises(ConfigError, match="did you mean 'benchmark'"):
        configure({"profile": "tiny", "benchmrak": "retina", "__name__": "__main__"})


def test_a_matrix_notebook_takes_the_first_run_of_its_matrix() -> None:
    config = configure({"profile": "paper", "matrix": "paper", "runs_dir": None})
    assert (config.benchmark.name, config.backbone.tiny, config.matrix) == ("breast", None, "paper")
