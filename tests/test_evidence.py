"""The committed evidence tables hold what the README says of the phantom world, and no less."""

import json

import pandas as pd
import pytest

from jomed.config import load_config, load_matrix, project_root

TABLES = project_root() / "tables" / "phantom_evidence"
README = (project_root() / "README.md").read_text(encoding="utf-8")
WORDS = {"accuracy": "ACC", "closed_em": "closed exact match", "open_recall": "open token recall"}
BACKBONES = ("tiny_qwen2vl", "tiny_pixtral")
METRICS = (
    ("retina", "accuracy"),
    ("vindr_pcxr", "accuracy"),
    ("vqa_rad", "closed_em"),
    ("vqa_rad", "open_recall"),
)
CLAIMS = [(*metric, backbone) for metric in METRICS for backbone in BACKBONES]
every = pytest.mark.parametrize(("benchmark", "metric", "backbone"), CLAIMS)


def difference(table: str, benchmark: str, metric: str, backbone: str, method: str) -> pd.Series:
    """Method minus standard RAG in one metric of one benchmark and reader."""
    rows = pd.read_csv(TABLES / f"{table}.csv")
    return rows.set_index(["benchmark", "metric", "backbone", "method"]).loc[
        (benchmark, metric, backbone, method)
    ]


def points(row: pd.Series) -> str:
    """A difference with its interval in points, as the README writes it."""
    return "{:+.1f} [{:.1f}, {:.1f}]".format(*(100 * row[["difference", "low", "high"]]))


def test_every_run_of_three_seeds_is_finished() -> None:
    runs, wanted = pd.read_csv(TABLES / "runs.csv"), load_matrix("phantom_evidence")
    assert set(runs["status"]) == {"finished"}
    assert len(runs) == len(wanted) == 18
    assert set(runs["seed"]) == {0, 1, 2}


@every
def test_the_trained_retriever_gains(benchmark: str, metric: str, backbone: str) -> None:
    everywhere = difference("differences", benchmark, metric, backbone, "jomed")
    assert everywhere["difference"] >= 0.05
    assert everywhere["low"] > 0
    hard = difference("inconsistent_differences", benchmark, metric, backbone, "jomed")
    assert hard["difference"] >= 0.08
    assert hard["low"] > 0


@every
def test_shuffled_likelihoods_gain_nothing(benchmark: str, metric: str, backbone: str) -> None:
    assert difference("differences", benchmark, metric, backbone, "shuffled")["low"] <= 0


def test_the_tables_come_from_one_clean_version_of_the_code() -> None:
    files = list(TABLES.glob("*differences.json"))
    runs = [run for path in files for run in json.loads(path.read_text())["runs"]]
    assert len({run["commit"] for run in runs}) == 1
    assert {run["dirty"] for run in runs} == {False}


@every
def test_the_readme_quotes_the_tables(benchmark: str, metric: str, backbone: str) -> None:
    config, place = (
        load_config(benchmark=benchmark, backbone=backbone),
        (benchmark, metric, backbone),
    )
    cells = [
        f"{config.benchmark.title}, {WORDS[metric]}",
        config.backbone.title,
        points(difference("differences", *place, "jomed")),
        points(difference("inconsistent_differences", *place, "jomed")),
        points(difference("differences", *place, "shuffled")),
    ]
    assert f"| {' | '.join(cells)} |" in README
