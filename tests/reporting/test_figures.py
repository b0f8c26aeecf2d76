import json
from collections.abc import Callable
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from jomed.reporting import figures
from jomed.reporting.figure_training import weight_bins
from jomed.reporting.frames import FrameError
from jomed.reporting.provenance import Provenance
from jomed.reporting.style import WIDTH, whiskers

matplotlib.use("agg")
KINDS = ("svg", "pdf", "png", "csv")


def agreement() -> pd.DataFrame:
    columns = ["benchmark", "backbone", "head", "stage", "value", "low", "high"]
    rows = [
        ("retina", "q", "text", "before", 0.5, 0.4, 0.6),
        ("retina", "q", "text", "after", 0.7, 0.6, 0.8),
        ("retina", "q", "image", "before", 0.5, float("nan"), float("nan")),
    ]
    return pd.DataFrame(rows, columns=columns)


def log() -> pd.DataFrame:
    rows = [("text", 0, "loss", 1.0), ("text", 1, "loss", 0.5)]
    rows += [("text", step, "validation_log_likelihood", -1.0 + step) for step in (0, 1)]
    return pd.DataFrame(rows, columns=["head", "step", "quantity", "value"])


def predictions() -> pd.DataFrame:
    rows = [("text", 0.05, True)] * 12 + [("image", 0.95, False)] * 3 + [("fused", 1.0, True)]
    return pd.DataFrame(rows, columns=["head", "weight", "correct"])


def latencies() -> pd.DataFrame:
    rows = [("exact", "text", 9.0, 1.0), ("ivf", "text", 1.0, 0.9)]
    return pd.DataFrame(rows, columns=["setting", "head", "latency_ms", "recall"])


def differences() -> pd.DataFrame:
    columns = ["benchmark", "backbone", "method", "metric", "value", "low", "high"]
    rows = [
        ("retina", "q", "text_head", "accuracy", 0.02, -0.01, 0.05),
        ("retina", "q", "emdr2", "accuracy", -0.03, -0.05, -0.01),
        ("retina", "q", "emdr2", "macro_f1", 0.5, 0.4, 0.6),
    ]
    return pd.DataFrame(rows, columns=columns)


def case(access: str = "open") -> figures.Case:
    image = Image.new("L", (20, 10), 90)
    found = [
        figures.Candidate(f"roco:{n}", head, image, "text " * 50, "2", 0.5, n == 0, access)
        for n, head in enumerate(("text", "image"))
    ]
    return figures.Case("retina:0", image, "how severe? " * 9, "2", found, "2", True, "open")


def drawn(metrics: pd.DataFrame, provenance: Provenance) -> dict[str, Callable[[], Figure]]:
    return {
        "agreement_before_after": lambda: figures.agreement_before_after(agreement(), provenance),
        "learning_curves": lambda: figures.learning_curves(log(), provenance),
        "method_comparison": lambda: figures.method_comparison(metrics, provenance),
        "difference_intervals": lambda: figures.difference_intervals(
            differences(), "default", provenance, "difference_intervals"
        ),
        "inconsistency_shares": lambda: figures.inconsistency_shares(metrics, provenance),
        "oracle_gap": lambda: figures.oracle_gap(metrics, provenance),
        "retriever_weights": lambda: figures.retriever_weights(predictions(), provenance),
        "index_latency_recall": lambda: figures.index_latency_recall(latencies(), provenance),
        "case_strip": lambda: figures.case_strip(case(), provenance),
        "method_diagram": lambda: figures.method_diagram(provenance),
    }


NAMES = tuple(drawn(pd.DataFrame(), Provenance("", None, "", Path(), Path())))


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_saved_whole_with_its_stamp(
    name: str, metrics: pd.DataFrame, provenance: Provenance
) -> None:
    figure = drawn(metrics, provenance)[name]()
    folder = provenance.root / "figures" / "phantom"
    assert {path.name for path in folder.iterdir()} == {f"{name}.{k}" for k in (*KINDS, "json")}
    assert (folder / f"{name}.svg").read_text().startswith("<?xml")
    assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(folder / f"{name}.png") as picture:
        assert picture.width > 800
    assert len(pd.read_csv(folder / f"{name}.csv")) > 0
    assert set(json.loads((folder / f"{name}.json").read_text())["sha256"]) == {
        f"{name}.{kind}" for kind in KINDS
    }
    caption = " ".join(figure.get_supxlabel().split())
    told = "these numbers say nothing about medicine" in caption
    assert told == (name != "method_diagram")
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", ["method_comparison", "case_strip"])
def test_same_rows_same_bytes(name: str, metrics: pd.DataFrame, provenance: Provenance) -> None:
    folder = provenance.root / "figures" / "phantom"
    seen = []
    for order in (metrics, metrics.sample(frac=1, random_state=1)):
        drawn(order, provenance)[name]()
        seen.append([(folder / f"{name}.{kind}").read_bytes() for kind in KINDS])
    assert seen[0] == seen[1]


