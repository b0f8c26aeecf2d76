"""Open questions of a run closed by a model: what is sent, what is trained on, what changes."""

import json
from pathlib import Path

import pytest
from fake_endpoint import FakeEndpoint, asked_in
from tiny_run import Run

from jomed.artifacts import artifact
from jomed.config import ConfigError, RunConfig, with_overrides
from jomed.data.guard import AccessError
from jomed.reading.answers import spoken_answer
from jomed.reading.closing import ClosingError
from jomed.stages import closing
from jomed.stages.closing import wrong_options
from jomed.stages.evaluation import open_examiner
from jomed.stages.retriever import prepare_head, training_answers


def closed_by_model(run: Run, store: Path, url: str | None, **rest: object) -> RunConfig:
    settings = {"method": "llm", "model": "m", "store": str(store), "endpoint": url}
    settings |= {"key_variable": None, "parallel": 1}
    changed = {f"closing.{key}": value for key, value in {**settings, **rest}.items()}
    return with_overrides(run.config, changed)


def test_heads_train_on_options_of_a_model_and_notice_others(asked: Run, tmp_path: Path) -> None:
    samples, store = asked.samples.samples, tmp_path / "options.jsonl"
    with FakeEndpoint() as fake:
        config = closed_by_model(asked, store, fake.url)
        assert prepare_head(config, "text", asked.reader.reader) != asked.heads["text"]
        sent = len(fake.requests)
        # Nothing is asked twice: not for the same head, the other head, or another reader.
        prepare_head(config, "text", asked.reader.reader)
        prepare_head(config, "image", asked.reader.reader)
        assert len(fake.requests) == sent > 0
    open_ids = samples[(samples["answer_type"] == "open") & (samples["split"] != "test")]
    sets, gold = training_answers(config, samples)
    for row in open_ids.itertuples():
        said = spoken_answer(str(row.answer), config.benchmark)
        wrong = [f"not {said}, but {n}" for n in range(config.inference.distractors)]
        assert sets[row.sample_id].answers == tuple(sorted([said, *wrong]))
        assert sets[row.sample_id].answers[gold[row.sample_id]] == said
    # Somebody edits the store: the finished heads are not those of its content any more.
    text = store.read_text()
    store.write_text(text.replace(", but 0", ", but zero", 1))
    for head in ("text", "image"):
        with pytest.raises(ConfigError, match="was trained on other options"):
            prepare_head(config, head, asked.reader.reader)  # type: ignore[arg-type]
    store.write_text(text)
    assert prepare_head(config, "text", asked.reader.reader).is_file()


def test_an_interrupted_head_does_not_go_on_with_other_options(
    asked: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "options.jsonl"
    with FakeEndpoint() as fake:
        config = closed_by_model(asked, store, fake.url, model="interrupted")
        with monkeypatch.context() as patch:
            patch.setattr("jomed.stages.retriever.train_head", None)
            with pytest.raises(TypeError):
                prepare_head(config, "text", asked.reader.reader)
        assert not artifact(config, "head_text").is_complete()
    store.write_text(store.read_text().replace(", but 0", ", but zero", 1))
    with pytest.raises(ConfigError, match=r"unfinished was trained on other options"):
        prepare_head(config, "text", asked.reader.reader)


def test_no_answer_of_the_test_split_is_sent(asked: Run, tmp_path: Path) -> None:
    samples = asked.samples.samples
    tested = samples["split"] == "test"
    marked = samples.assign(answer=samples["answer"].where(~tested, "secret"))
    marked["question"] = marked["question"].where(~tested, "secret?")
    with FakeEndpoint() as fake:
        config = closed_by_model(asked, tmp_path / "s.jsonl", fake.url)
        options = wrong_options(config, marked)
        assert "secret" not in json.dumps(fake.requests)
        wanted = samples[(samples["answer_type"] == "open") & ~tested]
        assert set(options) == set(wanted["sample_id"])
        said = {spoken_answer(answer, config.benchmark) for answer in wanted["answer"]}
        assert {asked_in(body)["correct_answer"] for body in fake.requests} == said


def test_evaluation_needs_no_store(asked: Run, tmp_path: Path) -> None:
    """The test split stays open: its answers are pooled from what the reader says."""
    config = closed_by_model(asked, tmp_path / "none.jsonl", None)
    before, after = (open_examiner(c, asked.reader.reader) for c in (asked.config, config))
    assert after.sets == before.sets != {}
    with pytest.raises(ClosingError, match="lacks"):
        training_answers(config, asked.samples.samples)


def test_labels_need_no_store_and_no_endpoint(run: Run, tmp_path: Path) -> None:
    config = closed_by_model(run, tmp_path / "none.jsonl", None)
    assert wrong_options(config, run.samples.samples) == {}


def test_questions_have_the_access_of_their_benchmark(asked: Run, tmp_path: Path) -> None:
    """Records are not sent, so a credentialed corpus beside an open benchmark forbids nothing."""
    config = closed_by_model(asked, tmp_path / "s.jsonl", "https://api.example.org/v1")
    assert closing._access(config) == "open"  # drawn
    real = config.data.model_copy(update={"root": str(tmp_path)})
    assert "credentialed" in {corpus.access for corpus in config.corpora}
    assert closing._access(config.model_copy(update={"data": real})) == "open"
    bound = config.benchmark.model_copy(update={"access": "credentialed"})
    own = config.model_copy(update={"data": real, "benchmark": bound})
    with pytest.raises(AccessError, match="credentialed data must not leave it"):
        wrong_options(own, asked.samples.samples)
    assert not (tmp_path / "s.jsonl").exists()
