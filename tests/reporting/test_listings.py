from dataclasses import replace

import pandas as pd

from jomed.reporting.listings import write_listing, write_paper_listing, written_table
from jomed.reporting.provenance import Provenance


def test_a_listing_is_rounded_titled_and_aligned(provenance: Provenance) -> None:
    frame = pd.DataFrame(
        {
            "method": ["jomed"],
            "n_samples": [7],
            "value": [0.12345],
            "low": [float("nan")],
            "x": ["a"],
        }
    )
    header, ruler, row, *_ = write_listing(frame, "t", "A title", provenance).splitlines()
    assert header == "| method | n samples | value | low | x |"
    assert ruler == "| --- | ---: | ---: | ---: | --- |"
    assert row == "| JOMED | 7 | 0.123 | – | a |"


def test_a_listing_is_written_with_its_sidecar(provenance: Provenance) -> None:
    own = replace(provenance, part="retina.q.s0")
    text = write_listing(pd.DataFrame({"a": [1]}), "t", "A title", own)
    folder = provenance.root / "tables" / "phantom" / "retina.q.s0"
    assert (folder / "t.csv").read_text() == "a\n1\n"
    assert (folder / "t.json").is_file()
    assert written_table("t", own) == text
    assert "*A title. " in text


def test_small_counts_of_restricted_data_are_not_listed(provenance: Provenance) -> None:
    frame = pd.DataFrame({"source": ["mimic_cxr"], "seed": [1], "records": [3], "share": [0.01]})
    guarded = replace(provenance, guarded=True)
    assert "| 1 | <10 |" in write_listing(frame, "t", "T", guarded, counts=True)
    text = (provenance.folder("tables") / "t.csv").read_text()
    assert text == "source,seed,records,share\nmimic_cxr,1,<10,\n"
    assert "| 1 | 3 | 0.010 |" in write_listing(frame, "t", "T", provenance, counts=True)


def test_single_records_of_restricted_data_are_private(provenance: Provenance) -> None:
    frame = pd.DataFrame({"record_id": ["mimic_cxr:d1"]})
    text = write_listing(frame, "one", "T", replace(provenance, guarded=True), records=True)
    assert "must not leave this host" in text
    assert not (provenance.folder("tables") / "one.csv").exists()
    assert (provenance.folder("tables", restricted=True) / "one.csv").is_file()
    write_listing(frame, "two", "T", provenance, records=True)
    assert (provenance.folder("tables") / "two.csv").is_file()


def test_an_empty_listing_says_so(provenance: Provenance) -> None:
    assert write_listing(pd.DataFrame(), "t", "T", provenance).startswith("Nothing to list.")


def test_the_papers_values_carry_neither_our_label_nor_our_stamp(provenance: Provenance) -> None:
    text = write_paper_listing("T-A", provenance)
    row = next(line for line in text.splitlines() if line.startswith("| FT RAG | Qwen2-VL |"))
    assert "Retina ACC" in text.splitlines()[0]
    assert "| 62 | 48 |" in row
    assert "phantom" not in text
    assert "Not computed here" in text


def test_only_the_named_columns_are_counts(provenance: Provenance) -> None:
    frame = pd.DataFrame({"step": [5, 60], "best": [-0.5, -0.4], "excluded": [3, 0]})
    guarded = replace(provenance, guarded=True)
    text = write_listing(frame, "t", "T", guarded, counts=["excluded"])
    assert text.splitlines()[2:4] == ["| 5 | -0.500 | <10 |", "| 60 | -0.400 | 0 |"]
