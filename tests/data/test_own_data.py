"""The page about one's own data: its files load, its commands and messages are true."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from test_images import dicom
from tiny_sets import load_samples, picture

from jomed.checks import as_frame, check_data
from jomed.config import ConfigError, RunConfig, configure, load_config, project_root, read_corpus
from jomed.data.corpora import load_corpus
from jomed.data.sources import DataError, divide
from jomed.notebooks import notebook_parameters
from jomed.reporting import Provenance
from jomed.reporting.listings import write_listing
from jomed.runner import parameter_value
from jomed.stages.data import prepare_corpora, prepare_samples

DOCS = project_root() / "docs"
PAGE = (DOCS / "own_data.md").read_text(encoding="utf-8")
FILES = sorted((DOCS / "own_data").iterdir())
NOTEBOOKS = project_root() / "notebooks"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the two YAML files, and a data root with the tables and their images."""
    shutil.copytree(project_root() / "params", tmp_path / "params")
    shutil.copy(DOCS / "own_data/my_hospital.yaml", tmp_path / "params/corpora")
    shutil.copy(DOCS / "own_data/my_task.yaml", tmp_path / "params/benchmarks")
    monkeypatch.setenv("JOMED_ROOT", str(tmp_path))
    home = tmp_path / "data/hospital"
    (home / "images").mkdir(parents=True)
    for path in FILES:
        if path.suffix != ".yaml":
            shutil.copy(path, home)
    for seed, name in enumerate(("a1", "a2", "a3", "b1", "b2", "b3", "b4")):
        picture(seed).save(home / f"images/{name}.png")
    inner = tmp_path / "a4.dcm"
    dicom(inner).save_as(inner, enforce_file_format=True)
    shutil.make_archive(str(home / "scans"), "zip", tmp_path, "a4.dcm")
    return tmp_path / "data"


def config(root: Path) -> RunConfig:
    changes = {"data.corpora": ["my_hospital"], "data.root": str(root)}
    return load_config("paper", "my_task", "qwen2_vl_7b", "biomedclip", overrides=changes)


def read_all(root: Path) -> None:
    run = config(root)
    divide(load_corpus(run.corpora[0], root, run.data, run.benchmark))
    load_samples(root, run.benchmark, run.data)


def test_the_page_shows_the_files_as_they_are() -> None:
    shown = dict(re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    assert shown == {path.name: path.read_text(encoding="utf-8") for path in FILES}


def test_the_examples_load(root: Path) -> None:
    run = config(root)
    (corpus,) = run.corpora
    records, skipped = divide(load_corpus(corpus, root, run.data, run.benchmark))
    assert skipped == []
    assert len(records) == corpus.expected
    assert records[1].text == "Small effusion on the left. Heart of normal size."
    assert records[3].image == "hospital/scans.zip::a4.dcm"
    assert [record.group for record in records] == ["P1", "P1", "P2", "P3"]
    samples, skipped = load_samples(root, run.benchmark, run.data)
    assert skipped == []
    assert sorted(sample.split for sample in samples) == ["test", "train", "train", "val"]
    assert {sample.group: sample.answer for sample in samples}["8"] == "No"


def test_the_commands_name_what_exists(root: Path) -> None:
    block = re.search(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    check, *runs = [shlex.split(line) for line in block.group(1).splitlines()]
    assert check[1:5] == ["python", "-m", "jomed", "check-data"]
    assert len(runs) == 2
    for words in runs:
        assert words[:4] == ["python", "-m", "jomed", "run"]
        options = [place for place, word in enumerate(words) if word == "-p"]
        given = {words[place + 1]: parameter_value(words[place + 2]) for place in options}
        known = notebook_parameters(NOTEBOOKS / f"{words[4]}.ipynb")
        assert given.keys() <= known.keys()
        run = configure({**known, **given})
        assert run.corpora == (read_corpus("my_hospital"),)
        assert (run.benchmark.name, run.data.root) == ("my_task", "/data")


def test_a_table_that_was_mended_is_not_passed_over(root: Path, tmp_path: Path) -> None:
    run = config(root).model_copy(update={"runs_dir": tmp_path / "runs"})
    assert len(prepare_corpora(run).records) == 4
    assert len(prepare_corpora(run).records) == 4
    assert len(prepare_samples(run).samples) == 4
    for prepare, name in ((prepare_corpora, "reports.csv"), (prepare_samples, "pneumonia.jsonl")):
        with (root / "hospital" / name).open("a") as file:
            file.write("\n")
        with pytest.raises(DataError, match=rf"{name} has changed since .*Delete that folder"):
            prepare(run)


def test_listings_of_private_data_with_unknown_counts(root: Path, tmp_path: Path) -> None:
    run = config(root).model_copy(update={"runs_dir": tmp_path / "runs"})
    provenance = replace(Provenance.of(run, "corpora"), root=tmp_path)
    found = as_frame(check_data("paper", root))
    assert found["expected"].isna().any()
    text = write_listing(found, "check", "T", provenance, counts=True)
    (row,) = [line for line in text.splitlines() if line.startswith("| my_hospital |")]
    assert "| present | <10 | 0 | <10 |" in row


FIRST = (DOCS / "own_data/pneumonia.jsonl").read_text().splitlines()[0]
MESSAGES = re.findall(r"^\| `(.*?)` \|", PAGE.split("## What goes wrong")[1], re.MULTILINE)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("my_hospital.yaml", "reports.csv", "absent.csv"),
        ("my_hospital.yaml", "text: findings", "text: finding"),
        ("reports.csv", "patient,file", "file,file"),
        ("reports.csv", 'normal size."', "normal size."),
        ("pneumonia.jsonl", FIRST, f"[{FIRST}]"),
        ("my_hospital.yaml", "path: hospital/reports.csv", "path: null"),
    ],
)
def test_errors_are_said_as_on_the_page(root: Path, file: str, old: str, new: str) -> None:
    folder = root.parent / "params/corpora" if file.endswith(".yaml") else root / "hospital"
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises((DataError, ConfigError)) as caught:
        read_all(root)
    said = str(caught.value).replace(str(root), "/data").replace("absent.csv", "reports.csv")
    assert said in MESSAGES
