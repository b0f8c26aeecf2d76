"""Tasks of a matrix: targets, order and states, on a fake set of finished notebooks."""

import json
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from fake_project import CLOSING, make_project, write_notebook

from jomed.artifacts import stage_notebooks
from jomed.config import ConfigError, configure, load_config
from jomed.notebooks import notebook_parameters, notebook_path
from jomed.params import load_variants
from jomed.plan import MAKES, Task, failed_path, named_target, states, tasks


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOMED_ROOT", str(tmp_path))
    monkeypatch.delenv("JOMED_RUNS", raising=False)
    return make_project(tmp_path)


def titles(planned: Iterable[Task]) -> list[str]:
    return [task.title for task in planned]


def finish(task: Task) -> None:
    task.target.parent.mkdir(parents=True, exist_ok=True)
    task.target.write_text("{}")


def test_every_notebook_makes_the_stage_that_names_it() -> None:
    notebooks = stage_notebooks(load_config("tiny"))
    assert {name: notebooks[stage] for name, stage in MAKES.items()} == {n: n for n in MAKES}
    assert set(notebooks.values()) == set(MAKES)


def test_stages_run_as_often_as_they_depend_on_a_run(project: Path) -> None:
    counts: dict[str, int] = {}
    for task in tasks("tiny"):
        counts[task.notebook] = counts.get(task.notebook, 0) + 1
    # 3 benchmarks x 2 backbones x 1 seed; one world, one encoder
    shared = {"01_prepare_corpora": 1, "02_prepare_benchmarks": 3, "03_build_index": 1}
    each = {"04_train_reader": 6, "05_train_retriever": 6, "06_evaluate": 6}
    assert counts == shared | each | {"00_explore_a_case": 1} | dict.fromkeys(CLOSING, 1)


def test_records_of_a_training_split_are_prepared_for_each_benchmark(project: Path) -> None:
    text = (project / "params/matrix.yaml").read_text()
    head = "retina_small:\n  benchmarks: [retina"
    changed = text.replace(head, f"{head}, breast")
    assert changed != text
    (project / "params/matrix.yaml").write_text(changed)
    found = titles(tasks("retina_small"))
    assert "01_prepare_corpora retina" in found
    assert "01_prepare_corpora breast" in found
    assert "03_build_index breast.tiny_clip" in found


def test_needs_are_targets_of_tasks_listed_before(project: Path) -> None:
    seen: set[Path] = set()
    for task in tasks("tiny"):
        assert seen.issuperset(task.needs)
        seen.add(task.target)
    by_title = {task.title: task for task in tasks("tiny")}
    reader = by_title["04_train_reader vqa_rad.tiny_pixtral.s0"]
    wanted = ["02_prepare_benchmarks vqa_rad", "03_build_index tiny_clip"]
    assert set(reader.needs) == {by_title[title].target for title in wanted}
    assert len(by_title["07_compare_methods tiny"].needs) == 6


def test_one_reader_of_each_backbone_goes_first(project: Path) -> None:
    found = tasks("tiny")
    most = max(task.priority for task in found if task.notebook == "04_train_reader")
    readers = ("retina.tiny_qwen2vl.s0", "retina.tiny_pixtral.s0")
    first = titles(task for task in found if task.priority == most)
    assert first == [f"04_train_reader {run}" for run in readers]


def test_what_most_waits_for_goes_before_evaluation(project: Path) -> None:
    ranks: dict[str, int] = {}
    for task in tasks("tiny"):
        ranks.setdefault(task.notebook, task.priority)
    order = ("03_build_index", "04_train_reader", "05_train_retriever", "06_evaluate")
    assert sorted(order, key=lambda name: -ranks[name]) == list(order)
    assert ranks["05_train_retriever"] > ranks["06_evaluate"]


