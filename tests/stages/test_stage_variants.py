"""Variants of a matrix: one table over finished ones, and what is said where there is none."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tiny_run import OVERRIDES, Run

from jomed.config import RunConfig, load_config, project_root
from jomed.evaluation.metrics import single_label
from jomed.stages.agreement import agreement_frame
from jomed.stages.evaluation import prepare_evaluation
from jomed.stages.finished import read_evaluation
from jomed.stages.results import collect_runs
from jomed.stages.retriever import prepare_head
from jomed.stages.variants import combined_runs, finished_variants, variant_report, variant_rows
from jomed.variants import variant_configs

MATRIX = {
    "benchmarks": ["retina"],
    "backbones": ["tiny_qwen2vl"],
    "encoder": "tiny_clip",
    "seeds": [0],
    "overrides": OVERRIDES,
    "variants": {
        "emdr2": {"stage2.loss": "emdr2", "stage2.learning_rate": 5e-3},
        "alpha_1": {"stage2.alpha": 1.0},
    },
}


@pytest.fixture(scope="module")
def config(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunConfig]:
    """The plain run of a matrix with two variants, one of which is finished."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(project_root() / "params", root / "params")
    (root / "params" / "matrix.yaml").write_text(yaml.safe_dump({"sides": MATRIX}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOMED_ROOT", str(root))
        plain = load_config("tiny", runs_dir=run.config.runs_dir, matrix="sides")
        [variant] = variant_configs(plain)["emdr2"]
        for head in variant.stage2.heads:
            prepare_head(variant, head, run.reader.reader)
        prepare_evaluation(variant, run.reader.reader)
        yield plain


def test_a_run_counts_where_it_and_the_plain_run_are_evaluated(
    config: RunConfig, tmp_path: Path
) -> None:
    done = finished_variants(config)
    assert {name: len(runs) for name, runs in done.items()} == {
        "default": 1, "emdr2": 1, "alpha_1": 0,
    }  # fmt: skip
    elsewhere = load_config("tiny", runs_dir=tmp_path, matrix="sides")
    assert not any(finished_variants(elsewhere).values())


def test_variants_stand_beside_standard_rag_as_methods_of_one_run(config: RunConfig) -> None:
    [found] = combined_runs(finished_variants(config))
    [variant] = variant_configs(config)["emdr2"]
    assert list(dict.fromkeys(found.predictions["method"])) == ["standard_rag", "default", "emdr2"]
    own = found.predictions[found.predictions["method"] == "emdr2"].reset_index(drop=True)
    source = read_evaluation(variant).predictions
    source = source[source["method"] == "jomed"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own.drop(columns="method"), source.drop(columns="method"))
    assert set(found.label_scores) == {"standard_rag", "default", "emdr2"}


def accuracy(config: RunConfig, method: str) -> float:
    run = read_evaluation(config)
    rows = run.predictions
    fused = rows[rows["method"].eq(method) & rows["head"].eq("fused")].set_index("sample_id")
    gold = run.samples["answer"].tolist()
    said = fused.loc[run.samples["sample_id"], "answer"].tolist()
    return single_label(gold, said, run.labels).measures["accuracy"].value


def test_rows_hold_values_differences_and_agreement(config: RunConfig) -> None:
    rows = variant_rows(config, finished_variants(config))
    assert rows["method"].tolist() == ["standard_rag", "default", "emdr2"] * 2
    assert rows["metric"].tolist() == ["accuracy"] * 3 + ["macro_f1"] * 3
    [plain], [variant] = (variant_configs(config)[name] for name in ("default", "emdr2"))
    right = {
        "standard_rag": accuracy(plain, "standard_rag"),
        "default": accuracy(plain, "jomed"),
        "emdr2": accuracy(variant, "jomed"),
    }
    shown = rows[rows["metric"] == "accuracy"].set_index("method")
    assert shown["value"].to_dict() == pytest.approx(right)
    for column, reference in (("from_rag", "standard_rag"), ("from_default", "default")):
        expected = {name: value - right[reference] for name, value in right.items()}
        del expected[reference]
        assert shown[column].dropna().to_dict() == pytest.approx(expected)
        inside = shown[column].between(shown[f"{column}_low"], shown[f"{column}_high"])
        assert inside[list(expected)].all()
    before = agreement_frame([plain]).set_index(["head", "stage"])["value"]
    after = agreement_frame([variant]).set_index(["head", "stage"])["value"]
    for head in ("text", "image"):
        assert shown.loc["standard_rag", head] == pytest.approx(before[head, "before"])
        assert shown.loc["default", head] == pytest.approx(before[head, "after"])
        assert shown.loc["emdr2", head] == pytest.approx(after[head, "after"])


def test_the_report_writes_below_the_matrix_and_names_what_is_missing(config: RunConfig) -> None:
    report = variant_report(config, collect_runs(config).provenance())
    folder = project_root() / "tables" / "tiny" / "sides"
    table = pd.read_csv(folder / "ablation_variants.csv")
    assert set(table["method"]) == {"standard_rag", "default", "emdr2"}
    assert report.text.endswith("Not run, and not in these numbers: alpha_1 (1 of 1 runs).")
    [figure] = report.figures
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["Standard RAG", "emdr2"]
    assert (project_root() / "figures/tiny/sides/ablation_variants.png").is_file()


def test_a_matrix_without_variants_gives_a_sentence_and_no_file(
    config: RunConfig, run: Run, tmp_path: Path
) -> None:
    provenance = dataclasses.replace(collect_runs(config).provenance(), root=tmp_path)
    sides = {name: value for name, value in MATRIX.items() if name != "variants"}
    matrix = project_root() / "params" / "matrix.yaml"
    before = matrix.read_text()
    matrix.write_text(yaml.safe_dump({"plain": sides}))
    try:
        plain = load_config("tiny", runs_dir=run.config.runs_dir, matrix="plain")
        report = variant_report(plain, provenance)
        assert collect_runs(plain).provenance().part == ""
    finally:
        matrix.write_text(before)
    assert report.text.startswith("The matrix plain has no variants")
    assert report.figures == ()
    assert list(tmp_path.iterdir()) == []
