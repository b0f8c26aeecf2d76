"""The numbers that the paper reports, with their source, and their average rows recomputed."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from jomed.config import project_root

COLUMNS = (
    "table",
    "model",
    "backbone",
    "benchmark",
    "metric",
    "value",
    "unit",
    "source",
    "version",
    "status",
)
KEY = ["table", "model", "backbone", "benchmark", "metric"]
UNITS = frozenset({"percent", "points", "count"})
STATUSES = frozenset({"reported", "statement", "outside", "not found"})
VERSIONS = frozenset({"v1", "v2", "v3", "v4", "v5", "v6", "outside", ""})

# Half of the last printed digit, in percent: the tables print whole percents.
HALF_UNIT = 0.5

# Our method names -> the paper's model names.
PAPER_MODELS: Mapping[str, str] = MappingProxyType(
    {"jomed": "JOMED", "standard_rag": "FT RAG", "rad": "RAD", "mmed_rag": "MMed-RAG"}
)

# Our backbones -> the paper's names; others of the same family are not what the paper reads with.
PAPER_BACKBONES: Mapping[str, str] = MappingProxyType(
    {"qwen2_vl_7b": "Qwen2-VL", "pixtral_12b": "Pixtral"}
)


class PaperError(ValueError):
    """A file of reported numbers is missing or breaks a rule of `tables/paper/README.md`."""


def reported(table: str | None = None, folder: Path | None = None) -> pd.DataFrame:
    """Reported numbers as one checked tidy frame, unknown cells with a missing `value`.

    `table` is a letter of `tables/paper/README.md` ("T-A") or None for all; `folder` defaults
    to `tables/paper` of the project. Raises PaperError with the file and the offending row.
    """
    folder = project_root() / "tables" / "paper" if folder is None else folder
    files = sorted(folder.glob(f"{table or 'T-?'}_*.csv"))
    if not files:
        known = sorted(path.name.split("_")[0] for path in folder.glob("T-?_*.csv"))
        raise PaperError(f"no reported table {table or 'T-?'} in {folder}; known: {known}")
    return pd.concat([_load(path) for path in files], ignore_index=True)


def _load(path: Path) -> pd.DataFrame:
    # Text first: pandas would read a model or version named "NA" as missing.
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(frame.columns) != COLUMNS:
        raise PaperError(f"{path}: columns are {list(frame.columns)}, expected {list(COLUMNS)}")
    try:
        frame["value"] = pd.to_numeric(frame["value"].replace("", None)).astype(float)
    except ValueError as error:
        raise PaperError(
            f"{path}: column value holds something that is no number: {error}"
        ) from error
    _check(frame, path)
    return frame


def _check(frame: pd.DataFrame, path: Path) -> None:
    """Raise PaperError on the first rule that a row breaks."""
    known = frame["value"].notna()
    percent = frame["unit"] == "percent"
    rules = {
        "belongs to another table": frame["table"] != path.name.split("_")[0],
        f"unit is not one of {sorted(UNITS)}": ~frame["unit"].isin(UNITS),
        f"status is not one of {sorted(STATUSES)}": ~frame["status"].isin(STATUSES),
        f"version is not one of {sorted(VERSIONS)}": ~frame["version"].isin(VERSIONS),
        "has a value and says 'not found', or the reverse": known
        == (frame["status"] == "not found"),
        "has a value without source or version": known
        & ((frame["source"] == "") | (frame["version"] == "")),
        "is a percent outside 0 to 100": percent & known & ~frame["value"].between(0, 100),
        "names no benchmark or no metric": (frame["benchmark"] == "") | (frame["metric"] == ""),
        "appears twice": frame.duplicated(KEY),
    }
    for rule, broken in rules.items():
        if broken.any():
            line = int(broken.to_numpy().argmax())
            row = [str(frame[column].iloc[line]) for column in KEY]
            raise PaperError(f"{path}, line {line + 2}: row {row} {rule}")


def recomputed_averages(frame: pd.DataFrame) -> pd.DataFrame:
    """Printed averages beside the plain mean of the row's benchmarks.

    Returns table, model, backbone, metric, printed, recomputed, benchmarks and `agrees`:
    whether the mean lies within the rounding of the printed whole percent. A row whose cells
    are not all known is left out.
    """
    row = ["table", "model", "backbone", "metric"]
    is_average = frame["benchmark"] == "Average"
    printed = frame[is_average & frame["value"].notna()].set_index(row)["value"].rename("printed")
    cells = frame[~is_average & (frame["status"] != "outside")].groupby(row)["value"]
    means = cells.agg(recomputed=lambda cell: cell.mean(skipna=False), benchmarks="size")
    joined = printed.to_frame().join(means, how="left").dropna().reset_index()
    gap = (joined["printed"] - joined["recomputed"]).abs()
    return joined.assign(agrees=gap <= HALF_UNIT)


def align(
    frame: pd.DataFrame, benchmarks: Mapping[str, str], backbones: Mapping[str, str]
) -> pd.DataFrame:
    """Reported cells under this project's names, ready to sit beside our own runs.

    `benchmarks` maps our benchmark names to the paper's columns (`BenchmarkConfig.paper_column`)
    and `backbones` ours to the paper's (`PAPER_BACKBONES`). A model without a
    backbone of its own keeps "". The printed average becomes benchmark "average", and only if
    `benchmarks` covers all columns it was taken over. Returns benchmark, backbone, method, metric,
    paper (percent), paper_version; statements and outside numbers are left out.
    """
    cells = frame[frame["status"].eq("reported") & frame["unit"].eq("percent")]
    cells = cells.drop_duplicates(["model", "backbone", "benchmark", "metric"])
    methods = {model: method for method, model in PAPER_MODELS.items()}
    rows = [
        {
            "benchmark": benchmark,
            "backbone": backbone,
            "method": methods.get(str(cell.model), str(cell.model)),
            "metric": cell.metric,
            "paper": cell.value,
            "paper_version": cell.version,
        }
        for cell in cells.itertuples(index=False)
        for benchmark, column in _columns(frame, str(cell.table), benchmarks).items()
        if column == cell.benchmark
        for backbone, name in {**backbones, "": ""}.items()
        if name == cell.backbone
    ]
    columns = ["benchmark", "backbone", "method", "metric", "paper", "paper_version"]
    return pd.DataFrame(rows, columns=columns)


def _columns(frame: pd.DataFrame, table: str, benchmarks: Mapping[str, str]) -> dict[str, str]:
    """Our benchmark name -> column of `table`, with the average where it is comparable."""
    printed = set(frame.loc[frame["table"] == table, "benchmark"]) - {"Average", "all"}
    complete = printed <= set(benchmarks.values())
    return {**benchmarks, **({"average": "Average"} if complete else {})}