def test_parameters_are_those_that_the_notebook_has(project: Path) -> None:
    by_title = {task.title: task for task in tasks("tiny")}
    reader = by_title["04_train_reader vqa_rad.tiny_pixtral.s0"]
    assert reader.arguments == (
        "run 04_train_reader -p profile tiny -p benchmark vqa_rad -p backbone tiny_pixtral "
        "-p encoder tiny_clip -p seed 0"
    )
    closing = by_title["08_ablate tiny"]
    assert closing.arguments == "run 08_ablate -p profile tiny -p matrix tiny"


def test_the_phantom_has_the_tasks_it_had() -> None:
    found = tasks("phantom")
    assert len(found) == 28
    assert {task.variant for task in found} == {""}
    assert {name for task in found for name in task.parameters} == {
        "profile", "benchmark", "backbone", "encoder", "seed", "matrix",
    }  # fmt: skip


def test_variants_share_all_but_stage_2_and_evaluation(project: Path) -> None:
    found = tasks("phantom", "phantom_ablation")
    counts = Counter((task.notebook, task.variant) for task in found)
    variants = set(load_variants("phantom_ablation")) - {"default"}
    assert {"emdr2", "released"} < variants
    shared = {"01_prepare_corpora": 1, "02_prepare_benchmarks": 1, "03_build_index": 1}
    shared |= dict.fromkeys(list(MAKES)[3:], 3) | {"08_ablate": 1}
    own = {(notebook, variant): 3 for notebook in list(MAKES)[4:] for variant in variants}
    assert counts == {(notebook, ""): count for notebook, count in shared.items()} | own
    assert len({task.target for task in found}) == len(set(titles(found))) == len(found)
    emdr2 = [task for task in found if task.variant == "emdr2"]
    assert emdr2[0].title == "05_train_retriever retina.tiny_qwen2vl.s0 emdr2"
    assert "stage2.loss" in str(emdr2[0].parameters["overrides"])
    reader = next(t for t in found if t.title == "04_train_reader retina.tiny_qwen2vl.s0")
    assert emdr2[0].needs == (reader.target,)
    assert len(found[-1].needs) == 3 * (1 + len(variants))
    # What the profile's own matrix has is done as that does it, and not made again.
    plain = {task.target: task for task in tasks("phantom")}
    both = [t for t in found if t.target in plain]
    assert all(plain[t.target].arguments == t.arguments for t in both)
    assert {t.title for t in both} == {
        "01_prepare_corpora all",
        "02_prepare_benchmarks retina",
        "03_build_index tiny_clip",
        "04_train_reader retina.tiny_qwen2vl.s0",
        "05_train_retriever retina.tiny_qwen2vl.s0",
    }


def test_only_a_variant(project: Path) -> None:
    found = tasks("phantom", "phantom_ablation", ["variant=emdr2", "seed=1"])
    assert titles(found) == [
        "01_prepare_corpora all",
        "02_prepare_benchmarks retina",
        "03_build_index tiny_clip",
        "04_train_reader retina.tiny_qwen2vl.s1",
        "05_train_retriever retina.tiny_qwen2vl.s1 emdr2",
        "06_evaluate retina.tiny_qwen2vl.s1 emdr2",
    ]
    whole = {task.target for task in tasks("phantom", "phantom_ablation")}
    assert whole > {task.target for task in found}
    with pytest.raises(ConfigError, match="variant=emdr3; did you mean 'emdr2'"):
        tasks("phantom", "phantom_ablation", ["variant=emdr3"])


def test_a_command_line_gives_the_overrides_of_a_variant(project: Path) -> None:
    found = tasks("phantom", "phantom_ablation", ["variant=emdr2", "seed=1"])[-1]
    words = shlex.split(found.arguments)
    given = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p"}
    assert json.loads(given["overrides"])["stage2.loss"] == "emdr2"


