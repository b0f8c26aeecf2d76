"""A whole matrix: Snakemake runs the missing notebooks, this module watches and reports."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jomed.artifacts import data_root
from jomed.config import ConfigError, load_config, project_root
from jomed.plan import Task, failed_path, running_path, tasks
from jomed.runner import MATRIX_PID, cell_error
from jomed.storage import locked

LOG = "snakemake.log"
Say = Callable[[str], None]


def run_matrix(
    profile: str,
    matrix: str | None,
    only: Iterable[str],
    jobs: int,
    keep_going: bool,
    say: Say,
) -> bool:
    """Run every task of a matrix that has not been run; True if all are done at the end.

    Raises ConfigError for wrong settings, a data folder that does not exist, and where the profile
    is being run already.
    """
    chosen = list(only)
    planned = tasks(profile, matrix, chosen)
    missing = [task for task in planned if not task.done]
    folder = planned[0].target.parent
    if not missing:
        say(f"nothing to do: all {len(planned)} notebooks are executed, see {folder}")
        return True
    config = load_config(profile)
    if config.data.world is None:
        data_root(config)  # real data that are not there: said now, not by the first notebook
    say(f"{len(missing)} of {len(planned)} notebooks to run, {jobs} at a time; see {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    command = _command(profile, matrix, chosen, jobs, keep_going, folder.parent)
    try:
        with locked(folder / ".matrix.lock", wait=False):
            watch = _Watch(missing, len(planned), say)
            code = _run(command, folder / LOG, watch)
    except BlockingIOError:
        raise ConfigError(f"another `jomed matrix` runs profile {profile!r} in {folder}") from None
    return _report(watch, code, folder / LOG, say)


def _command(
    profile: str, matrix: str | None, only: Sequence[str], jobs: int, keep_going: bool, home: Path
) -> list[str]:
    settings = [f"profile={profile}", f"matrix={matrix or profile}"]
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(project_root() / "Snakefile")),
        *("--directory", str(home), "--cores", str(jobs), "--nolock", "--rerun-incomplete"),
        *("--rerun-triggers", "mtime", "--drop-metadata"),
        *("--quiet", "host", "progress", "reason", "rules"),  # "all" would hide errors as well
        *(["--keep-going"] if keep_going else []),
        *("--config", *settings, *([f"only={','.join(only)}"] if only else [])),
    ]


@dataclass
class _Watch:
    """Tells what starts, ends and fails, from the files that tasks leave."""

    missing: Sequence[Task]
    total: int
    say: Say
    start: float = field(default_factory=time.time)
    started: dict[Path, float] = field(default_factory=dict)
    ended: dict[Path, bool] = field(default_factory=dict)

    def look(self) -> None:
        """Report every change since the last look."""
        now = time.time()
        for task in self.missing:
            path = task.target
            if path in self.ended:
                continue
            if path not in self.started and self._is_new(running_path(path)):
                self.started[path] = now
                self.say(f"{self._clock(now)} {self._count()} start  {task.title}")
            if task.done or self._is_new(failed_path(path)):
                self.ended[path] = task.done
                took = f"{now - self.started.get(path, now):.0f} s"
                word = "done  " if task.done else "FAILED"
                self.say(f"{self._clock(now)} {self._count()} {word} {task.title} ({took})")

    def _is_new(self, path: Path) -> bool:
        """Whether the file is of this call, and not left by an earlier one."""
        try:
            return path.stat().st_mtime >= self.start
        except FileNotFoundError:
            return False

    def _clock(self, now: float) -> str:
        minutes, seconds = divmod(int(now - self.start), 60)
        return f"{minutes:3d}:{seconds:02d}"

    def _count(self) -> str:
        done = self.total - len(self.missing) + sum(self.ended.values())
        return f"[{done:{len(str(self.total))}d}/{self.total}]"


def _run(command: Sequence[str], log: Path, watch: _Watch) -> int:
    """Run Snakemake to its end while watching; what it prints goes to the log."""
    environment = os.environ | {
        "JOMED_ROOT": str(project_root()),
        MATRIX_PID: str(os.getpid()),
        "OMP_NUM_THREADS": "1",
        "JOMED_PROGRESS": "0",
    }
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        try:
            while process.poll() is None:
                watch.look()
                time.sleep(0.3)
        finally:
            if process.poll() is None:
                process.terminate()
    watch.look()
    return process.returncode


def _report(watch: _Watch, code: int, log: Path, say: Say) -> bool:
    failed = [task for task in watch.missing if watch.ended.get(task.target) is False]
    left = [task for task in watch.missing if task.target not in watch.ended]
    for task in failed:
        path = failed_path(task.target)
        say(f"failed: {task.title}: {cell_error(path)}\n  see {path}")
    if failed and left:
        say(f"not run because of that: {', '.join(task.title for task in left)}")
    elif left or (code and not failed):
        say(f"Snakemake ended with code {code}; the end of {log}:\n{_tail(log)}")
    return not failed and not left and code == 0


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
