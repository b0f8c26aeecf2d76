"""check-data: what it says of whole, missing, partial and corrupt data sets."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from jomed.checks import DataSet, as_frame, check_data, how_to_get, report_lines
from jomed.config import load_config
from jomed.phantom.world import planted_counts, provide_data

OWN = "tiny"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return provide_data(load_config(OWN, runs_dir=tmp_path_factory.mktemp("runs")))


@pytest.fixture
def world(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "world"))


def check(root: Path, profile: str = OWN) -> dict[str, DataSet]:
    return {one.name: one for one in check_data(profile, root)}


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_the_drawn_world_is_there_but_for_what_was_broken_on_purpose(drawn: Path) -> None:
    found, planted = check(drawn), planted_counts(drawn)
    for name, counts in planted.items():
        one = found[name]
        assert one.expected == counts.drawn
        assert one.state == ("partial" if counts.broken else "present")
        assert one.usable == counts.records
    assert found["retina"].megabytes > 0
    assert found["mimic_cxr"].access == "credentialed"
    assert "1 x missing image" in found["vindr_pcxr"].detail
    assert found["retina"].needed


def test_an_empty_folder_lacks_everything(tmp_path: Path) -> None:
    found = check(tmp_path, "paper")
    assert {one.state for one in found.values()} == {"missing"}
    text = "\n".join(report_lines(list(found.values())))
    for one in found.values():
        assert one.url in text
        assert one.obtain.strip() in text
    assert "retinamnist.npz" in text
    assert "bd4c0672f1bba3e3a89f0e4e876791e4" in text


def test_truncated_files_are_corrupt_or_counted(world: Path) -> None:
    halve(world / load_config(OWN).benchmark.path)
    halve(next(world.rglob("mimic-cxr-2.0.0-metadata.csv.gz")))
    halve(world / "vqa-rad/VQA_RAD Dataset Public.json")
    before = check(world)["pmc_oa"].usable
    halve(world / "pmc_oa/pmc_oa.jsonl")
    found = check(world)
    for name in ("retina", "mimic_cxr", "vqa_rad"):
        assert found[name].state == "corrupt"
        assert str(world) in found[name].detail
    assert found["pmc_oa"].state == "partial"
    assert f"rows of {found['pmc_oa'].expected}" in found["pmc_oa"].detail
    assert "1 x unreadable row" in found["pmc_oa"].detail
    assert 0 < found["pmc_oa"].usable < before


def test_captions_without_images_are_a_data_set_that_is_missing(world: Path) -> None:
    shutil.rmtree(world / "pmc_oa/caption_T060_filtered_top4_sep_v0_subfigures")
    shutil.rmtree(world / "roco-dataset/data/train/radiology/images")
    for path in world.rglob("s5999*.txt"):
        path.unlink()
    found = check(world)
    assert [found[name].state for name in ("pmc_oa", "mimic_cxr")] == ["missing", "missing"]
    assert found["roco"].state == "corrupt"
    assert "not one row can be used: 24 x missing image" in found["roco"].detail


def test_empty_tables_are_not_called_present(world: Path) -> None:
    (world / "planted.json").unlink()
    table = world / "brset/labels_brset.csv"
    table.write_bytes(table.read_bytes().splitlines(keepends=True)[0])
    (world / "pmc_oa/pmc_oa.jsonl").write_text("")
    found = check(world)
    for name in ("brset", "pmc_oa"):
        assert found[name].state == "corrupt"
        assert "there is none" in found[name].detail


def test_questions_in_other_languages_do_not_make_up_for_lost_ones(world: Path) -> None:
    rows = json.loads((world / "slake/test.json").read_text())
    kept = [row for row in rows if row["q_lang"] == "zh"]
    (world / "slake/test.json").write_text(json.dumps(kept))
    lost, slake = len(rows) - len(kept), check(world)["slake"]
    assert slake.expected is not None
    assert f"{slake.expected - lost} rows of {slake.expected}" in slake.detail


def test_a_broken_image_is_found_by_opening_it(world: Path) -> None:
    victim = next(path for path in sorted(world.rglob("ROCO_*.jpg")) if "non" not in str(path))
    victim.write_bytes(b"\xff\xd8 nothing")
    assert "unreadable image" in check(world)["roco"].detail


def test_an_official_count_that_is_not_reached_is_said(world: Path) -> None:
    (world / "planted.json").unlink()
    roco = check(world)["roco"]
    assert roco.expected == 81807
    assert f"{roco.usable + roco.skipped} rows of 81807" in roco.detail


def test_without_images_opened_only_tables_are_read(drawn: Path) -> None:
    found = {one.name: one for one in check_data(OWN, drawn, opened=0)}
    assert "unreadable image" not in " ".join(one.detail for one in found.values())


def test_kinds_choose_and_frames_hide_nothing(drawn: Path) -> None:
    frame = as_frame(check_data(OWN, drawn, kinds=["benchmark"]))
    assert "retina" in set(frame["name"])
    assert "roco" not in set(frame["name"])
    assert frame["expected"].dtype == "Int64"


def test_small_counts_of_guarded_sets_are_hidden_in_tables(world: Path) -> None:
    (world / "planted.json").unlink()  # as real data are
    frame = as_frame(check_data(OWN, world)).set_index("name")
    assert frame.loc[["brset", "vindr_pcxr", "mimic_cxr"], "skipped"].tolist() == ["<10"] * 3
    assert frame.loc["roco", "skipped"] == "2"
    assert int(frame.loc["brset", "usable"]) > 10


def test_what_is_not_there_says_where_to_get_it(world: Path) -> None:
    (world / "medmnist/retinamnist.npz").unlink()
    halve(world / "roco-dataset/data/train/radiology/licences.txt")
    steps = how_to_get(check_data(OWN, world)).set_index("name")
    assert steps["state"].to_dict()["retina"] == "missing"
    assert steps["state"].to_dict()["roco"] == "partial"
    assert "retinamnist.npz into medmnist/" in steps.loc["retina", "obtain"]
    assert steps.loc["retina", "url"] == "https://zenodo.org/records/10519652"
    assert "present" not in set(steps["state"])
    assert how_to_get([]).empty


def test_expected_counts_do_not_give_hidden_ones_away() -> None:
    counts = {"usable": 377_106, "skipped": 4, "expected": 377_110}
    facts = dict.fromkeys(("state", "licence", "access", "url", "obtain", "detail"), "")
    known = {"name": "mimic_cxr", "kind": "corpus", "needed": True, "megabytes": 1.0}
    row = as_frame([DataSet(guarded=True, **known, **facts, **counts)]).iloc[0]
    assert (row["usable"], row["skipped"], row["expected"]) == (None, "<10", 377_110)
    row = as_frame([DataSet(guarded=False, **known, **facts, **counts)]).iloc[0]
    assert (row["usable"], row["skipped"]) == (377_106, 4)


def test_licences_that_were_cut_short_make_a_corpus_partial(world: Path) -> None:
    halve(world / "roco-dataset/data/train/radiology/licences.txt")
    found = check(world)["roco"]
    assert found.state == "partial"
    assert "x missing licence" in found.detail
    assert found.usable + found.skipped == found.expected


def test_gzip_tables_are_read_like_plain_ones(world: Path) -> None:
    before = check(world)["mimic_cxr"]
    for path in world.rglob("mimic-cxr-2.0.0-*.csv.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert check(world)["mimic_cxr"] == before
