"""Which data sets lie below the data root, read with the loaders that the notebooks use."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from jomed.artifacts import artifact, data_root
from jomed.catalogue import BenchmarkConfig, CorpusConfig
from jomed.config import RunConfig, load_config, load_matrix, read_corpus
from jomed.data.benchmarks import list_samples
from jomed.data.corpora import load_corpus
from jomed.data.corpora.roco import NO_LICENCE
from jomed.data.hashes import UNREADABLE
from jomed.data.images import ImageError, open_image
from jomed.data.sources import DataError, MissingData
from jomed.params import params_in
from jomed.phantom.world import planted_counts
from jomed.records import Record, Sample, Skipped
from jomed.reporting.suppress import hide
from jomed.settings import DataConfig, SampleLimits

OPENED = 200
"""Images opened per data set unless the caller wants more."""

# Losses that another download could mend; a short text or another view is no loss.
_MENDABLE = (
    *("missing image", "missing split", "missing report", "unreadable row", UNREADABLE),
    *("empty cell", "unknown label", "unknown split", "unreadable label"),
    *("image outside the data root", "repeated row", NO_LICENCE),
)
_UNCOUNTED = ("missing split", "other language")
_NO_LIMITS = SampleLimits(train=None, val=None, test=None)
_MEGABYTE = 2**20
_ROW = "{:8} {:14} {:>8} {:>8} {:>8} {:>9}  {:12} {}"


@dataclass(frozen=True, slots=True)
class DataSet:
    """What was found of one corpus or benchmark.

    ``state``: present; partial (rows, images or reports are missing or broken: ``detail`` counts
    them); missing; corrupt (cannot be read, or no row of it can be used: ``detail`` says why).
    ``usable`` and ``skipped`` count records or samples, ``expected`` what both should add up to in
    the complete data set, where that is known; rows that it never counts are those of _UNCOUNTED.
    ``megabytes`` is the size of the image files or of the containers that hold them.
    ``needed`` says that the profile reads it in the matrix of its own name, ``guarded`` that small
    counts of it must not be shown outside the host.
    """

    name: str
    kind: str
    needed: bool
    guarded: bool
    state: str
    usable: int
    skipped: int
    expected: int | None
    megabytes: float
    licence: str
    access: str
    url: str
    obtain: str
    detail: str


def check_data(
    profile: str,
    root: Path | None = None,
    opened: int = OPENED,
    kinds: Sequence[str] = ("corpus", "benchmark"),
) -> Iterator[DataSet]:
    """Read every known corpus and benchmark, one after the other.

    All tables are read whole; of each data set ``opened`` images are opened, drawn at random.
    ``root`` takes the place of the profile's data root. Yields nothing while the synthetic world of
    a profile has not been drawn. Raises ConfigError where the data root is not set or no folder.
    """
    runs = load_matrix(profile)
    config = load_config(profile, **runs[0])
    if root is None:
        if config.data.root is None and not artifact(config, "world").is_complete():
            return
        root = data_root(config)
    drawn = _drawn(config, root)
    if "corpus" in kinds:
        for name in params_in("corpora"):
            corpus, needed = read_corpus(name), name in config.data.corpora
            if corpus.loader != "training_split":
                records = load_corpus(corpus, root, config.data, config.benchmark)
                yield _data_set(corpus, needed, records, root, opened, drawn)
    if "benchmark" in kinds:
        data = config.data.model_copy(update={"sample_limits": _NO_LIMITS})
        wanted = {run["benchmark"] for run in runs}
        for name in params_in("benchmarks"):
            about = load_config(profile, **{**runs[0], "benchmark": name}).benchmark
            samples = _samples(root, about, data)
            yield _data_set(about, name in wanted, samples, root, opened, drawn)


def _drawn(config: RunConfig, root: Path) -> dict[str, int] | None:
    """Rows per data set of a drawn world; None for real data."""
    if config.data.world is None or not (root / "planted.json").is_file():
        return None
    return {name: planted.drawn for name, planted in planted_counts(root).items()}


def _samples(root: Path, about: BenchmarkConfig, data: DataConfig) -> Iterator[Sample | Skipped]:
    samples, skipped = list_samples(root, about, data)
    yield from samples
    yield from skipped


def _data_set(
    about: CorpusConfig | BenchmarkConfig,
    needed: bool,
    rows: Iterable[Record | Sample | Skipped],
    root: Path,
    opened: int,
    drawn: dict[str, int] | None,
) -> DataSet:
    expected = _expected(about) if drawn is None else drawn.get(about.name)
    survey = _Survey(root, opened)
    try:
        for row in rows:
            survey.add(row)
        survey.open_images()
    except (DataError, OSError) as error:
        state, detail = ("missing" if isinstance(error, MissingData) else "corrupt"), str(error)
    else:
        detail = survey.losses(expected)
        state = "partial" if detail else "present"
        if not survey.usable:
            state, detail = "corrupt", f"not one row can be used: {detail or 'there is none'}"
    return DataSet(
        name=about.name,
        kind="corpus" if isinstance(about, CorpusConfig) else "benchmark",
        needed=needed,
        guarded=about.access != "open" and drawn is None,
        state=state,
        usable=survey.usable,
        skipped=survey.skipped.total(),
        expected=expected,
        megabytes=round(survey.bytes / _MEGABYTE, 1),
        licence=about.licence,
        access=about.access,
        url=about.url,
        obtain=about.obtain,
        detail=detail,
    )


def _expected(about: CorpusConfig | BenchmarkConfig) -> int | None:
    if isinstance(about.expected, dict):
        return sum(about.expected.values())
    return about.expected


@dataclass
class _Survey:
    """Counts rows and remembers a random few of their images."""

    root: Path
    opened: int
    usable: int = 0
    bytes: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    _chosen: list[str] = field(default_factory=list)
    _sized: set[str] = field(default_factory=set)
    _random: random.Random = field(default_factory=lambda: random.Random(0))

    def add(self, row: Record | Sample | Skipped) -> None:
        """Count one row; every image so far has the same chance to be among the chosen."""
        if isinstance(row, Skipped):
            self.skipped[row.reason] += 1
            return
        self.usable += 1
        if len(self._chosen) < self.opened:
            self._chosen.append(row.image)
        elif (place := self._random.randrange(self.usable)) < self.opened:
            self._chosen[place] = row.image
        file = row.image.partition("::")[0]
        if file not in self._sized:
            self._sized.add(file)
            self.bytes += (self.root / file).stat().st_size

    def open_images(self) -> None:
        """Open the chosen images; one row of each broken one counts as skipped."""
        for address in dict.fromkeys(self._chosen):
            try:
                open_image(address, self.root)
            except ImageError:
                self.skipped[UNREADABLE] += 1
                self.usable -= 1

    def losses(self, expected: int | None) -> str:
        """What is missing or broken, in words; "" where nothing is."""
        rows = self.usable + self.skipped.total() - sum(self.skipped[it] for it in _UNCOUNTED)
        found = [f"{self.skipped[reason]} x {reason}" for reason in _MENDABLE]
        found = [text for text in found if not text.startswith("0 ")]
        if expected is not None and rows < expected:
            found.insert(0, f"{rows} rows of {expected}")
        return ", ".join(found)


def report_lines(found: Sequence[DataSet], everything: bool = True) -> Iterator[str]:
    """The table for a terminal, then what is wrong with each data set and how to mend it.

    Without `everything` the second part is only about data sets that are needed.
    """
    yield _ROW.format(*("state", "data set", "usable", "skipped", "expected", "MB", "access", ""))
    for one in found:
        name = f"{one.name} *" if one.needed else one.name
        expected = "" if one.expected is None else one.expected
        counts = (one.usable, one.skipped, expected, f"{one.megabytes:.1f}")
        yield _ROW.format(one.state, name, *counts, one.access, one.licence).rstrip()
    yield "* needed by the profile"
    for one in found:
        if one.state != "present" and (one.needed or everything):
            yield f"\n{one.name} is {one.state}: {one.detail}"
            yield f"  {one.obtain.strip()} {'' if one.url in one.detail else one.url}".rstrip()


def as_frame(found: Iterable[DataSet]) -> pd.DataFrame:
    """One row per data set with the columns that fit a page; small counts of guarded ones hidden.

    A run on open data lists the others as well.
    """
    columns = ["name", "state", "usable", "skipped", "expected", "megabytes", "access", "licence"]
    shown = list(found)
    rows = [[getattr(one, column) for column in columns] for one in shown]
    frame = pd.DataFrame(rows, columns=columns).astype({"expected": "Int64"})
    plain = [[str(one.usable), str(one.skipped)] for one in shown]
    texts = [
        hide([one.usable, one.skipped], [one.expected or 0]) if one.guarded else own
        for one, own in zip(shown, plain, strict=True)
    ]
    if texts != plain:
        frame[["usable", "skipped"]] = pd.DataFrame(texts, dtype=object)
    return frame


def how_to_get(found: Iterable[DataSet]) -> pd.DataFrame:
    """Where each data set that is not whole comes from, and the steps; no row where all are."""
    columns = ["name", "state", "access", "obtain", "url"]
    rows = [[getattr(one, column) for column in columns] for one in found if one.state != "present"]
    return pd.DataFrame(rows, columns=columns)
