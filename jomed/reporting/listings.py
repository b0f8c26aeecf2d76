"""Plain tables: any small frame as CSV and Markdown with the stamp of where it came from."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from jomed.reporting.frames import title_of
from jomed.reporting.markup import markdown_rows
from jomed.reporting.paper import reported
from jomed.reporting.provenance import Provenance
from jomed.reporting.suppress import suppress
from jomed.storage import atomic_write


def write_listing(
    frame: pd.DataFrame,
    name: str,
    title: str,
    provenance: Provenance,
    digits: int = 3,
    counts: bool | Sequence[str] = False,
    records: bool = False,
) -> str:
    """Write `tables/<profile>/<name>.{csv,md}` and the sidecar JSON; return the Markdown.

    Numbers are rounded to `digits`, a missing one is shown as a dash, underscores of column names
    as blanks, methods and metrics by their titles; an empty frame says so. Where the data are
    restricted: `counts` says that whole numbers count records or samples, so that small ones are
    hidden (or which columns do, where others are steps or sizes), and `records` that rows are
    single records or samples, so that the files are private.
    """
    private = records and provenance.guarded
    shown = frame.round(digits)
    if counts:
        columns = list(shown.columns if counts is True else counts)
        shown[columns] = suppress(shown[columns], provenance.guarded)
    text = f"{_table(provenance.named(shown), digits)}\n\n*{provenance.caption(title, private)}*\n"
    folder = provenance.folder("tables", private)
    contents = {"csv": shown.to_csv(index=False, lineterminator="\n"), "md": text}
    paths = [folder / f"{name}.{kind}" for kind in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    provenance.write_sidecar(paths, folder / f"{name}.json", restricted=private)
    return text


def write_paper_listing(table: str, provenance: Provenance) -> str:
    """The paper's own values of one table (see `reported`), never mixed with ours.

    One row per model and backbone, one column per benchmark and metric; returns the Markdown.
    """
    known = reported(table)
    cells = known[known["status"].isin(["reported", "not found"])]
    wide = cells.pivot(index=["model", "backbone"], columns=["benchmark", "metric"], values="value")
    order = cells[["benchmark", "metric"]].drop_duplicates().itertuples(index=False, name=None)
    flat = wide[list(order)].dropna(how="all").reset_index()
    flat.columns = [" ".join(title_of(part) for part in column if part) for column in flat.columns]
    shown = replace(provenance, label=None, line="Not computed here; sources in tables/paper")
    title = "Percent as the paper reports them, – where no number was found"
    return write_listing(flat, f"paper_{table}", title, shown, digits=0)


def written_table(name: str, provenance: Provenance) -> str:
    """The Markdown of a table that was written before under that name."""
    return (provenance.folder("tables") / f"{name}.md").read_text(encoding="utf-8")


def _table(frame: pd.DataFrame, digits: int) -> str:
    """Markdown with titles for names, and numbers set to the right."""
    if frame.empty:
        return "Nothing to list."
    words = {name: frame[name].map(title_of) for name in ("method", "metric") if name in frame}
    titled = frame.assign(**words)
    rows = [[_cell(value, digits) for value in row] for row in titled.itertuples(index=False)]
    header = [str(column).replace("_", " ") for column in titled.columns]
    lines = markdown_rows(header, rows).splitlines()
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in titled.dtypes]
    lines[1] = "| " + " | ".join("---:" if number else "---" for number in numeric) + " |"
    return "\n".join(lines)


def _cell(value: object, digits: int) -> str:
    if value is pd.NA or value is None or value != value:
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)
