"""A table's cells as Markdown and LaTeX text."""

from collections.abc import Iterable, Sequence

import pandas as pd

from jomed.reporting.frames import title_of

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "−": r"$-$",
        "Δ": r"$\Delta$",
        "†": r"$\dagger$",
        "·": r"$\cdot$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
)


def escape_latex(text: str) -> str:
    """`text` with every character that LaTeX reads as a command made plain."""
    return text.translate(_LATEX)


def cell_lines(cell: pd.Series) -> list[str]:
    """What one cell shows, line by line: ours, interval, paper, difference."""
    lines = []
    if cell["status"] == "run":
        several = f" ± {cell['spread']:.1f}" if pd.notna(cell["spread"]) else ""
        lines.append(f"{cell['ours']:.1f}{several}{cell['significant']}")
        if pd.notna(cell["low"]) and pd.notna(cell["high"]):
            lines.append(f"[{cell['low']:.1f}, {cell['high']:.1f}]")
    else:
        lines.append(str(cell["status"]))
    if pd.notna(cell["paper"]):
        lines.append(f"paper {cell['paper']:g}")
    if pd.notna(cell["difference"]):
        dagger = "" if cell["agrees"] is pd.NA or cell["agrees"] else "†"
        lines.append(f"Δ {_signed(cell['difference'])}{dagger}")
    return lines


def _signed(number: float) -> str:
    """One decimal with a true minus sign; what rounds to zero has no sign."""
    text = f"{number:+.1f}"
    return "0.0" if text in {"+0.0", "-0.0"} else text.replace("-", "−")


def _grid(table: pd.DataFrame) -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict]:
    """Row keys, column keys and (row, column) -> lines, in the order of the table."""
    rows = list(dict.fromkeys(zip(table["method"], table["backbone"], strict=True)))
    columns = list(dict.fromkeys(zip(table["benchmark"], table["metric"], strict=True)))
    lines = {
        ((cell["method"], cell["backbone"]), (cell["benchmark"], cell["metric"])): cell_lines(cell)
        for _, cell in table.iterrows()
    }
    return rows, columns, lines


def markdown_table(table: pd.DataFrame, caption: str) -> str:
    """GitHub Markdown: a row per method and backbone, a column per benchmark and metric."""
    rows, columns, lines = _grid(table)
    header = ["method", "backbone"]
    header += [f"{title_of(benchmark)} {title_of(metric)}" for benchmark, metric in columns]
    body = [
        [title_of(row[0]), title_of(row[1]), *("<br>".join(lines[row, key]) for key in columns)]
        for row in rows
    ]
    table_text = markdown_rows(header, body, left=2)
    return "\n".join([table_text, "", caption.replace("*", "\\*"), ""])


def markdown_rows(
    header: Sequence[str], rows: Iterable[Iterable[object]], left: int | None = None
) -> str:
    """A GitHub Markdown table; columns from number `left` on are set to the right."""
    edge = len(header) if left is None else left
    ruler = ["---"] * edge + ["---:"] * (len(header) - edge)
    lines = [list(header), ruler, *([str(cell) for cell in row] for row in rows)]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )


def latex_table(table: pd.DataFrame, caption: str, name: str) -> str:
    """A LaTeX float (packages: booktabs, graphicx), benchmarks over their metrics."""
    rows, columns, lines = _grid(table)
    body = pd.DataFrame(
        [[_stack(lines[row, key]) for key in columns] for row in rows],
        index=pd.MultiIndex.from_tuples(_titles(rows), names=["method", "backbone"]),
        columns=pd.MultiIndex.from_tuples(_titles(columns)),
    )
    inner = body.style.to_latex(
        hrules=True, multicol_align="c", column_format="ll" + "r" * len(columns), sparse_index=False
    )
    return (
        "\\begin{table}[t]\n\\centering\\small\n"
        f"\\caption{{{escape_latex(caption)}}}\n\\label{{tab:{name}}}\n"
        f"\\resizebox{{\\linewidth}}{{!}}{{%\n{inner}}}\n\\end{{table}}\n"
    )


def _titles(keys: list[tuple[str, str]]) -> list[tuple[str, ...]]:
    return [tuple(escape_latex(title_of(part)) for part in key) for key in keys]


def _stack(lines: list[str]) -> str:
    """Lines on top of each other; braces keep a leading bracket from being read as an option."""
    return r"\shortstack[r]{" + r"\\".join(f"{{{escape_latex(line)}}}" for line in lines) + "}"
