"""What a run can choose from: corpora, benchmarks, readers (backbones) and encoders."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jomed.settings import Count, Positive, Settings, Size
from jomed.shapes import EncoderShape, ReaderShape

Access = Literal["open", "credentialed", "dua"]
Split = Literal["train", "val", "test"]
Md5 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class TinyBackboneConfig(Settings):
    """Shape and pre-training of a reader that is small enough for a CPU (sizes in pixels)."""

    hidden: Size
    layers: Size
    heads: Size
    vision_hidden: Size
    vision_layers: Size
    image_size: Size
    patch: Size
    vocabulary: Size
    steps: Size
    batch_size: Size
    learning_rate: Positive


class TinyEncoderConfig(Settings):
    """Shape and pre-training of an image-text encoder that is small enough for a CPU."""

    dim: Size
    image_size: Size
    patch: Size
    width: Size
    layers: Size
    heads: Size
    text_width: Size
    text_layers: Size
    context: Size
    steps: Size
    batch_size: Size
    learning_rate: Positive


class TableColumns(Settings):
    """Column names of a table of one's own; null for a column that it does not have.

    A corpus has ``text``; a benchmark has ``answer`` and ``split``, and ``question`` where the
    benchmark itself asks none. A corpus may say ``licence``, a benchmark of questions
    ``answer_type``.
    """

    image: str
    text: str | None = None
    question: str | None = None
    answer: str | None = None
    answer_type: str | None = None
    split: str | None = None
    id: str | None = None
    group: str | None = None
    licence: str | None = None


class CorpusConfig(Settings):
    """One corpus; without a ``path`` below the data root it is found by the names of its files.

    ``expected`` is the number of rows in the complete data set, before anything is left out.
    """

    name: str
    title: str
    loader: Literal["roco", "rocov2", "pmc_oa", "mimic_cxr", "training_split", "table"]
    path: str | None
    url: str
    licence: str
    access: Access
    obtain: str = ""
    expected: Size | None
    columns: TableColumns | None = None

    @model_validator(mode="after")
    def _columns_fit_loader(self) -> Self:
        _check_columns(self, needed={"text"}, allowed={"licence"})
        return self


class BenchmarkConfig(Settings):
    """One benchmark; ``answers`` are the label strings in index order, as the reader says them.

    ``size`` is the image side in pixels of a set that comes in several files, each with its sum in
    ``md5`` (null: not checked); ``path`` names the smallest. ``expected`` counts the samples of the
    complete data set by the splits that it is published in; ``split_by`` says what stays together
    where a set is published without splits. ``same_groups`` lists corpora that name groups
    (patients, articles) as this benchmark does: records of a sample's own group are never shown.
    """

    name: str
    title: str
    loader: Literal["medmnist", "vindr_pcxr", "brset", "vqa_rad", "slake", "path_vqa", "table"]
    task: Literal["single_label", "multi_label", "vqa"]
    path: str
    size: Literal[28, 64, 128, 224] = 28
    md5: dict[int, Md5] | None
    url: str
    licence: str
    access: Access
    obtain: str = ""
    expected: dict[Split, Count] | None
    split_by: Literal["patient", "image"] | None = None
    same_groups: tuple[str, ...] = ()
    columns: TableColumns | None = None
    question: str | None
    answers: tuple[str, ...]
    label_names: tuple[str, ...]
    paper_column: str

    @model_validator(mode="after")
    def _labels_fit_task(self) -> Self:
        if len(self.answers) != len(self.label_names):
            raise ValueError("answers and label_names must have the same length")
        if len(set(self.answers)) != len(self.answers):
            raise ValueError("answers must differ from one another")
        if self.task != "vqa" and (self.question is None or len(self.answers) < 2):
            raise ValueError(f"task {self.task!r} needs a question and at least two answers")
        return self

    @model_validator(mode="after")
    def _columns_fit_loader(self) -> Self:
        needed = {"answer", "split"} | ({"question"} if self.question is None else set())
        allowed = {"question"} | ({"answer_type"} if self.task == "vqa" else set())
        _check_columns(self, needed, allowed)
        return self


def _check_columns(
    source: CorpusConfig | BenchmarkConfig, needed: set[str], allowed: set[str]
) -> None:
    """Only a table has columns to name, and it names what it is read for, no more and no less."""
    if source.loader != "table":
        if source.columns is not None:
            raise ValueError(f"loader {source.loader!r} has columns of its own: remove 'columns'")
        return
    if source.columns is None or source.path is None:
        raise ValueError("loader 'table' needs path and columns")
    named = set(source.columns.model_dump(exclude_none=True))
    for name in sorted(needed - named):
        raise ValueError(f"columns must say which column is the {name}")
    for name in sorted(named - needed - allowed - {"image", "id", "group"}):
        raise ValueError(f"columns.{name} is not used here: remove it")


class _ModelSource(Settings):
    name: str
    title: str
    model_id: str | None
    revision: str | None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        tiny = getattr(self, "tiny", None)
        if (self.model_id is None) == (tiny is None):
            raise ValueError("give either model_id (a published model) or tiny (one trained here)")
        if tiny is not None and getattr(self, "shape", None) is not None:
            raise ValueError("the shape of a tiny model follows from tiny: set shape to null")
        return self


class BackboneConfig(_ModelSource):
    """A reader; ``token_budget`` is the number of tokens in one scoring batch.

    ``images_per_call`` of the vision tower: more is faster on a GPU. With 1 the features of an
    image never depend on which others were new to the run, not even in the last bit, so that a
    killed run on a CPU resumes to the identical scores.

    ``model_id`` is a hub id or a folder (``$NAME/...`` starts at an environment variable's value, a
    relative one at the project), ``revision`` the commit of a hub id. ``attention`` and
    ``quantisation`` are explained in ``jomed.reading.options``.
    """

    family: Literal["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "pixtral"]
    dtype: Literal["float32", "bfloat16"]
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"]
    quantisation: Literal["8bit", "4bit"] | None
    token_budget: Size
    images_per_call: Size
    tiny: TinyBackboneConfig | None
    shape: ReaderShape | None = Field(exclude=True)


class EncoderConfig(_ModelSource):
    """An image-text encoder; ``model_id`` is an open_clip name, ``hf-hub:...`` or a folder."""

    kind: Literal["open_clip"]
    batch_size: Size
    tiny: TinyEncoderConfig | None
    shape: EncoderShape | None = Field(exclude=True)
