"""Settings: what is read, what is refused and how, and what a hash covers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from jomed.config import (
    ConfigError,
    RunConfig,
    configure,
    load_config,
    load_matrix,
    project_root,
)
from jomed.params import load_variants
from jomed.variants import matrix_configs, variant_configs

PARAMS = project_root() / "params"
DERMA_LEGEND = (
    "Provide answer according to the labels:\n"
    "0 - 'Actinic keratoses and intraepithelial carcinoma'\n1 - 'Basal cell carcinoma'\n"
    "2 - 'Benign keratosis-like lesions'\n3 - 'Dermatofibroma'\n4 - 'Melanoma'\n"
    "5 - 'Melanocytic nevi'\n6 - 'Vascular lesions'\n\n"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of params/ that a test may change."""
    shutil.copytree(PARAMS, tmp_path / "params")
    monkeypatch.setenv("JOMED_ROOT", str(tmp_path))
    monkeypatch.delenv("JOMED_RUNS", raising=False)
    return tmp_path


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in (PARAMS / folder).glob("*.yaml"))


def test_every_run_of_every_matrix_loads() -> None:
    matrices = yaml.safe_load((PARAMS / "matrix.yaml").read_text())
    for matrix in matrices:
        profile = matrix if matrix in names("profiles") else "phantom"
        configs = [load_config(profile=profile, **run) for run in load_matrix(matrix)]
        assert len({config.hash for config in configs}) == len(configs) > 0


@pytest.mark.parametrize(
    ("matrix", "runs"),
    [("phantom", 6), ("phantom_evidence", 18), ("retina_small", 6), ("paper", 48)],
)
def test_size_of_matrices(matrix: str, runs: int) -> None:
    assert len(load_matrix(matrix)) == runs


def test_every_benchmark_is_in_the_paper_matrix() -> None:
    assert {run["benchmark"] for run in load_matrix("paper")} == set(names("benchmarks"))


@pytest.mark.parametrize("profile", names("profiles"))
def test_profiles_say_what_they_cost(profile: str) -> None:
    comment = (PARAMS / "profiles" / f"{profile}.yaml").read_text().split("\ndescription")[0]
    assert comment.startswith("# Runtime")
    assert "memory" in comment.lower()
    assert "# For:" in comment


def test_questions_are_the_papers() -> None:
    asked = {name: load_config(benchmark=name).benchmark for name in names("benchmarks")}
    assert asked["breast"].question == "Does this breast ultrasound image show signs of cancer?"
    assert asked["breast"].answers == ("Yes", "No")
    assert asked["breast"].label_names[0] == "malignant"
    assert asked["derma"].question == (
        DERMA_LEGEND + "What type of skin lesion does the patient have?"
    )
    assert asked["retina"].question == "what is the severity of diabetic retinopathy?"
    assert asked["retina"].answers == ("0", "1", "2", "3", "4")
    assert asked["vqa_rad"].question is None


def test_vindr_has_its_15_labels_and_asks_for_numbers() -> None:
    benchmark = load_config(benchmark="vindr_pcxr").benchmark
    assert benchmark.answers == tuple(str(index) for index in range(15))
    assert benchmark.question is not None
    assert "numbers" in benchmark.question


def test_brset_has_13_diseases_and_none_of_them() -> None:
    benchmark = load_config(benchmark="brset").benchmark
    assert benchmark.answers == tuple(str(index) for index in range(14))
    assert benchmark.label_names[0] == "diabetic retinopathy"
    assert benchmark.label_names[12:] == ("other", "no finding")
    assert benchmark.split_by == "patient"
    assert benchmark.access == "credentialed"


