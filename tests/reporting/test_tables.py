import json
import re
from dataclasses import replace

import pandas as pd
import pytest

from jomed.evaluation.estimates import EvaluatedRun
from jomed.evaluation.significance import Resampling
from jomed.evaluation.summary import summarise
from jomed.records import PREDICTION_SCHEMA
from jomed.reporting.frames import FrameError
from jomed.reporting.markup import escape_latex, markdown_rows
from jomed.reporting.provenance import Provenance
from jomed.reporting.tables import Layout, cells, write_table

LAYOUT = Layout(
    rows=[("standard_rag", "q"), ("jomed", "q"), ("rad", "q")],
    columns=[("retina", "accuracy"), ("retina", "unparsed")],
)


@pytest.fixture
def paper() -> pd.DataFrame:
    rows = [
        ("standard_rag", "q", "retina", "accuracy", 62.0, "v3"),
        ("jomed", "q", "retina", "accuracy", 70.5, "v3"),
        ("rad", "q", "retina", "accuracy", 40.0, "v3"),
    ]
    columns = ["method", "backbone", "benchmark", "metric", "paper", "paper_version"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def differences() -> pd.DataFrame:
    row = {"method": "jomed", "backbone": "q", "benchmark": "retina", "metric": "accuracy"}
    row |= {"subset": "all", "reference": "standard_rag", "difference": 0.1}
    return pd.DataFrame([row | {"low": 0.02, "high": 0.2, "p_holm": 0.2}])


def test_cells_by_hand(
    metrics: pd.DataFrame, paper: pd.DataFrame, differences: pd.DataFrame
) -> None:
    table = cells(metrics, LAYOUT, paper, differences).set_index(["method", "metric"])
    jomed = table.loc[("jomed", "accuracy")]
    assert (jomed["status"], jomed["ours"], jomed["seeds"]) == ("run", pytest.approx(62.0), 2)
    assert (jomed["low"], jomed["high"]) == (pytest.approx(55.0), pytest.approx(70.0))
    assert jomed["difference"] == pytest.approx(62.0 - 70.5)
    # 70.5 may stand for 70.0, which is inside [55, 70]; 62 +- 0.5 is outside [45, 57].
    assert jomed["agrees"]
    assert not table.loc[("standard_rag", "accuracy"), "agrees"]
    assert jomed["significant"] == "*"
    assert table.loc[("standard_rag", "accuracy"), "significant"] == ""


def test_a_missing_run_is_not_run_and_never_zero(
    metrics: pd.DataFrame, paper: pd.DataFrame
) -> None:
    table = cells(metrics, LAYOUT, paper).set_index(["method", "metric"])
    rad = table.loc[("rad", "accuracy")]
    assert rad["status"] == "not run"
    assert rad[["ours", "low", "high", "difference", "agrees"]].isna().all()
    assert rad["paper"] == 40


def test_counts_are_not_percents(metrics: pd.DataFrame) -> None:
    table = cells(metrics, LAYOUT).set_index(["method", "metric"])
    assert table.loc[("jomed", "unparsed"), "ours"] == 7


def test_undefined_metrics_say_so(metrics: pd.DataFrame) -> None:
    metrics["value"] = metrics["value"].mask(metrics["method"] == "standard_rag")
    table = cells(metrics, LAYOUT).set_index(["method", "metric"])
    assert table.loc[("standard_rag", "accuracy"), "status"] == "undefined"


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "mark"),
    [(0.01, 0.2, 0.01, "**"), (-0.2, -0.01, 0.3, "*"), (-0.1, 0.1, 0.01, ""), (0.0, 0.1, 0.3, "")],
)
def test_marks(
    metrics: pd.DataFrame,
    differences: pd.DataFrame,
    low: float,
    high: float,
    p_holm: float,
    mark: str,
) -> None:
    changed = differences.assign(low=low, high=high, p_holm=p_holm)
    table = cells(metrics, LAYOUT, differences=changed).set_index(["method", "metric"])
    assert table.loc[("jomed", "accuracy"), "significant"] == mark


def test_subset_and_default_layout(metrics: pd.DataFrame) -> None:
    inner = cells(metrics, Layout(subset="inconsistent"))
    assert inner[["method", "ours"]].to_numpy().tolist() == [
        ["standard_rag", pytest.approx(20.0)],
        ["jomed", pytest.approx(40.0)],
    ]
    both = cells(metrics, Layout())
    assert both["method"].unique().tolist() == ["standard_rag", "jomed", "jomed+oracle"]
    assert set(both["metric"]) == {"accuracy"}
    with pytest.raises(FrameError, match="subset 'nobody'"):
        cells(metrics, Layout(subset="nobody"))


def test_percents_are_refused(metrics: pd.DataFrame) -> None:
    with pytest.raises(FrameError, match=r"shares in \[0, 1\]"):
        cells(metrics.assign(high=70.0), LAYOUT)