@pytest.mark.parametrize(
    "profile", ["tiny", "phantom", "phantom_evidence", "retina_small", "paper", "phantom_ablation"]
)
def test_the_notebooks_with_their_parameters_make_the_targets(profile: str) -> None:
    matrix, profile = profile, profile.removesuffix("_ablation")
    for task in tasks(profile, matrix):
        source = notebook_path(task.notebook)
        config = configure({**notebook_parameters(source), **task.parameters})
        assert named_target(config, source) == (task.label, task.target)


def test_states(project: Path) -> None:
    planned = tasks("tiny", "walkthrough")
    found = dict(zip(titles(planned), (state for _, state in states(planned)), strict=True))
    assert found["01_prepare_corpora all"] == "ready"
    assert found["03_build_index tiny_clip"] == "waiting for 01_prepare_corpora all"
    for task in planned[:3]:
        finish(task)
    failed_path(planned[3].target).write_text("{}")
    assert titles(planned[3:4]) == ["04_train_reader retina.tiny_qwen2vl.s0"]
    found = dict(zip(titles(planned), (state for _, state in states(planned)), strict=True))
    assert [found[title] for title in titles(planned[:3])] == ["done"] * 3
    assert found["04_train_reader retina.tiny_qwen2vl.s0"].startswith("ready; failed before: /")
    waits = "waiting for 04_train_reader retina.tiny_qwen2vl.s0"
    assert found["05_train_retriever retina.tiny_qwen2vl.s0"] == waits


def test_a_notebook_that_was_not_finished_is_not_done(project: Path) -> None:
    task = tasks("tiny")[0]
    task.target.parent.mkdir(parents=True)
    task.target.with_suffix(".running.ipynb").write_text("{}")
    assert not task.done
    finish(task)
    assert task.done


def test_only(project: Path) -> None:
    found = tasks("tiny", only=["benchmark=retina", "benchmark=vqa_rad", "backbone=tiny_pixtral"])
    evaluated = titles(task for task in found if task.notebook == "06_evaluate")
    runs = ("retina.tiny_pixtral.s0", "vqa_rad.tiny_pixtral.s0")
    assert evaluated == [f"06_evaluate {run}" for run in runs]
    assert not set(CLOSING) & {task.notebook for task in found}
    whole = {task.target for task in tasks("tiny")}
    assert whole > {task.target for task in found if task.notebook != "00_explore_a_case"}


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("benchmrak=retina", "did you mean 'benchmark'"),
        ("retina", "key=value"),
        ("seed=7", "no run of matrix 'tiny' has seed=7; valid: 0"),
        ("benchmark=retna", "benchmark=retna; did you mean 'retina'"),
        ("variant=emdr2", "variant=emdr2; valid: default"),
    ],
)
def test_only_that_selects_nothing_is_an_error(project: Path, only: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tasks("tiny", only=[only])


def test_a_setting_changes_only_the_targets_that_depend_on_it(project: Path) -> None:
    def targets(overrides: dict[str, object]) -> dict[str, Path]:
        config = load_config("tiny", overrides=overrides, matrix="walkthrough")
        sources = {name: project / f"notebooks/{name}.ipynb" for name in (*MAKES, *CLOSING)}
        return {name: named_target(config, source)[1] for name, source in sources.items()}

    before, after = targets({}), targets({"stage2.steps": 7})
    same = {name for name in before if before[name] == after[name]}
    assert same == set(list(MAKES)[:4])


def test_an_edited_cell_is_a_new_target_of_that_notebook(project: Path) -> None:
    before = {task.title: task.target for task in tasks("tiny", "walkthrough")}
    write_notebook(project, "09_analyse_inconsistency", "profile = 'tiny'\nmatrix = None", "1 + 1")
    after = {task.title: task.target for task in tasks("tiny", "walkthrough")}
    assert [title for title in before if before[title] != after[title]] == [
        "09_analyse_inconsistency walkthrough"
    ]


def test_a_missing_notebook_is_named(project: Path) -> None:
    (project / "notebooks" / "03_build_index.ipynb").unlink()
    with pytest.raises(ConfigError, match="no notebook '03_build_index'"):
        tasks("tiny")