def test_paper_profile_has_the_papers_values() -> None:
    config = load_config("paper", backbone="qwen2_vl_7b", encoder="biomedclip")
    stage1, stage2 = config.stage1, config.stage2
    assert (stage2.alpha, stage2.candidates, stage2.learning_rate) == (0.15, 50, 1e-4)
    assert (stage1.lora_rank, stage1.lora_alpha, stage1.lora_dropout) == (8, 16, 0.0)
    assert (stage1.max_steps, stage1.warmup_ratio, stage1.learning_rate) == (2160, 0.1, 1e-4)
    assert config.inference.candidates_per_head == stage1.candidates_per_head == 2
    assert config.label is None
    assert config.data.world is None


def test_hash_ignores_the_order_of_keys(project: Path) -> None:
    before = load_config().hash
    for file in (project / "params").rglob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))
    assert load_config().hash == before


def test_hash_covers_results_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = load_config("retina_small")
    monkeypatch.setenv("JOMED_DATA", str(tmp_path))
    same = load_config(
        "retina_small",
        runs_dir=tmp_path,
        matrix="other",
        overrides={"runtime.threads": 2, "description": "x", "stage2.alpha": 0.8},
    )
    assert same.data.root == str(tmp_path) != base.data.root
    assert same.hash == base.hash
    others = [
        load_config("retina_small", seed=1),
        load_config("retina_small", backbone="tiny_pixtral"),
        load_config("retina_small", overrides={"stage2.alpha": 0.81}),
        load_config("retina_small", overrides={"data.record_text": "grade {label}"}),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 5


def test_access_is_that_of_everything_that_goes_in() -> None:
    paper = {"profile": "paper", "backbone": "qwen2_vl_7b", "encoder": "biomedclip"}
    assert load_config(**paper, benchmark="vindr_pcxr").access == ("credentialed", "dua")
    open_only = {"data.corpora": ["roco", "pmc_oa"]}
    assert load_config(**paper, benchmark="slake", overrides=open_only).access == ("open",)
    assert load_config("phantom", "vindr_pcxr").access == ("open",)  # all is drawn


def test_section_hash_depends_on_its_sections_alone() -> None:
    base, other = load_config(), load_config(overrides={"stage2.steps": 7})
    assert base.section_hash("data", "benchmark") == other.section_hash("benchmark", "data")
    assert base.section_hash("stage2") != other.section_hash("stage2")
    assert base.section_hash("stage1") != base.section_hash("prompt")
    assert len(base.hash) == 12
    assert set(base.hash) <= set("0123456789abcdef")


def test_hash_is_the_same_in_another_process() -> None:
    code = "from jomed.config import load_config; print(load_config().hash)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == load_config().hash


def test_configure_in_an_ipython_namespace(tmp_path: Path) -> None:
    def helper() -> None: ...

    namespace = {
        "__name__": "__main__",
        "_i1": "profile = 'tiny'",
        "_dh": ["/"],
        "In": ["", "x"],
        "Out": {},
        "exit": object(),
        "quit": object(),
        "get_ipython": helper,
        "yaml": yaml,
        "configure": configure,
        "RunConfig": RunConfig,
        "profile": "tiny",
        "benchmark": "vqa_rad",
        "seed": 2,
        "overrides": None,
        "runs_dir": str(tmp_path),
        "matrix": "phantom",
    }
    config = configure(namespace)
    assert (config.profile, config.benchmark.name, config.seed) == ("tiny", "vqa_rad", 2)
    assert (config.runs_dir, config.matrix) == (tmp_path, "phantom")


@pytest.mark.parametrize("value", ["retina", 3, 0.5, True, None, [1], {"a": 1}])
def test_configure_refuses_what_is_no_parameter(value: object) -> None:
    with pytest.raises(ConfigError, match="unknown parameter 'benchmrak'; did you mean 'benchm"):
        configure({"benchmrak": value})


def test_runs_dir_comes_from_argument_then_environment_then_project(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_config().runs_dir == project / "runs"
    monkeypatch.setenv("JOMED_RUNS", str(tmp_path / "elsewhere"))
    assert load_config().runs_dir == tmp_path / "elsewhere"
    assert load_config(runs_dir="mine").runs_dir == project / "mine"


def test_project_root_is_found_from_below(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    below = tmp_path / "notebooks" / "deep"
    below.mkdir(parents=True)
    (tmp_path / "params" / "profiles").mkdir(parents=True)
    monkeypatch.delenv("JOMED_ROOT", raising=False)
    monkeypatch.chdir(below)
    assert project_root() == tmp_path.resolve()


def test_a_config_cannot_be_changed() -> None:
    config = load_config()
    with pytest.raises(ValidationError):
        config.seed = 3
    with pytest.raises(ValidationError):
        config.stage2.steps = 3


def test_unknown_matrix_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'phantom'"):
        load_matrix("phantm")


def test_malformed_matrix_is_refused(project: Path) -> None:
    file = project / "params" / "matrix.yaml"
    file.write_text("phantom:\n  benchmarks: [retina]\n")
    with pytest.raises(ConfigError, match="'phantom' must have the keys"):
        load_matrix("phantom")


ABLATION = """
small:
  benchmarks: [retina]
  backbones: [tiny_qwen2vl]
  encoder: tiny_clip
  seeds: [0, 1]
  overrides: {evaluation.methods: [standard_rag, jomed]}
  variants:
    emdr2: {stage2.loss: emdr2}
    wide: {stage2: {candidates: 24, alpha: 0.4}}
"""


def test_variants_are_the_runs_with_some_settings_changed(project: Path) -> None:
    (project / "params" / "matrix.yaml").write_text(ABLATION)
    assert load_variants("small") == {
        "default": {},
        "emdr2": {"stage2.loss": "emdr2"},
        "wide": {"stage2.candidates": 24, "stage2.alpha": 0.4},
    }
    config = configure({"profile": "phantom", "matrix": "small"})
    assert config.evaluation.methods == ("standard_rag", "jomed")
    found = variant_configs(config)
    assert list(found) == ["default", "emdr2", "wide"]
    assert [run.seed for run in found["wide"]] == [0, 1]
    assert {run.evaluation.methods for runs in found.values() for run in runs} == {
        ("standard_rag", "jomed")
    }
    assert [run.stage2.loss for run in found["emdr2"]] == ["emdr2", "emdr2"]
    assert [run.stage2.candidates for run in found["default"] + found["wide"]] == [12, 12, 24, 24]


def test_a_matrix_without_variants_has_the_plain_runs_only() -> None:
    config = load_config("phantom")
    assert variant_configs(config) == {"default": matrix_configs(config)}
    assert "overrides" not in load_matrix("phantom")[0]


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ("[emdr2]", "small.variants must map"),
        ("{emdr2: {}}", r"variants\.emdr2: .* at least one override"),
        ("{default: {stage2.loss: emdr2}}", r"variants\.default: needs a name"),
        ("{a b: {stage2.loss: emdr2}}", r"variants\.a b: needs a name"),
        ("{emdr2: [stage2.loss]}", r"variants\.emdr2: overrides must map"),
    ],
)
def test_malformed_variants_are_refused(project: Path, variants: str, message: str) -> None:
    text = ABLATION[: ABLATION.index("  variants:")] + f"  variants: {variants}\n"
    (project / "params" / "matrix.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_variants("small")


def test_an_unknown_setting_of_a_variant_names_the_nearest(project: Path) -> None:
    text = ABLATION.replace("stage2.loss: emdr2", "stage2.lsos: emdr2")
    (project / "params" / "matrix.yaml").write_text(text)
    with pytest.raises(ConfigError, match="did you mean 'loss'"):
        variant_configs(load_config("phantom", matrix="small"))


def test_overridden_settings_give_the_run_a_name_of_its_own() -> None:
    plain, changed = load_config(), load_config(overrides={"stage2.loss": "emdr2"})
    assert plain.run_name == "retina.tiny_qwen2vl.s0"
    assert re.fullmatch(r"retina\.tiny_qwen2vl\.s0\+[0-9a-f]{6}", changed.run_name)
    other = load_config(overrides={"stage2.loss": "reverse_kl"})
    assert other.run_name != changed.run_name
