from pathlib import Path

import pandas as pd
import pytest

from jomed.reporting import paper

HEADER = ",".join(paper.COLUMNS)
GOOD = "T-A,JOMED,Pixtral,Breast,accuracy,90,percent,somewhere,v3,reported"


def write(folder: Path, *lines: str, header: str = HEADER) -> None:
    (folder / "T-A_classification.csv").write_text("\n".join([header, *lines]) + "\n")


def test_all_eight_tables_load_with_source_and_version() -> None:
    frame = paper.reported()
    assert sorted(frame["table"].unique()) == [f"T-{letter}" for letter in "ABCDEFGH"]
    known = frame[frame["value"].notna()]
    assert (known["source"] != "").all()
    assert (known["version"] != "").all()
    assert set(known.loc[known["status"] != "outside", "version"]) == {"v3"}


def test_numbers_as_printed() -> None:
    frame = paper.reported("T-A").set_index(["model", "backbone", "benchmark", "metric"])["value"]
    assert frame["JOMED", "Pixtral", "Derma", "macro_f1"] == 62
    assert frame["FT RAG", "Qwen2-VL", "VinDr-PCXR", "macro_f1"] == 9
    assert pd.isna(frame["RAD", "", "Breast", "accuracy"])


def test_all_seven_printed_average_rows_recompute() -> None:
    averages = paper.recomputed_averages(paper.reported())
    assert len(averages[["table", "model", "backbone"]].drop_duplicates()) == 7
    assert len(averages) == 14
    assert averages["agrees"].all()
    row = averages.set_index(["model", "backbone", "metric"]).loc[("JOMED", "Pixtral", "macro_f1")]
    assert row["recomputed"] == pytest.approx((87 + 62 + 51 + 14 + 37) / 5)
    assert row["benchmarks"] == 5


def test_a_wrong_average_is_seen() -> None:
    frame = paper.reported("T-A")
    wrong = frame["benchmark"].eq("Average") & frame["model"].eq("MMed-RAG")
    changed = frame.assign(value=frame["value"].mask(wrong & frame["metric"].eq("accuracy"), 65))
    averages = paper.recomputed_averages(changed).set_index(["model", "metric"])["agrees"]
    assert not averages["MMed-RAG", "accuracy"]
    assert averages["MMed-RAG", "macro_f1"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (GOOD.replace("T-A", "T-B"), "another table"),
        (GOOD.replace("percent", "furlongs"), "unit"),
        (GOOD.replace("reported", "rumour"), "status"),
        (GOOD.replace(",v3,", ",v9,"), "version"),
        (GOOD.replace(",90,", ",,"), "not found"),
        (GOOD.replace("reported", "not found"), "not found"),
        (GOOD.replace("somewhere", ""), "without source"),
        (GOOD.replace(",90,", ",900,"), "outside 0 to 100"),
        (GOOD.replace("Breast", ""), "no benchmark"),
        (GOOD.replace(",90,", ",ninety,"), "no number"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, line: str, complaint: str) -> None:
    write(tmp_path, GOOD.replace("JOMED", "other"), line)
    with pytest.raises(paper.PaperError, match=complaint) as error:
        paper.reported(folder=tmp_path)
    assert "T-A_classification.csv" in str(error.value)


def test_doubled_rows_name_the_second_line(tmp_path: Path) -> None:
    write(tmp_path, GOOD, GOOD.replace(",90,", ",91,"))
    with pytest.raises(paper.PaperError, match=r"line 3.*appears twice"):
        paper.reported(folder=tmp_path)


def test_wrong_header_and_unknown_table(tmp_path: Path) -> None:
    write(tmp_path, GOOD, header=HEADER.replace("unit", "units"))
    with pytest.raises(paper.PaperError, match="columns are"):
        paper.reported(folder=tmp_path)
    with pytest.raises(paper.PaperError, match=r"no reported table T-Z.*T-A"):
        paper.reported("T-Z", folder=tmp_path)


def test_align_uses_our_names_and_leaves_statements_out() -> None:
    frame = paper.align(paper.reported(), {"retina": "Retina"}, {"tiny": "Qwen2-VL"})
    cells = frame.set_index(["benchmark", "backbone", "method", "metric"])["paper"]
    assert cells["retina", "tiny", "jomed", "accuracy"] == 65
    assert cells["retina", "tiny", "standard_rag", "macro_f1"] == 48
    assert cells["retina", "", "mmed_rag", "accuracy"] == 63
    assert set(frame["benchmark"]) == {"retina"}
    assert not frame.duplicated(["benchmark", "backbone", "method", "metric"]).any()


def test_align_takes_the_average_only_over_all_of_its_columns() -> None:
    vqa = {"vqa_rad": "VQA-RAD", "slake": "SLAKE", "path_vqa": "PathVQA"}
    frame = paper.align(paper.reported(), vqa, {"big": "Pixtral"})
    average = frame[frame["benchmark"].eq("average") & frame["backbone"].eq("big")]
    assert dict(zip(average["metric"], average["paper"], strict=True)) == {
        "closed_em": 85,
        "open_recall": 55,
    }
    del vqa["slake"]
    assert "average" not in set(paper.align(paper.reported(), vqa, {})["benchmark"])