def test_method_comparison_draws_the_pooled_values(
    metrics: pd.DataFrame, provenance: Provenance
) -> None:
    figure = figures.method_comparison(metrics, provenance)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["RetinaMNIST", "vindr pcxr"]
    retina = figure.axes[0]
    assert [label.get_text() for label in retina.get_yticklabels()] == ["Standard RAG", "JOMED"]
    assert retina.lines[0].get_xdata() == pytest.approx([51.0, 62.0])
    assert figure.get_figwidth() == WIDTH


def test_differences_are_drawn_in_points_beside_a_line_at_zero(provenance: Provenance) -> None:
    figure = figures.difference_intervals(differences(), "default", provenance, "d")
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["+ text head", "emdr2"]
    assert axis.lines[0].get_xdata() == pytest.approx([2.0, -3.0])
    assert axis.lines[-1].get_xdata() == [0, 0]
    assert axis.get_xlabel() == "ACC minus that of default (points)"


def test_oracle_gap_is_labelled_in_points(metrics: pd.DataFrame, provenance: Provenance) -> None:
    figure = figures.oracle_gap(metrics, provenance)
    assert [text.get_text() for text in figure.axes[0].texts] == ["+18.0"]  # 80 - 62


def test_shares_and_subset_results(metrics: pd.DataFrame, provenance: Provenance) -> None:
    figure = figures.inconsistency_shares(metrics, provenance)
    bars = [[round(bar.get_width(), 1) for bar in axis.patches] for axis in figure.axes]
    assert bars == [[22.5], [20.0, 40.0]]


def test_oracle_gap_without_oracle_says_so(metrics: pd.DataFrame, provenance: Provenance) -> None:
    without = metrics[~metrics["method"].str.endswith("+oracle")]
    with pytest.raises(FrameError, match="oracle"):
        figures.oracle_gap(without, provenance)


def test_agreement_percent_and_pooling(provenance: Provenance) -> None:
    more = agreement().assign(value=lambda rows: rows["value"] + 0.1)
    figures.agreement_before_after(pd.concat([agreement(), more]), provenance)
    data = pd.read_csv(provenance.root / "figures/phantom/agreement_before_after.csv")
    values = data.set_index(["head", "stage"])["value"]
    assert values["text", "before"] == pytest.approx(0.55)
    assert values["text", "after"] == pytest.approx(0.75)


def test_weight_bins_by_hand() -> None:
    weights = pd.DataFrame(
        {
            "head": ["text"] * 4 + ["fused"],
            "weight": [0.3, 0.39, 1.0, 0.0, 1.0],
            "correct": [True, False, True, False, True],
        }
    )
    rows = weight_bins(weights)[["bin_low", "candidates", "right"]].to_numpy().tolist()
    assert rows == [[0.0, 1, 0.0], [0.3, 2, 0.5], [0.9, 1, 1.0]]


def test_training_log_is_read_per_head(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 0, "val": -1.5, "hits": 3}\n{"step": 1, "loss": 0.25, "hits": 2}\n')
    table = figures.read_training_log({"text": path})
    assert table.to_numpy().tolist() == [
        ["text", 1, "loss", 0.25],
        ["text", 0, "validation_log_likelihood", -1.5],
    ]


def test_restricted_records_stay_in_the_private_folder(provenance: Provenance) -> None:
    figure = figures.case_strip(case("credentialed"), provenance)
    assert not (provenance.root / "figures").exists()
    assert (provenance.private_root / "figures" / "phantom" / "case_strip.png").is_file()
    assert "must not leave this host" in " ".join(figure.get_supxlabel().split())


def test_case_without_candidates_is_refused(provenance: Provenance) -> None:
    empty = figures.Case("s", Image.new("RGB", (4, 4)), "q", "a", (), "a", True, "open")
    with pytest.raises(FrameError, match="no candidate"):
        figures.case_strip(empty, provenance)


def test_whiskers() -> None:
    frame = pd.DataFrame(
        {"value": [0.5, 0.4], "low": [0.4, float("nan")], "high": [0.7, float("nan")]}
    )
    assert whiskers(frame) == pytest.approx(np.array([[0.1, 0.0], [0.2, 0.0]]))
