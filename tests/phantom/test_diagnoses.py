from jomed.config import RunConfig, load_config
from jomed.phantom.diagnoses import agrees, diagnosis_of, named_findings
from jomed.records import Sample

PREFIX = "wide field fundus photograph of a man aged 40. "


def sample(answer: str, kind: str = "label", question_type: str = "") -> Sample:
    return Sample("s", "b", "test", "i.png", "q?", answer, kind, question_type, "", "", "")


def real(benchmark: str = "retina") -> RunConfig:
    config = load_config("tiny", benchmark)
    data = config.data.model_copy(update={"root": "somewhere"})
    return config.model_copy(update={"data": data})


def test_a_text_names_what_it_asserts_by_any_of_its_names() -> None:
    assert named_findings(PREFIX + "there is cotton wool spots.") == {"moderate retinopathy"}
    assert named_findings(PREFIX + "Impression is mild retinopathy.") == {"mild retinopathy"}


def test_a_denied_finding_is_not_named() -> None:
    text = PREFIX + "there is no venous beading. early microaneurysms is present."
    assert named_findings(text) == {"mild retinopathy"}
    assert named_findings(PREFIX + "without venous beading.") == frozenset()
    assert named_findings(PREFIX + "image quality is adequate.") == frozenset()


def test_two_findings_in_one_sentence_are_both_named() -> None:
    text = "supine bedside chest x-ray. diagnosis of bronchitis and pneumonia was made."
    assert named_findings(text) == {"bronchitis", "pneumonia"}


def test_a_name_inside_a_longer_name_is_not_named() -> None:
    assert named_findings("there is bronchopneumonia.") == frozenset()


def test_diagnoses_of_phantom_samples() -> None:
    retina, chest = load_config("tiny"), load_config("tiny", "vindr_pcxr")
    assert diagnosis_of(retina, sample("3")) == {"severe retinopathy"}
    assert diagnosis_of(chest, sample("1, 6", "labels")) == {"bronchitis", "pneumonia"}
    eyes = load_config("tiny", "brset")
    assert diagnosis_of(eyes, sample("0, 8", "labels")) == {
        "mild retinopathy",
        "moderate retinopathy",
    }


def test_only_open_questions_about_the_abnormality_have_a_diagnosis() -> None:
    vqa = load_config("tiny", "vqa_rad")
    both = diagnosis_of(vqa, sample("bronchitis and pneumonia", "open", "ABN"))
    assert both == {"bronchitis", "pneumonia"}
    slake = load_config("tiny", "slake")
    assert diagnosis_of(slake, sample("bronchitis", "open", "Abnormality")) == {"bronchitis"}
    assert not diagnosis_of(vqa, sample("supine bedside", "open", "PLANE"))
    untyped = load_config("tiny", "path_vqa")
    assert diagnosis_of(untyped, sample("bronchitis", "open")) == {"bronchitis"}
    assert not diagnosis_of(untyped, sample("supine bedside", "open"))
    assert diagnosis_of(real("path_vqa"), sample("in the canals", "open")) == {"in the canals"}
    assert not diagnosis_of(vqa, sample("Yes", "closed", "PRES"))


def test_a_phantom_record_agrees_if_it_names_exactly_the_diagnosis() -> None:
    config, diagnosis = load_config("tiny", "vindr_pcxr"), frozenset({"bronchitis"})
    assert agrees(config, diagnosis, "lordotic thoracic film. there is airway inflammation.")
    assert not agrees(
        config, diagnosis, "lordotic thoracic film. there is bronchitis and pneumonia."
    )
    assert not agrees(config, diagnosis, "lordotic thoracic film. there is no bronchitis.")


def test_without_a_phantom_world_the_label_name_has_to_stand_in_the_text() -> None:
    config = real()
    diagnosis = diagnosis_of(config, sample("1"))
    assert diagnosis == {"mild diabetic retinopathy"}
    assert agrees(config, diagnosis, "grade 1: Mild diabetic retinopathy")
    assert not agrees(config, diagnosis, "grade 2: moderate diabetic retinopathy")