def test_differences_of_several_seeds_are_refused(
    metrics: pd.DataFrame, differences: pd.DataFrame
) -> None:
    with pytest.raises(FrameError, match="seed_differences"):
        cells(metrics, LAYOUT, differences=pd.concat([differences, differences]))


def test_written_files(
    metrics: pd.DataFrame, paper: pd.DataFrame, differences: pd.DataFrame, provenance: Provenance
) -> None:
    write_table(
        metrics, "main", "Cells & co_1", provenance, layout=LAYOUT, paper=paper,
        differences=differences,
    )  # fmt: skip
    folder = provenance.root / "tables" / "phantom"
    assert {path.name for path in folder.iterdir()} == {
        f"main.{k}" for k in ["csv", "md", "tex", "json"]
    }
    markdown = (folder / "main.md").read_text()
    row = next(line for line in markdown.splitlines() if line.startswith("| JOMED"))
    assert "62.0 ± 2.8*<br>[55.0, 70.0]<br>paper 70.5<br>Δ −8.5 |" in row
    assert "| RAD | Qwen_2 & co | not run<br>paper 40 | not run |".replace("_", " ") in markdown
    assert "phantom world: these numbers say nothing about medicine" in markdown
    assert "config 0123456789ab" in markdown
    assert "against Standard RAG" in markdown
    frame = pd.read_csv(folder / "main.csv")
    assert frame.loc[frame["status"] == "not run", "ours"].isna().all()


def test_latex_is_escaped_and_balanced(
    metrics: pd.DataFrame, paper: pd.DataFrame, provenance: Provenance
) -> None:
    write_table(metrics, "main", "50% & co_1 #2 {x}", provenance, layout=LAYOUT, paper=paper)
    text = (provenance.root / "tables" / "phantom" / "main.tex").read_text()
    assert r"50\% \& co\_1 \#2 \{x\}" in text
    assert r"Qwen 2 \& co" in text
    assert r"{$\Delta$ $-$11.0$\dagger$}" in text  # 51 - 62
    plain = re.sub(r"(?<!\\)\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 3
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {3}
    assert not re.search(r"[^\x00-\x7f]", text)


def test_same_input_same_bytes(metrics: pd.DataFrame, provenance: Provenance) -> None:
    write_table(metrics, "a", "T", provenance)
    shuffled = metrics.sample(frac=1, random_state=3)
    write_table(shuffled, "a2", "T", replace(provenance, details={"runs": [{"commit": "zzz"}]}))
    folder = provenance.root / "tables" / "phantom"
    for kind in ("csv", "md"):
        assert (folder / f"a.{kind}").read_bytes() == (folder / f"a2.{kind}").read_bytes()
    first, second = (json.loads((folder / f"{name}.json").read_text()) for name in ("a", "a2"))
    assert first["sha256"]["a.csv"] == second["sha256"]["a2.csv"]
    assert (first["runs"], second["runs"]) == ([{"commit": "abc"}], [{"commit": "zzz"}])


def test_real_data_carries_no_phantom_words(metrics: pd.DataFrame, provenance: Provenance) -> None:
    write_table(metrics, "real", "T", replace(provenance, label=None))
    text = (provenance.root / "tables" / "phantom" / "real.md").read_text()
    assert "say nothing about medicine" not in text


def test_the_frames_of_an_evaluation_fit(provenance: Provenance) -> None:
    def run(seed: int, jomed: str) -> EvaluatedRun:
        ids = ["s1", "s2", "s3", "s4"]
        fused = {"standard_rag": "0001", "jomed": jomed}
        rows = [
            (sample, method, head, 0, "", 0.0, 1.0, answer, answer == "1")
            for method, answers in fused.items()
            for head, said in {"text": "0001", "image": "1000", "fused": answers}.items()
            for sample, answer in zip(ids, said, strict=True)
        ]
        samples = pd.DataFrame({"sample_id": ids, "answer": "1", "answer_type": "label"})
        return EvaluatedRun(
            "retina", "q", seed, "single_label", ("0", "1"),
            pd.DataFrame(rows, columns=PREDICTION_SCHEMA.names), samples.assign(group=""),
        )  # fmt: skip

    summary = summarise([run(0, "1111"), run(1, "1101")], "standard_rag", Resampling(200))
    layout = Layout(columns=[("retina", "accuracy")])
    table = write_table(
        summary.seed_metrics, "e", "T", provenance, layout=layout,
        differences=summary.seed_differences,
    ).set_index("method")  # fmt: skip
    assert table.loc["jomed", "ours"] == pytest.approx(100 * (1 + 0.75) / 2)
    assert table.loc["jomed", "seeds"] == 2
    assert table.loc["jomed", "significant"] != ""
    assert table.loc["standard_rag", "ours"] == 25


def test_escape_latex() -> None:
    assert escape_latex(r"a_b & 5% \x ~^") == (
        r"a\_b \& 5\% \textbackslash{}x \textasciitilde{}\textasciicircum{}"
    )


def test_markdown_rows() -> None:
    assert markdown_rows(("a", "b"), [(1, "x|y\nz")], left=1).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        r"| 1 | x\|y z |",
    ]
