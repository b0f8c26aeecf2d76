"""The variants of a matrix side by side: losses, recipes and settings of stage 2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.figure import Figure

from jomed.artifacts import artifact
from jomed.config import RunConfig
from jomed.evaluation.estimates import ALL, EvaluatedRun
from jomed.evaluation.methods import METHODS, Method
from jomed.params import DEFAULT_VARIANT
from jomed.reporting import Provenance
from jomed.reporting.figures import difference_intervals
from jomed.reporting.frames import HEADLINE, as_accuracy
from jomed.reporting.listings import write_listing
from jomed.stages.agreement import STAGES, agreement_frame
from jomed.stages.finished import REFERENCE, read_evaluation, summarise_runs
from jomed.variants import variant_configs

JOMED = "jomed"
HEADS = ("text_head", "image_head")
"""Methods that train one head alone: rows beside the variants, where a profile evaluates them."""
_PLACE = ["benchmark", "backbone", "method", "metric"]
_INTERVAL = {"difference": "", "low": "_low", "high": "_high"}
Finished = Mapping[str, Sequence[RunConfig]]


@dataclass(frozen=True, slots=True)
class VariantReport:
    """What a notebook shows of the variants: Markdown text, and a figure where there are some."""

    text: str
    figures: tuple[Figure, ...]


def variant_report(config: RunConfig, provenance: Provenance) -> VariantReport:
    """Write the table and the figure over the finished variants of a matrix.

    ``tables/<profile>/<matrix>/ablation_variants.*`` and the figure of that name. A matrix without
    variants, or whose variants have not been run, gives a sentence and neither. ``provenance`` is
    that of the plain runs.
    """
    planned, done = variant_configs(config), finished_variants(config)
    if len(planned) == 1:
        return VariantReport(
            f"The matrix {config.matrix} has no variants: `make ablation` runs one that has.", ()
        )
    absent = [
        f"{name} ({len(runs) - len(done[name])} of {len(runs)} runs)"
        for name, runs in planned.items()
        if len(done[name]) < len(runs)
    ]
    waiting = f"Not run, and not in these numbers: {', '.join(absent)}." if absent else ""
    if not any(done[name] for name in planned if name != DEFAULT_VARIANT):
        return VariantReport(waiting, ())
    rows = variant_rows(config, done)
    origin = Provenance.of([run for runs in done.values() for run in runs], provenance.part)
    title = (
        "Variants of stage 2: shares over seeds; difference from standard RAG and from the default "
        "with paired intervals, p (Holm) of the latter; share of agreeing records per head"
    )
    text = write_listing(rows, "ablation_variants", title, origin)
    compared = rows.drop(columns=["value", "low", "high"]).rename(
        columns={f"from_default{end}": name for name, end in _INTERVAL.items()}
    )
    shown = compared.rename(columns={"difference": "value"}).dropna(subset=["value"])
    figure = difference_intervals(shown, DEFAULT_VARIANT, origin, "ablation_variants")
    return VariantReport("\n\n".join(part for part in (text, waiting) if part), (figure,))


def finished_variants(config: RunConfig) -> dict[str, list[RunConfig]]:
    """The evaluated runs of every variant, those only whose plain run is evaluated too."""
    variants = variant_configs(config)
    evaluated = {
        name: [artifact(run, "evaluation").is_complete() for run in runs]
        for name, runs in variants.items()
    }
    plain = evaluated[DEFAULT_VARIANT]
    return {
        name: [run for run, *both in zip(runs, evaluated[name], plain, strict=True) if all(both)]
        for name, runs in variants.items()
    }


def variant_rows(config: RunConfig, done: Finished) -> pd.DataFrame:
    """One row per benchmark, backbone, variant and headline metric, pooled over seeds.

    ``value``: mean over seeds with its bootstrap interval; ``from_rag`` and ``from_default``: the
    paired differences from standard RAG and from the plain run's JOMED, with theirs; ``p_holm``:
    of the latter, over the table; ``text`` and ``image``: share of retrieved records that agree
    with the sample's diagnosis (`agreement_frame`), mean over seeds.
    """
    runs = combined_runs(done)
    default = summarise_runs(config, runs, DEFAULT_VARIANT)
    from_rag = summarise_runs(config, runs).seed_differences
    values = _headline(default.seed_metrics).rename(columns={"mean": "value"})
    rows = values[[*_PLACE, "seeds", "value", "spread", "low", "high"]]
    for frame, name, kept in (
        (from_rag, "from_rag", []),
        (default.seed_differences, "from_default", ["p_holm"]),
    ):
        named = _headline(frame).rename(
            columns={column: f"{name}{end}" for column, end in _INTERVAL.items()}
        )
        columns = [*_PLACE, *(f"{name}{end}" for end in _INTERVAL.values()), *kept]
        rows = rows.merge(named[columns], how="left", on=_PLACE, validate="one_to_one")
    agreement = _agreement(done)
    rows = rows.merge(agreement, how="left", on=["benchmark", "backbone", "method"])
    order = [REFERENCE, *HEADS, *done]
    known = rows[rows["method"].isin(order)]
    return known.sort_values(
        ["benchmark", "backbone", "metric", "method"],
        key=lambda column: column.map(order.index) if column.name == "method" else column,
        ignore_index=True,
    )


def combined_runs(done: Finished) -> list[EvaluatedRun]:
    """The runs of one place and seed as one, whose methods are standard RAG, heads and variants."""
    plain = {run.run_name.partition("+")[0]: run for run in done[DEFAULT_VARIANT]}
    parts: dict[str, list[tuple[str, EvaluatedRun, str]]] = {}
    for place, run in plain.items():
        base = read_evaluation(run)
        kept = [name for name in (REFERENCE, *HEADS) if name in run.evaluation.methods]
        parts[place] = [(name, base, name) for name in kept]
    for variant, runs in done.items():
        for run in runs:
            place = run.run_name.partition("+")[0]
            parts[place].append((variant, read_evaluation(run), JOMED))
    return [_combined(found) for found in parts.values()]


def _combined(parts: Sequence[tuple[str, EvaluatedRun, str]]) -> EvaluatedRun:
    """One run from (new name, run, method) of several."""
    rows = [
        run.predictions[run.predictions["method"] == method].assign(method=name)
        for name, run, method in parts
    ]
    scores = {
        name: run.label_scores[method] for name, run, method in parts if method in run.label_scores
    }
    predictions = pd.concat(rows, ignore_index=True)
    return replace(parts[0][1], predictions=predictions, label_scores=scores)


def _headline(frame: pd.DataFrame) -> pd.DataFrame:
    named = as_accuracy(frame[frame["subset"] == ALL])
    return named[named["metric"].isin(HEADLINE)]


def _agreement(done: Finished) -> pd.DataFrame:
    """Columns benchmark, backbone, method, text and image: means over seeds."""
    frames = []
    for variant, runs in done.items():
        if not runs:
            continue
        found = agreement_frame(runs)
        shown: dict[str, Method] = {variant: METHODS[JOMED]}
        if variant == DEFAULT_VARIANT:
            shown |= {name: METHODS[name] for name in (REFERENCE, *HEADS)}
        for name, method in shown.items():
            wanted = {(h, STAGES[w]) for h, w in method.heads if w != "shuffled"}
            keys = pd.MultiIndex.from_frame(found[["head", "stage"]])
            frames.append(found[keys.isin(wanted)].assign(method=name))
    means = pd.concat(frames).groupby(["benchmark", "backbone", "method", "head"])["value"].mean()
    return means.unstack("head").reset_index()
