"""The notebook executions that a matrix asks for: what each waits for and where its result goes."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jomed.artifacts import artifact
from jomed.config import RunConfig
from jomed.notebooks import code_cells, notebook_parameters, notebook_path
from jomed.variants import Run, chosen_runs, matrix_runs, run_values, variant_configs

# Notebook -> the artefact that it makes: the settings that name one also name the other.
MAKES = {
    "01_prepare_corpora": "corpus",
    "02_prepare_benchmarks": "samples",
    "03_build_index": "index",
    "04_train_reader": "reader",
    "05_train_retriever": "head_text",
    "06_evaluate": "evaluation",
}
NEEDS = {
    "01_prepare_corpora": (),
    "02_prepare_benchmarks": ("01_prepare_corpora",),
    "03_build_index": ("01_prepare_corpora",),
    "04_train_reader": ("02_prepare_benchmarks", "03_build_index"),
    "05_train_retriever": ("04_train_reader",),
    "06_evaluate": ("05_train_retriever",),
}
# What most waits for goes first, so that no long chain is left for the end.
PRIORITIES = {"03_build_index": 4, "04_train_reader": 2, "05_train_retriever": 1}
EXPLORE = "00_explore_a_case"
CLOSING = ("07_compare_methods", "08_ablate", "09_analyse_inconsistency", "10_draw_figures")
# What compares the variants of a matrix, and all that compares its runs where it has some.
ABLATION = ("08_ablate",)


@dataclass(frozen=True, slots=True)
class Task:
    """One notebook execution; the executed notebook at ``target`` says that it is done.

    ``needs`` are targets of other tasks. Where several tasks can start, the highest ``priority``
    goes first. ``variant`` is empty where the task is one of the plain runs too.
    """

    notebook: str
    label: str
    target: Path
    parameters: Mapping[str, str | int]
    needs: tuple[Path, ...]
    priority: int = 0
    variant: str = ""

    @property
    def title(self) -> str:
        """Notebook, label and variant, as shown to the user."""
        return " ".join(part for part in (self.notebook, self.label, self.variant) if part)

    @property
    def done(self) -> bool:
        """Whether the notebook has been executed to its end."""
        return self.target.is_file()

    @property
    def arguments(self) -> str:
        """What follows ``python -m jomed`` to run this task, quoted for a shell."""
        pairs = [word for key, value in self.parameters.items() for word in ("-p", key, str(value))]
        return shlex.join(["run", self.notebook, *pairs])


def running_path(target: Path) -> Path:
    """Where a notebook lies while it is executed."""
    return target.with_suffix(".running.ipynb")


def failed_path(target: Path) -> Path:
    """Where a notebook lies that could not be executed to its end."""
    return target.with_suffix(".failed.ipynb")


def named_target(config: RunConfig, source: Path) -> tuple[str, Path]:
    """Label and target of one notebook under a run's settings.

    The target's hash covers the settings that can change what the notebook makes or shows, and its
    own code: with another parameter or an edited cell the target is another one.
    """
    name = source.stem
    if name in MAKES:
        label, _, key = artifact(config, MAKES[name]).path.name.rpartition("-")
    elif name in CLOSING:
        label = config.matrix
        key = " ".join(run.hash for runs in variant_configs(config).values() for run in runs)
    else:
        label, key = config.run_name, config.hash
    text = json.dumps([key, [code for _, code in code_cells(source)]])
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    folder = config.runs_dir / config.profile / "executed"
    return label, folder / f"{name}.{label}.{digest}.ipynb"


def planned_configs(
    profile: str, matrix: str | None = None, only: Iterable[str] = ()
) -> list[RunConfig]:
    """The runs of a matrix that ``only`` keeps (see ``tasks``). Raises ConfigError."""
    matrix = matrix or profile
    return [run.config for run in chosen_runs(matrix_runs(profile, matrix), only, matrix)]


def tasks(profile: str, matrix: str | None = None, only: Iterable[str] = ()) -> list[Task]:
    """All tasks of a matrix (the profile's own unless given), in an order that can be executed.

    What a run shares with one of fewer overrides is planned once, as that one's. ``only``
    ("benchmark=retina") keeps the runs with these values and leaves out the notebooks that compare
    all runs; of those, a matrix with variants has the ablation alone. Raises ConfigError.
    """
    chosen, matrix = list(only), matrix or profile
    planned = matrix_runs(profile, matrix)
    runs = chosen_runs(planned, chosen, matrix)
    found: dict[Path, Task] = {}
    backbones: set[Path] = set()
    for notebook in MAKES:
        for run in runs:
            needs = tuple(_target(run.config, needed) for needed in NEEDS[notebook])
            # A tiny reader is pre-trained once: first start one run of each, to use all cores.
            base = artifact(run.config, "backbone").path
            first = notebook == "04_train_reader" and base not in backbones
            if first:
                backbones.add(base)
            priority = PRIORITIES.get(notebook, 0) + int(first)
            task = _run_task(run, notebook, needs, priority)
            found.setdefault(task.target, task)
    evaluated = tuple(dict.fromkeys(_target(run.config, "06_evaluate") for run in runs))
    several = any(run.variant for run in planned)
    ending = [] if several else [(EXPLORE, evaluated[:1])]
    if not chosen:
        ending += [(notebook, evaluated) for notebook in (ABLATION if several else CLOSING)]
    closing = [_task(runs[0].config, notebook, needs) for notebook, needs in ending]
    return [*found.values(), *closing]


def states(planned: Sequence[Task]) -> list[tuple[Task, str]]:
    """Every task with its state: done, ready, or what it waits for."""
    by_target = {task.target: task for task in planned}
    rows = []
    for task in planned:
        waiting = [by_target[need].title for need in task.needs if not by_target[need].done]
        state = "done" if task.done else "ready"
        if state == "ready" and waiting:
            more = f" and {len(waiting) - 2} more" if len(waiting) > 2 else ""
            state = f"waiting for {', '.join(waiting[:2])}{more}"
        elif state == "ready" and failed_path(task.target).is_file():
            state = f"ready; failed before: {failed_path(task.target)}"
        rows.append((task, state))
    return rows


def _run_task(run: Run, notebook: str, needs: tuple[Path, ...], priority: int) -> Task:
    target = _target(run.config, notebook)
    for config in run.plainer:
        if _target(config, notebook) == target:
            return _task(config, notebook, needs, priority)
    return replace(_task(run.config, notebook, needs, priority), variant=run.variant)


def _task(config: RunConfig, notebook: str, needs: tuple[Path, ...], priority: int = 0) -> Task:
    source = notebook_path(notebook)
    label, target = named_target(config, source)
    values: dict[str, str | int] = {"profile": config.profile, **run_values(config)}
    if notebook in CLOSING:
        values["matrix"] = config.matrix
    elif config.overrides:
        values["overrides"] = config.overrides
    known = notebook_parameters(source)
    parameters = {name: value for name, value in values.items() if name in known}
    return Task(notebook, label, target, parameters, needs, priority)


def _target(config: RunConfig, notebook: str) -> Path:
    return named_target(config, notebook_path(notebook))[1]
