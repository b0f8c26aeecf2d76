"""Which data sets lie below the data root, read with the loaders that the notebooks use."""

from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from functools import partial

from jomed.artifacts import artifact, data_root
from jomed.config import load_config, load_matrix, project_root
from jomed.data.benchmarks import load_benchmark
from jomed.data.corpora import load_corpus, mimic_cxr, pmc_oa, roco
from jomed.data.sources import DataError, MissingData
from jomed.settings import CorpusName

# Licence, access and address of each corpus; a benchmark's are in params/benchmarks.
_CORPORA: dict[CorpusName, tuple[str, str, str]] = {
    "roco": ("that of each article", "open", roco.URL),
    "pmc_oa": ("that of each article, not part of the set", "open", pmc_oa.URL),
    "mimic_cxr": (mimic_cxr.LICENCE, "credentialed", mimic_cxr.URL),
}


@dataclass(frozen=True, slots=True)
class DataSet:
    """What was found of one corpus or benchmark.

    ``state`` is present, missing or unreadable, ``detail`` the loader's own words where it is not
    present. ``found`` and ``skipped`` count records or samples. ``needed`` says that the profile
    reads it in the matrix of its own name.
    """

    name: str
    kind: str
    needed: bool
    state: str
    found: int
    skipped: int
    detail: str
    licence: str
    access: str
    url: str


def check_data(profile: str) -> Iterator[DataSet]:
    """Read every known corpus and benchmark, one after the other, opening all benchmark images.

    Yields nothing while the synthetic world of a profile has not been drawn. Raises ConfigError
    where the data root is not set or no folder.
    """
    runs = load_matrix(profile)
    config = load_config(profile, **runs[0])
    if config.data.root is None and not artifact(config, "world").is_complete():
        return
    root = data_root(config)
    for corpus, (licence, access, url) in _CORPORA.items():
        outcome = _read(partial(load_corpus, corpus, root, config.data, config.benchmark))
        needed = corpus in config.data.corpora
        yield DataSet(corpus, "corpus", needed, *outcome, licence, access, url)
    wanted = {run["benchmark"] for run in runs}
    for name in sorted(p.stem for p in (project_root() / "params/benchmarks").glob("*.yaml")):
        run = load_config(profile, **{**runs[0], "benchmark": name})
        outcome = _read(partial(load_benchmark, run, root))
        about = run.benchmark
        where = (about.licence, about.access, about.url)
        yield DataSet(name, "benchmark", name in wanted, *outcome, *where)


def _read(load: Callable[[], tuple[Sized, Sized]]) -> tuple[str, int, int, str]:
    try:
        found, skipped = load()
    except MissingData as error:
        return "missing", 0, 0, str(error)
    except DataError as error:
        return "unreadable", 0, 0, str(error)
    return "present", len(found), len(skipped), ""
