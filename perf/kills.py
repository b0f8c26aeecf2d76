"""A run that is killed again and again ends in the same result as one that is left alone.

    python perf/kills.py             # 20 kills with SIGKILL; about ten minutes
    python perf/kills.py --kills 60  # more of them

A small run of the tiny profile (stage 1, both heads of stage 2, evaluation; the real stage
functions in processes of their own) is made once without interruption. A second one starts from the
same data, index and untrained models; at random moments its process group is killed, and it is
started again. Adapter, heads, score table and predictions of both have to be equal to the last bit.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from same_results import differences

from jomed.artifacts import artifact, score_table_path
from jomed.config import RunConfig, load_config
from jomed.reading.score_files import ScoreTableError, open_file

KINDS_OF_KILLS = ("stage 1", "stage 2", "scoring")
LONGEST_DELAY = {"stage 1": 0.6, "stage 2": 1.0, "scoring": 1.5}
"""Seconds from the first progress after a start, at most, to the kill."""
OVERRIDES = {
    "data.world.records": 200,
    "data.world.train": 120,
    "data.world.val": 60,
    "data.world.test": 200,
    "stage1.max_steps": 160,
    "stage1.eval_every": 4,
    "stage2.candidates": 12,
    "stage2.steps": 60,
    "stage2.batch_size": 16,
    "stage2.patience": 30,
    "inference.candidates_per_head": 8,
    "evaluation.methods": ["caption_only", "image_only", "standard_rag", "jomed"],
    "runtime.device": "cpu",
}
_WAIT_SECONDS = 300.0


def main(
    kills: Annotated[int, typer.Option(min=3, help="How often the second run is killed.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments of the kills.")] = 0,
    backbone: Annotated[str, typer.Option(help="A tiny backbone.")] = "tiny_qwen2vl",
    folder: Annotated[Path | None, typer.Option(help="Where the runs are written.")] = None,
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Make both runs, kill one of them, compare, and print what was killed and what differs."""
    if worker is not None:
        assert folder is not None
        _work(_config(backbone, folder), worker)
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix="jomed-kills-") as place:
        whole, killed = (_config(backbone, Path(place) / name) for name in ("whole", "killed"))
        _to_the_end(whole, "prepare")
        shutil.copytree(whole.runs_dir, killed.runs_dir)
        _to_the_end(whole, "run")
        print(pd.DataFrame(_killed_run(killed, kills, random.Random(seed))).to_string(index=False))
        rows = pd.DataFrame(differences(whole, killed))
    print(rows.to_string(index=False))
    if not rows["equal"].all():
        raise typer.Exit(1)


def _config(backbone: str, runs_dir: Path) -> RunConfig:
    return load_config("tiny", backbone=backbone, overrides=OVERRIDES, runs_dir=runs_dir)


def _work(config: RunConfig, part: str) -> None:
    """In a process of its own: what both runs share ("prepare"), or all that comes after it."""
    from jomed.phantom.models import provide_backbone, provide_encoder
    from jomed.phantom.world import provide_data
    from jomed.stages.data import prepare_corpora, prepare_samples
    from jomed.stages.evaluation import prepare_evaluation
    from jomed.stages.index import prepare_index
    from jomed.stages.reader import prepare_reader
    from jomed.stages.retriever import prepare_head

    if part == "prepare":
        provide_data(config)
        prepare_corpora(config)
        prepare_samples(config)
        prepare_index(config, provide_encoder(config))
        provide_backbone(config)
        return
    reader = prepare_reader(config).reader
    for head in config.stage2.heads:
        prepare_head(config, head, reader)
    prepare_evaluation(config, reader)


def _start(config: RunConfig, part: str) -> subprocess.Popen[bytes]:
    options = {"worker": part, "folder": str(config.runs_dir), "backbone": config.backbone.name}
    command = [sys.executable, __file__, *(f"--{key}={value}" for key, value in options.items())]
    environment = os.environ | {"JOMED_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    config.runs_dir.mkdir(parents=True, exist_ok=True)
    with (config.runs_dir / "worker.log").open("ab") as log:
        return subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def _to_the_end(config: RunConfig, part: str) -> None:
    if _start(config, part).wait():
        _fail(config)


def _fail(config: RunConfig) -> None:
    typer.echo((config.runs_dir / "worker.log").read_text(), err=True)
    raise typer.Exit(2)


def _killed_run(config: RunConfig, kills: int, rng: random.Random) -> Iterator[dict[str, object]]:
    """Run to the end with kills on the way; yields what each of them hit."""
    for number in range(kills):
        aim = KINDS_OF_KILLS[number * len(KINDS_OF_KILLS) // kills]
        before = _progress(config)[aim]
        process = _start(config, "run")
        _wait_for_more(config, process, aim, before)
        delay = rng.uniform(0, LONGEST_DELAY[aim])
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            typer.echo(f"kill {number + 1} came too late: the run was over", err=True)
            raise typer.Exit(2)
        yield {"kill": number + 1, "in": aim, "seconds after progress": round(delay, 2)} | {
            f"{kind} done": value for kind, value in _progress(config).items()
        }
    _to_the_end(config, "run")


def _wait_for_more(
    config: RunConfig, process: subprocess.Popen[bytes], kind: str, before: int
) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while _progress(config)[kind] <= before:
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            _fail(config)
        time.sleep(0.02)


def _progress(config: RunConfig) -> dict[str, int]:
    """Checkpointed steps of stage 1 and of both heads; pairs scored, once both heads are done."""
    heads = [f"head_{head}" for head in config.stage2.heads]
    trained = all(artifact(config, head).is_complete() for head in heads)
    return {
        "stage 1": _stage1_steps(config),
        "stage 2": sum(_head_steps(config, head) for head in heads),
        "scoring": _pairs(config) if trained else 0,
    }


def _unfinished(config: RunConfig, stage: str) -> Path:
    path = artifact(config, stage).path
    return path.with_name(f".{path.name}.unfinished")


def _stage1_steps(config: RunConfig) -> int:
    if artifact(config, "reader").is_complete():
        return config.stage1.max_steps
    written = _unfinished(config, "reader").glob("checkpoints/checkpoint-*/trainer_state.json")
    return max((int(path.parent.name.split("-")[1]) for path in written), default=0)


def _head_steps(config: RunConfig, stage: str) -> int:
    from safetensors import safe_open

    folder = artifact(config, stage).path
    folder = folder if folder.exists() else _unfinished(config, stage)
    try:
        with safe_open(folder / "checkpoint.safetensors", framework="np") as file:
            return int(json.loads(file.metadata()["progress"])["step"])
    except FileNotFoundError:
        return 0


def _pairs(config: RunConfig) -> int:
    try:
        with closing(open_file(score_table_path(config), create=False)) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM scores").fetchone()[0])
    except ScoreTableError:  # not there yet
        return 0


if __name__ == "__main__":
    typer.run(main)
