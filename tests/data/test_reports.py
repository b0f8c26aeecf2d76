import zipfile
from pathlib import Path

import pytest

from jomed.data.corpora.reports import ReportFiles, report_sections, report_text

TITLE = "                                 FINAL REPORT\n"
HEAD = (
    " EXAMINATION:  CHEST (PA AND LAT)\n \n INDICATION:  ___ year old with cough  // eval\n \n"
    " TECHNIQUE:  Chest PA and lateral\n \n COMPARISON:  None.\n \n"
)
FINDINGS = " FINDINGS: \n \n The lungs are clear.  Heart size is\n normal.\n \n"
IMPRESSION = " IMPRESSION: \n \n No acute process.\n"
FULL = TITLE + HEAD + FINDINGS + IMPRESSION
HEAD_NAMES = ["preamble", "examination", "indication", "technique", "comparison"]


def names(text: str) -> list[str]:
    return [name for name, _ in report_sections(text)]


def test_sections_of_a_whole_report() -> None:
    assert names(FULL) == [*HEAD_NAMES, "findings", "impression"]
    sections = dict(report_sections(FULL))
    assert sections["preamble"] == "FINAL REPORT"
    assert sections["impression"] == "No acute process."
    assert report_text(FULL) == "The lungs are clear. Heart size is normal."


def test_joint_findings_and_impression_are_the_impression() -> None:
    text = TITLE + HEAD + " FINDINGS AND IMPRESSION: \n \n Clear.\n"
    assert names(text) == [*HEAD_NAMES, "impression"]
    assert report_text(text) == "Clear."


def test_headers_in_lower_case_are_none() -> None:
    text = FULL.replace("FINDINGS", "Findings").replace("IMPRESSION", "Impression")
    sections = dict(report_sections(text))
    assert names(text) == [*HEAD_NAMES, "last_paragraph"]
    assert sections["comparison"] == "None."
    assert "lungs are clear" in sections["last_paragraph"]
    assert "No acute process" in sections["last_paragraph"]
    assert report_text(text) == ""


def test_view_as_header_is_the_findings() -> None:
    text = TITLE + " CHEST, PA AND LATERAL:  Clear.\n"
    assert report_sections(text) == [("preamble", "FINAL REPORT"), ("findings", "Clear.")]
    assert names(TITLE + " PORTABLE AP CHEST: Clear.\n")[1] == "findings"
    assert names(TITLE + " CHEST CT: Mass.\n")[1] == "chest ct"
    assert names(TITLE + " COMPARISON CHEST: None.\n")[1] == "comparison chest"


@pytest.mark.parametrize(
    ("blank", "expected"),
    [(" \n", ["preamble", "history", "last_paragraph"]), ("\n", ["preamble", "history"])],
)
def test_last_paragraph_needs_the_space_of_a_blank_line(blank: str, expected: list[str]) -> None:
    text = TITLE + " HISTORY:  Cough.\n" + blank + " Clear lungs.\n"
    assert names(text) == expected
    assert report_text(text) == ""


def test_empty_impression_is_dropped() -> None:
    assert names(TITLE + HEAD + FINDINGS + " IMPRESSION: \n \n") == [*HEAD_NAMES, "findings"]


def test_empty_findings_give_way_to_the_impression() -> None:
    for empty in (" FINDINGS:\n", " FINDINGS: \n", " FINDINGS: \n \n"):
        assert report_text(TITLE + HEAD + empty + IMPRESSION) == "No acute process."


def test_the_last_of_two_impressions_counts() -> None:
    text = TITLE + HEAD + IMPRESSION + " IMPRESSION: \n \n Addendum: effusion.\n"
    assert names(text) == [*HEAD_NAMES, "impression", "impression"]
    assert report_text(text) == "Addendum: effusion."


def test_wet_read_stays_in_the_preamble() -> None:
    text = " WET READ: ___ 9:30 PM\n First look.\n " + "_" * 70 + "\n" + FULL
    assert names(text) == [*HEAD_NAMES, "findings", "impression"]
    assert "First look." in dict(report_sections(text))["preamble"]


def test_stripped_lines_have_no_headers() -> None:
    text = "\n".join(line.strip() for line in FULL.splitlines())
    assert names(text) == ["full report"]
    assert report_text(text) == ""


def test_file_that_starts_with_a_header_has_none() -> None:
    assert names(" IMPRESSION: No acute process.\n") == ["full report"]


def test_crlf() -> None:
    text = FULL.replace("\n", "\r\n")
    assert report_sections(text) == report_sections(FULL)


def test_two_headers_on_one_line_are_not_split() -> None:
    text = TITLE + " TECHNIQUE: PA COMPARISON: None.\n" + IMPRESSION
    assert dict(report_sections(text))["technique"] == "PA COMPARISON: None."


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("CONCLUSION", "impression"),
        ("FINDINGS/IMPRESSION", "impression"),
        ("CLINICAL HISTORY", "history"),
        ("REASON FOR EXAM", "indication"),
        ("COMPARISONS", "comparison"),
        ("RECOMMENDATION(S)", "recommendation(s)"),
    ],
)
def test_header_variants(header: str, name: str) -> None:
    assert names(f"{TITLE} {header}:  text\n")[1] == name


def test_digits_and_lines_without_a_space_are_no_headers() -> None:
    assert names(TITLE + " T2 VIEW: a\nEXAM: b\n" + IMPRESSION) == ["preamble", "impression"]
    assert names(TITLE + "   DEEP: b\n" + IMPRESSION) == ["preamble", "deep", "impression"]


def test_marks_stay_and_empty_reports_are_empty() -> None:
    assert report_text(TITLE + " FINDINGS: seen by ___ today.\n") == "seen by ___ today."
    assert report_text("") == ""


def test_reports_from_folders_and_archive(tmp_path: Path) -> None:
    name = "files/p10/p10999999/s59999999.txt"
    path = tmp_path / "mimic-cxr-2.1.0.physionet.org" / name
    path.parent.mkdir(parents=True)
    path.write_bytes("café \xff".encode("latin-1"))
    with zipfile.ZipFile(tmp_path / "mimic-cxr-reports.zip", "w") as archive:
        archive.writestr(name.replace("59999999", "50000001"), "packed")
    with ReportFiles.find(tmp_path) as reports:
        assert reports.read("10999999", "59999999") == "caf\ufffd \ufffd"
        assert reports.read("10999999", "50000001") == "packed"
        assert reports.read("10999999", "50000002") is None
