"""The whole method on one image: the same as the evaluation says, and for images from outside."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_run import Run

from jomed.artifacts import data_root
from jomed.data.images import ImageError, open_image
from jomed.diagnose import diagnose_image, diagnose_sample


def test_a_test_sample_gets_the_answers_of_the_evaluation(run: Run) -> None:
    for sample_id in run.evaluated.samples["sample_id"].head(2):
        found = diagnose_sample(run.config, run.reader.reader, sample_id)
        for method, diagnosis in found.items():
            rows = run.evaluated.predictions
            rows = rows[rows["sample_id"].eq(sample_id) & rows["method"].eq(method)]
            *candidates, fused = rows.itertuples()
            assert [(c.record_id, c.answer) for c in diagnosis.case.candidates] == [
                (row.record_id, row.answer) for row in candidates
            ]
            assert diagnosis.case.fused_answer == fused.answer
            assert diagnosis.case.fused_correct == fused.correct


def test_the_fused_row_is_equation_3(run: Run) -> None:
    sample_id = run.evaluated.samples["sample_id"].iloc[0]
    found = diagnose_sample(run.config, run.reader.reader, sample_id)["jomed"]
    weights = np.array([candidate.weight for candidate in found.case.candidates])
    np.testing.assert_allclose(found.likelihoods.sum(axis=1), 1)
    np.testing.assert_allclose(weights @ found.likelihoods, found.probabilities)
    table = found.table()
    assert table["head"].iloc[-1] == "fused"
    assert table["weight"].iloc[:-1].sum() == pytest.approx(1)
    assert found.case.candidates[0].text in found.prompts[0]


def test_an_open_question_is_answered_from_the_pool_of_generations(asked: Run) -> None:
    samples = asked.evaluated.samples
    sample_id = samples.loc[samples["answer_type"] == "open", "sample_id"].iloc[0]
    found = diagnose_sample(asked.config, asked.reader.reader, sample_id, ["jomed"])["jomed"]
    assert found.case.fused_answer in found.answers


def test_an_unknown_sample_is_an_error(run: Run) -> None:
    with pytest.raises(KeyError, match="no sample 'x'"):
        diagnose_sample(run.config, run.reader.reader, "x")


def test_an_image_from_outside_is_diagnosed_without_a_truth(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    Image.effect_noise((40, 30), 60).save(path)
    found = diagnose_image(run.config, run.reader.reader, path)["jomed"]
    assert found.case.gold == ""
    assert found.case.fused_correct is None
    assert {candidate.correct for candidate in found.case.candidates} == {None}
    assert found.answers == run.config.benchmark.answers
    assert found.case.image.size == (40, 30)


def test_a_copy_of_a_record_is_not_its_own_evidence(run: Run, tmp_path: Path) -> None:
    record = run.corpora.records.iloc[0]
    path = tmp_path / "copy.png"
    open_image(record["image"], data_root(run.config)).save(path)
    found = diagnose_image(run.config, run.reader.reader, path)["standard_rag"]
    same = run.corpora.records.loc[run.corpora.records["image_sha"] == record["image_sha"]]
    ids = {candidate.record_id for candidate in found.case.candidates}
    assert not ids & set(same["record_id"])


def test_own_answers_close_an_own_question(asked: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    Image.effect_noise((40, 40), 60).save(path)
    reader = asked.reader.reader
    found = diagnose_image(
        asked.config, reader, path, "which side is affected?", ["left", "right"], ["jomed"]
    )["jomed"]
    assert found.answers == ("left", "right")
    with pytest.raises(ValueError, match="give one"):
        diagnose_image(asked.config, reader, path)


def test_a_file_that_is_no_image_is_an_error(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no image")
    with pytest.raises(ImageError):
        diagnose_image(run.config, run.reader.reader, path)


def test_of_many_answers_the_likeliest_are_shown(run: Run) -> None:
    sample_id = run.evaluated.samples["sample_id"].iloc[0]
    found = diagnose_sample(run.config, run.reader.reader, sample_id, ["jomed"])["jomed"]
    shown = found.table(most=2)
    best = sorted(found.answers[i] for i in np.argsort(-found.probabilities)[:2])
    assert list(shown.columns[-2:]) == best
    assert shown.iloc[-1][best].sum() == pytest.approx(np.sort(found.probabilities)[-2:].sum())
