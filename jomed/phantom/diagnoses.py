"""Whether the text of a record names the diagnosis of a sample: what a better retriever must find.

In the phantom world the lexicon decides, word for word. Real texts are taken at their word: the
label's name (or, for a question, its answer) has to stand in the text, which cannot tell a denial.
"""

import re
from functools import cache

from jomed.config import RunConfig
from jomed.phantom.lexicon import ANATOMIES, NAMING, Anatomy
from jomed.phantom.world import LABELLED
from jomed.records import Sample

ABNORMALITY = ("ABN", "Abnormality")
"""Question types that ask for the finding itself, as VQA-RAD and SLAKE call them."""

_CANONICAL = {
    name: finding.names[0]
    for anatomy in ANATOMIES
    for finding in anatomy.findings
    for name in finding.names
}
_NAMING = [re.compile(re.escape(form).replace(r"\{name\}", "(.+)")) for form in NAMING]


def diagnosis_of(config: RunConfig, sample: Sample) -> frozenset[str]:
    """Names of the findings of a sample, from its gold answer; empty where there are none to find.

    Questions have a diagnosis only where they are open and ask for the abnormality; in a set that
    does not say what its questions ask for, all open ones may. Phantom samples give canonical names
    (the first of the lexicon), others the benchmark's label names.
    """
    benchmark = config.benchmark
    if benchmark.task == "vqa":
        asks = sample.answer_type == "open" and sample.question_type in (*ABNORMALITY, "")
        return _answered(sample.answer.casefold(), _phantom(config)) if asks else _NONE
    if benchmark.task == "single_label":
        labels = [benchmark.answers.index(sample.answer)]
    else:
        labels = [int(label) for label in sample.answer.split(",") if label.strip()]
    if _phantom(config):
        names = _label_names(LABELLED[benchmark.name])
        return frozenset(names[label] for label in labels)
    return frozenset(benchmark.label_names[label].casefold() for label in labels)


def agrees(config: RunConfig, diagnosis: frozenset[str], text: str) -> bool:
    """Whether a record's text names a diagnosis.

    Phantom: the findings that the text names, not denies, are exactly those of the diagnosis.
    Otherwise: every name of the diagnosis stands in the text as whole words.
    """
    if not diagnosis:
        raise ValueError("there is no diagnosis to agree with")
    if _phantom(config):
        return named_findings(text) == diagnosis
    return all(re.search(rf"\b{re.escape(name)}\b", text.casefold()) for name in diagnosis)


@cache
def named_findings(text: str) -> frozenset[str]:
    """Canonical names of the findings that a phantom text asserts; denied ones do not count."""
    named: set[str] = set()
    for sentence in text.casefold().rstrip(". ").split(". "):
        for form in _NAMING:
            match = form.fullmatch(sentence)
            names = match.group(1).split(" and ") if match else []
            if names and all(name in _CANONICAL for name in names):
                named |= {_CANONICAL[name] for name in names}
    return frozenset(named)


_NONE: frozenset[str] = frozenset()


def _answered(answer: str, phantom: bool) -> frozenset[str]:
    names = answer.split(" and ") if phantom else [answer]
    known = not phantom or all(name in _CANONICAL for name in names)
    return frozenset(names) if known else _NONE


def _phantom(config: RunConfig) -> bool:
    return config.data.root is None


def _label_names(anatomy: Anatomy) -> dict[int, str]:
    return {finding.label: finding.names[0] for finding in anatomy.findings}
