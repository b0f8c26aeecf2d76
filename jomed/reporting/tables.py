"""Generated tables: paper, ours, difference and interval, as CSV, Markdown and LaTeX."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from jomed.reporting.frames import (
    CELL,
    COUNTS,
    HEADLINE,
    METHOD_ORDER,
    FrameError,
    as_accuracy,
    ordered,
    over_seeds,
    require,
    title_of,
)
from jomed.reporting.markup import latex_table, markdown_table
from jomed.reporting.paper import HALF_UNIT
from jomed.reporting.provenance import Provenance
from jomed.storage import atomic_write

CELL_COLUMNS = (
    *(*CELL, "status", "ours", "spread", "seeds", "n", "low", "high", "significant"),
    *("paper", "paper_version", "difference", "agrees"),
)
HOLM_LEVEL = 0.05
NOTE = "Percent (mean ± standard deviation where there are several seeds), interval in brackets"
AGAINST_PAPER = "; Δ = ours − paper, † where the paper's value lies outside our interval"
STARS = (
    "; against {reference}: * where the paired interval excludes 0, ** where the Holm-adjusted"
    f" p is below {HOLM_LEVEL} as well"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows and columns of a table.

    rows: (method, backbone), None takes all that the frames hold; columns: (benchmark, metric),
    None takes the headline metrics of all benchmarks. Name them to see cells whose runs are
    missing: they show "not run".
    """

    rows: Sequence[tuple[str, str]] | None = None
    columns: Sequence[tuple[str, str]] | None = None
    subset: str = "all"


def cells(
    metrics: pd.DataFrame,
    layout: Layout,
    paper: pd.DataFrame | None = None,
    differences: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Long frame with one row per cell of the table, in percent (CELL_COLUMNS).

    metrics: either frame of `over_seeds`; paper: what `paper.align` returns; differences:
    `Summary.seed_differences` (or `differences` of one seed), ours minus the reference.
    status: run, undefined or not run; difference: ours - paper; agrees: whether the paper's value
    lies in our interval, its rounding allowed for; significant: the marks * and ** of STARS.
    Raises FrameError on doubled rows and on values that are not shares.
    """
    ours = _percent(metrics, layout.subset)
    reported = _reported(paper)
    rows = layout.rows or _rows(pd.concat([ours[CELL], reported[CELL]]))
    columns = layout.columns or _columns(pd.concat([ours[CELL], reported[CELL]]))
    grid = pd.DataFrame(
        [(*row, *column) for row in rows for column in columns], columns=CELL, dtype=str
    )
    table = grid
    for part in (ours, reported, _significance(differences, layout.subset)):
        table = table.merge(part, how="left", on=CELL, validate="one_to_one")
    inside = table["paper"].between(table["low"] - HALF_UNIT, table["high"] + HALF_UNIT)
    known = table[["paper", "low", "high"]].notna().all(axis=1)
    filled = table.assign(
        status=table["status"].fillna("not run"),
        seeds=table["seeds"].astype("Int64"),
        significant=table["significant"].fillna(""),
        difference=table["ours"] - table["paper"],
        agrees=inside.astype("boolean").where(known),
    )
    return filled[list(CELL_COLUMNS)]


def _percent(metrics: pd.DataFrame, subset: str) -> pd.DataFrame:
    """The rows of one subset over seeds, shares as percents."""
    pooled = over_seeds(metrics, "table")
    chosen = pooled[pooled["subset"] == subset]
    require(chosen, CELL, f"table (subset {subset!r})")
    numbers, is_count = ["value", "spread", "low", "high"], chosen["metric"].isin(COUNTS)
    if (chosen.loc[~is_count, numbers].abs() > 1).any(axis=None):
        raise FrameError("metric values must be shares in [0, 1]; these look like percents")
    scale = is_count.map({True: 1.0, False: 100.0})
    chosen = chosen.assign(**{column: chosen[column] * scale for column in numbers})
    status = chosen["value"].isna().map({True: "undefined", False: "run"})
    kept = [*CELL, "ours", "spread", "seeds", "n", "low", "high", "status"]
    return chosen.rename(columns={"value": "ours"}).assign(status=status)[kept]


def _reported(paper: pd.DataFrame | None) -> pd.DataFrame:
    """The paper's cells, or no row where there is no paper to compare with."""
    columns = [*CELL, "paper", "paper_version"]
    if paper is None:
        return pd.DataFrame({name: pd.Series(dtype=str) for name in columns}).astype(
            {"paper": float}
        )
    require(paper, columns, "reported numbers")
    return paper[columns]


def _significance(differences: pd.DataFrame | None, subset: str) -> pd.DataFrame:
    """CELL and significant: "" (the interval holds 0), "*" (it does not), "**" (nor after Holm)."""
    if differences is None:
        return pd.DataFrame({name: pd.Series(dtype=str) for name in (*CELL, "significant")})
    require(differences, [*CELL, "subset", "low", "high", "p_holm"], "differences")
    chosen = as_accuracy(differences[differences["subset"] == subset])
    if chosen.duplicated(CELL).any():
        raise FrameError("two differences for one cell: pass those over seeds (seed_differences)")
    clear = (chosen["low"] > 0) | (chosen["high"] < 0)
    marks = pd.Series("", chosen.index, dtype=str).mask(clear, "*")
    return chosen[CELL].assign(
        significant=marks.mask(clear & (chosen["p_holm"] < HOLM_LEVEL), "**")
    )


def _rows(found: pd.DataFrame) -> list[tuple[str, str]]:
    """(method, backbone) pairs, methods in their registered order."""
    rank = {name: place for place, name in enumerate(ordered(found["method"], METHOD_ORDER))}
    pairs = {*zip(found["method"], found["backbone"], strict=True)}
    return sorted(pairs, key=lambda pair: (rank[pair[0]], pair[1]))


def _columns(found: pd.DataFrame) -> list[tuple[str, str]]:
    """(benchmark, headline metric) pairs; the average closes the table, as in the paper."""
    pairs = {*zip(found["benchmark"], found["metric"], strict=True)}
    named = [pair for pair in pairs if pair[1] in HEADLINE]
    return sorted(named, key=lambda pair: (pair[0] == "average", pair[0], HEADLINE.index(pair[1])))


def write_table(
    metrics: pd.DataFrame,
    name: str,
    title: str,
    provenance: Provenance,
    *,
    layout: Layout | None = None,
    paper: pd.DataFrame | None = None,
    differences: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Write `tables/<profile>/<name>.{csv,md,tex}` and the sidecar JSON; return the cells.

    Inputs as in `cells`. Same input, same bytes: commit and time stand in the sidecar only.
    """
    table = cells(metrics, layout or Layout(), paper, differences)
    stars = ""
    if differences is not None:
        references = map(title_of, ordered(differences["reference"]))
        stars = STARS.format(reference=" / ".join(references))
    note = NOTE if paper is None else NOTE + AGAINST_PAPER
    caption = provenance.caption(f"{title}. {note}{stars}")
    numbers = ("ours", "spread", "low", "high", "difference")
    shown = provenance.named(table)
    contents = {
        "csv": table.round(dict.fromkeys(numbers, 2)).to_csv(index=False, lineterminator="\n"),
        "md": markdown_table(shown, caption),
        "tex": latex_table(shown, caption, name),
    }
    folder = provenance.folder("tables")
    paths = [folder / f"{name}.{kind}" for kind in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        with atomic_write(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    provenance.write_sidecar(paths, folder / f"{name}.json", restricted=False)
    return table
