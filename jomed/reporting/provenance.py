"""Where a table or figure came from: the line printed under it and the sidecar beside it."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pandas as pd

from jomed.artifacts import stamp
from jomed.config import RunConfig, project_root
from jomed.storage import atomic_write

RESTRICTED = "derived from credentialed records: must not leave this host"


LABEL_NOTES = {
    "phantom": "phantom world: these numbers say nothing about medicine",
    "retina_small": (
        "tiny models trained on this benchmark's own training split: "
        "compare methods, not with the paper"
    ),
}


def label_note(label: str | None) -> str:
    """What every caption says about a profile with this label; empty for real data (None).

    A label that is not in `LABEL_NOTES` is its own sentence.
    """
    return LABEL_NOTES.get(label, label) if label else ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Origin of one report item.

    `line` is the short stamp in the caption. It holds only what decides the numbers, so that
    the same input gives the same bytes; commit, time, versions and device (`details`) go to the
    sidecar. `root` receives `tables/<profile>` and `figures/<profile>`, `private_root` (never
    under version control) what shows single records that are not open. `titles` are the words
    shown for benchmarks and backbones; `part` is a subfolder of the profile's. Nothing
    of a `synthetic` world is private. `guarded` says that data went in that are not open: then
    small counts are not shown.
    """

    profile: str
    label: str | None
    line: str
    root: Path
    private_root: Path
    details: Mapping[str, object] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    part: str = ""
    synthetic: bool = False
    guarded: bool = False

    @classmethod
    def of(cls, configs: RunConfig | Sequence[RunConfig], part: str = "") -> Self:
        """Provenance of an item made from one run or from several runs of one profile.

        `part` names a folder below the profile's own, for items of a single run.
        """
        runs = [configs] if isinstance(configs, RunConfig) else list(configs)
        profiles = {run.profile for run in runs}
        if len(profiles) != 1:
            raise ValueError(f"one table or figure needs runs of one profile, got {profiles or 0}")
        first = runs[0]
        hashes = sorted({run.hash for run in runs})
        whole = hashes[0] if len(hashes) == 1 else _digest("".join(hashes).encode())[:12]
        parts: dict[str, list[object]] = {
            "profile": [first.profile],
            "benchmark": [*sorted({run.benchmark.name for run in runs})],
            "backbone": [*sorted({run.backbone.name for run in runs})],
            "encoder": [*sorted({run.encoder.name for run in runs})],
            "seed": [*sorted({run.seed for run in runs})],
            "config": [whole],
        }
        line = "; ".join(f"{key} {', '.join(map(str, parts[key]))}" for key in parts)
        parts_of = [part for run in runs for part in (run.benchmark, run.backbone)]
        titles = {part.name: part.title for part in parts_of}
        return cls(
            profile=first.profile,
            label=first.label,
            line=line,
            root=project_root(),
            private_root=first.runs_dir / "private",
            details={"runs": [stamp(run) for run in runs]},
            titles=titles,
            part=part,
            # Without a data root all images are drawn, whatever access the originals have.
            synthetic=all(run.data.root is None for run in runs),
            guarded=any(run.access != ("open",) for run in runs),
        )

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` with the titles of its benchmarks and backbones in place of their names."""
        columns = [column for column in ("benchmark", "backbone") if column in frame.columns]
        return frame.assign(**{column: frame[column].replace(self.titles) for column in columns})

    def caption(self, title: str, restricted: bool = False) -> str:
        """Title, label note and stamp as sentences of one line."""
        parts = [title, label_note(self.label), RESTRICTED if restricted else "", self.line]
        return " ".join(f"{part.rstrip('.')}." for part in parts if part)

    def restricts(self, access: Iterable[str]) -> bool:
        """Whether an item that shows single records of these access levels must stay private."""
        return not self.synthetic and bool(set(access) - {"open"})

    def folder(self, kind: str, restricted: bool = False) -> Path:
        """Folder for items of `kind` ("tables" or "figures"), created when absent."""
        root = self.private_root if restricted else self.root
        folder = root / kind / self.profile / self.part
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write_sidecar(self, files: Sequence[Path], path: Path, restricted: bool) -> None:
        """Write the full stamp, the time and a hash of each of `files` to `path` (JSON)."""
        content = {
            "profile": self.profile,
            "label": self.label,
            "line": self.line,
            "restricted": restricted,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "sha256": {file.name: _digest(file.read_bytes()) for file in files},
            **self.details,
        }
        text = json.dumps(content, indent=2, sort_keys=True, default=str) + "\n"
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
