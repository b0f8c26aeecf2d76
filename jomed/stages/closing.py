"""Open questions closed as a run's settings say, and heads that know what they were closed with."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from jomed.artifacts import artifact, atomic_write
from jomed.catalogue import Access
from jomed.config import ConfigError, RunConfig, project_root
from jomed.reading.answers import drawn_distractors
from jomed.reading.closing import Closer
from jomed.reading.closing_prompt import open_questions

CLOSED = "options.sha256"


def wrong_options(
    config: RunConfig, samples: pd.DataFrame, ask: bool = True
) -> Mapping[str, Sequence[str]]:
    """The wrong options of all open training and validation questions, by sample id.

    With ``closing.method: llm`` what the store lacks is asked of the endpoint, unless ``ask`` is
    false. Raises what `Closer.close` raises.
    """
    settings, count = config.closing, config.inference.distractors
    if settings.method == "distractors":
        return drawn_distractors(samples, config.benchmark, count, seed=0)
    if not ask:
        settings = settings.model_copy(update={"endpoint": None})
    store = project_root() / str(settings.store)
    closer = Closer(settings, store, count, config.benchmark.name, _access(config))
    return closer.close(open_questions(samples, config.benchmark))


def _access(config: RunConfig) -> Access:
    """That of the questions and answers, which are the benchmark's: no record is sent."""
    return "open" if config.data.root is None else config.benchmark.access


def note_options(config: RunConfig, folder: Path, samples: pd.DataFrame) -> None:
    """Keep in a head's folder which options of a model it is trained on, or compare with that.

    The content of the store is no setting, so it is not in the folder's name. Distractors need no
    note: they follow from settings and samples. Raises ConfigError as `require_noted_options`.
    """
    if config.closing.method == "llm" and not (folder / CLOSED).is_file():
        with atomic_write(folder / CLOSED) as temporary:
            temporary.write_text(_digest(config, samples))
    require_noted_options(config, folder, samples)


def require_noted_options(config: RunConfig, folder: Path, samples: pd.DataFrame) -> None:
    """Raise ConfigError where a head was trained on other options than the store holds now."""
    if config.closing.method == "distractors":
        return
    note = folder / CLOSED
    if not note.is_file() or note.read_text() != _digest(config, samples):
        raise ConfigError(
            f"{folder} was trained on other options than {config.closing.store} holds now: put "
            "the old store in its place, or, to train and evaluate anew, delete this folder and "
            f"{artifact(config, 'evaluation').path}"
        )


def _digest(config: RunConfig, samples: pd.DataFrame) -> str:
    used = wrong_options(config, samples, ask=False)
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest() + "\n"
