"""Cards: short Markdown about a data set, the corpora or a finished stage, from what was read."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from jomed.catalogue import BenchmarkConfig, CorpusConfig
from jomed.records import SPLITS
from jomed.reporting.frames import require
from jomed.reporting.markup import markdown_rows
from jomed.reporting.provenance import RESTRICTED, Provenance
from jomed.reporting.suppress import few, hide, suppress
from jomed.storage import atomic_write

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
    guarded: bool = False,
) -> str:
    """Card of a benchmark: source, version, licence, access, samples per split, skips, leakage.

    samples and skipped: columns of Sample and Skipped; leakage: what `count_leakage` returns.
    `guarded` hides small counts.
    """
    require(samples, ["split", "answer_type", "group"], f"card of {benchmark.name}")
    sums = benchmark.md5 or {}
    facts = _source(benchmark) | {
        "Version": f"md5 {sums[benchmark.size]}" if sums else "not pinned by a checksum",
        "Task": benchmark.task.replace("_", " "),
        "Classes": ", ".join(benchmark.label_names) or "none (free questions)",
    }
    splits = [
        (split, few(len(rows), guarded), _groups(rows, guarded), _kinds(rows, guarded))
        for split in SPLITS
        for rows in [samples[samples["split"] == split]]
    ]
    parts = [
        f"## {benchmark.title}",
        _facts(facts),
        markdown_rows(("split", "samples", "known groups", "answers"), splits),
        _skips(skipped, guarded, benchmark.access),
        _leaks(suppress(leakage, guarded)),
    ]
    return "\n\n".join(parts) + "\n"


def corpus_card(
    corpus: CorpusConfig,
    records: pd.DataFrame,
    skipped: pd.DataFrame,
    counts: pd.DataFrame,
    guarded: bool = False,
) -> str:
    """Card of a corpus: source, licences, access, and what became of every row.

    records and skipped: columns of Record and Skipped; counts: what `CorpusCounts.table` returns;
    of all three only the rows of this corpus are looked at. `guarded` hides small counts.
    """
    own = records[records["source"] == corpus.name]
    words = own["text"].map(lambda text: len(text.split()))
    facts = _source(corpus) | {
        "Expected rows": few(corpus.expected, guarded) if corpus.expected else "not published",
        "Records": few(len(own), guarded),
        "Known groups": _groups(own, guarded),
        "Words per text": f"{words.min()} to {words.max()}, median {words.median():g}"
        if len(own)
        else "no text",
    }
    licences = own["licence"].value_counts().sort_index()
    rights = zip(licences.index, _parts(licences, guarded), strict=True)
    fates = suppress(counts[counts["source"] == corpus.name], guarded).drop(columns="source")
    parts = [
        f"## {corpus.title}",
        _facts(facts),
        markdown_rows(("licence of the record", "records"), rights),
        markdown_rows(tuple(fates.columns), fates.itertuples(index=False)),
        _skips(skipped[skipped["source"] == corpus.name], guarded, corpus.access),
        _spread(pd.Series([corpus.access, *own["access"]])),
    ]
    return "\n\n".join(parts) + "\n"


def write_card(text: str, name: str, provenance: Provenance) -> str:
    """Write a card to `tables/<profile>/<part>/card_<name>.md` with its caption; returns both."""
    text = f"{text}\n*{provenance.caption('Data set card')}*\n"
    with atomic_write(provenance.folder("tables") / f"card_{name}.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


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


def _source(about: CorpusConfig | BenchmarkConfig) -> dict[str, object]:
    return {
        "Source": about.url,
        "How to get it": about.obtain.strip() or "not said",
        "Licence": about.licence,
        "Access": _ACCESS[about.access],
    }


def _groups(rows: pd.DataFrame, guarded: bool) -> str:
    return few(rows["group"].replace("", pd.NA).nunique(), guarded)


def _kinds(rows: pd.DataFrame, guarded: bool) -> str:
    counts = rows["answer_type"].value_counts().sort_index()
    parts = zip(counts.index, _parts(counts, guarded), strict=True)
    return ", ".join(f"{kind} {count}" for kind, count in parts)


def _parts(counts: pd.Series, guarded: bool) -> list[str]:
    """Counts whose sum is shown beside them, as texts."""
    if not guarded:
        return [str(count) for count in counts]
    known = [int(counts.sum())]
    return ["–" if text is None else text for text in hide(counts.tolist(), known)]


def _skips(skipped: pd.DataFrame, guarded: bool, access: str) -> str:
    """Skipped items counted by source and reason, with one example each where data are open."""
    if skipped.empty:
        return "Nothing was skipped."
    counts = skipped.groupby(["source", "reason"])["item"].agg(["size", "first"]).reset_index()
    header: tuple[str, ...] = ("source", "skipped because", "items", "for example")
    if access != "open":
        counts, header = counts.drop(columns="first"), header[:-1]
    counts["size"] = _parts(counts["size"], guarded)
    table = markdown_rows(header, counts.to_numpy())
    return f"Skipped: {few(len(skipped), guarded)}\n\n{table}"


def _leaks(leakage: pd.DataFrame) -> str:
    """Pairs with an overlap; says so when there is none."""
    columns = ["kind", "split", "other", "affected", "samples", "share"]
    require(leakage, columns, "leakage")
    found = leakage[leakage["affected"] != 0]
    if found.empty:
        return "No image, near copy or group is shared between splits, or with the index."
    rows = zip(
        found["kind"],
        found["split"] + " in " + found["other"],
        found["affected"],
        found["samples"],
        (100 * found["share"]).map("{:.1f} %".format, na_action="ignore").fillna(""),
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
