"""Cards: short Markdown about a data set, the corpora or a finished stage, from what was read."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from jomed.catalogue import BenchmarkConfig
from jomed.records import SPLITS
from jomed.reporting.frames import require
from jomed.reporting.markup import markdown_rows
from jomed.reporting.provenance import RESTRICTED

_ACCESS = {
    "open": "open",
    "credentialed": "credentialed: every user signs in with the publisher",
    "dua": "data use agreement: signed by every user",
}


def dataset_card(
    benchmark: BenchmarkConfig,
    samples: pd.DataFrame,
    skipped: pd.DataFrame,
    leakage: pd.DataFrame,
) -> str:
    """Card of a benchmark: source, version, licence, access, samples per split, skips, leakage.

    samples and skipped: columns of Sample and Skipped; leakage: what `count_leakage` returns.
    """
    require(samples, ["split", "answer_type", "group"], f"card of {benchmark.name}")
    facts = {
        "Source": benchmark.url,
        "Version": f"md5 {benchmark.md5}" if benchmark.md5 else "not pinned by a checksum",
        "Licence": benchmark.licence,
        "Access": _ACCESS[benchmark.access],
        "Task": benchmark.task.replace("_", " "),
        "Classes": ", ".join(benchmark.label_names) or "none (free questions)",
    }
    splits = [
        (split, len(rows), rows["group"].replace("", pd.NA).nunique(), _kinds(rows))
        for split in SPLITS
        for rows in [samples[samples["split"] == split]]
    ]
    parts = [
        f"## {benchmark.title}",
        _facts(facts),
        markdown_rows(("split", "samples", "known groups", "answers"), splits),
        _skips(skipped),
        _leaks(leakage),
    ]
    return "\n\n".join(parts) + "\n"


def corpus_card(records: pd.DataFrame, skipped: pd.DataFrame, counts: pd.DataFrame) -> str:
    """Card of the corpora: licences, access, and what became of every record per source.

    records and skipped: columns of Record and Skipped; counts: what `CorpusCounts.table` returns.
    """
    rights = [
        (source, ", ".join(sorted({*rows["licence"]})), ", ".join(sorted({*rows["access"]})))
        for source, rows in records.groupby("source", sort=True)
    ]
    parts = [
        "## Corpora",
        markdown_rows(("source", "licence", "access"), rights),
        markdown_rows(tuple(counts.columns), counts.itertuples(index=False)),
        _skips(skipped),
        _spread(records["access"]),
    ]
    return "\n\n".join(parts) + "\n"


def run_card(manifest: Mapping[str, Any], access: Collection[str]) -> str:
    """Card of a finished stage from `Artifact.manifest()`: provenance, files, data access.

    access: access levels of the records and samples that went in; anything but open marks the
    stage as restricted.
    """
    facts = {"Written": manifest["written"], "Content": manifest["content"]}
    facts |= {str(key).capitalize(): value for key, value in manifest["provenance"].items()}
    files = [(name, file["bytes"], file["sha256"][:12]) for name, file in manifest["files"].items()]
    parts = [
        f"## {manifest['name']}",
        _facts(facts),
        _spread(pd.Series(sorted(access), dtype=str)),
        markdown_rows(("file", "bytes", "sha256"), files),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(facts: Mapping[str, object]) -> str:
    return "\n".join(f"- **{name}**: {value}" for name, value in facts.items())


def _kinds(rows: pd.DataFrame) -> str:
    counts = rows["answer_type"].value_counts().sort_index()
    return ", ".join(f"{kind} {count}" for kind, count in counts.items())


def _skips(skipped: pd.DataFrame) -> str:
    """Skipped items counted by source and reason, with one example each."""
    if skipped.empty:
        return "Nothing was skipped."
    counts = skipped.groupby(["source", "reason"])["item"].agg(["size", "first"]).reset_index()
    table = markdown_rows(("source", "skipped because", "items", "for example"), counts.to_numpy())
    return f"Skipped: {len(skipped)}\n\n{table}"


def _leaks(leakage: pd.DataFrame) -> str:
    """Pairs with an overlap; says so when there is none."""
    columns = ["kind", "split", "other", "affected", "samples", "share"]
    require(leakage, columns, "leakage")
    found = leakage[leakage["affected"] > 0]
    if found.empty:
        return "No exact image and no group is shared between splits, or with the index."
    rows = zip(
        found["kind"],
        found["split"] + " in " + found["other"],
        found["affected"],
        found["samples"],
        (100 * found["share"]).map("{:.1f} %".format),
        strict=True,
    )
    header = ("shared", "where", "affected", "samples", "share")
    return f"Leakage:\n\n{markdown_rows(header, rows)}"


def _spread(access: pd.Series) -> str:
    """Whether what was made of these data may leave the host."""
    closed = sorted({*access} - {"open"})
    if closed:
        return f"Trained on or made from {' and '.join(closed)} data: {RESTRICTED}."
    return "All data that went in are open."
