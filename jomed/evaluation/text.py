"""Reading answers: normalisers, right-or-wrong rules and token overlap of answer texts.

Two families of rules, told apart by name. The default ones compare answers in the form of
`reading.answers.normalise_answer`. The ``llava_med`` ones restate the LLaVA-Med v1 evaluation
(itself the VQA challenge's), surprises and defects included, because published numbers depend on
them.
"""

import re
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from jomed.reading.answers import normalise_answer

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUMBERS = {word: str(value) for value, word in enumerate((*_NUMBER_WORDS, "ten"))} | {"none": "0"}
_NEGATED = (
    "ai are ca could did does do had has have is might must need ought sha should was were wo would"
)
_ENDINGS = {
    "'ve": "could might must should would they we you",
    "'s": "he she that there what where who how",
    "'re": "they you what",
    "'ll": "it they you who what",
    "'d": "he it they you who",
}
_LABEL_LIST = re.compile(r"\d+(\s*,\s*\d+)*")


def _contractions() -> dict[str, str]:
    """Spellings without apostrophe of common contracted words: dont -> don't."""
    negated = [f"{verb}n't" for verb in _NEGATED.split()]
    others = [stem + end for end, stems in _ENDINGS.items() for stem in stems.split()]
    return {word.replace("'", ""): word for word in (*negated, *others)}


_CONTRACTIONS = _contractions()


def normalise_llava_med(text: str) -> str:
    """LLaVA-Med v1 form of an answer: punctuation, case, number words, articles, contractions.

    One punctuation mark beside a blank, or a comma inside a number, anywhere in the text makes
    all its (or all) marks vanish instead of becoming a blank: ``X-ray`` -> ``x ray`` but
    ``1,000 x-ray`` -> ``1000 xray``. Contractions cover the common spellings only.
    """
    number_comma = re.search(r"\d,\d", text) is not None
    out = text
    for mark in _PUNCTUATION:
        vanishes = number_comma or f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if vanishes else " ")
    out = re.sub(r"\.(?!\d)", "", out, count=32)
    words = (_NUMBERS.get(word, word) for word in out.lower().split())
    kept = (_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)
    return " ".join(kept).replace(",", "")


def closed_strict(prediction: str, gold: str) -> bool:
    """Exact match after normalisation; an empty prediction is never right."""
    answer = normalise_answer(prediction)
    return answer != "" and answer == normalise_answer(gold)


def closed_lenient(prediction: str, gold: str) -> bool:
    """First word equals a yes/no gold; any other gold occurs in the prediction as whole words."""
    answer, target = normalise_answer(prediction), normalise_answer(gold)
    if not answer or not target:
        return False
    if target in ("yes", "no"):
        return answer.split()[0] == target
    return re.search(rf"(?<!\w){re.escape(target)}(?!\w)", answer) is not None


def closed_llava_med(prediction: str, gold: str) -> bool:
    """LLaVA-Med v1 closed rule: substrings. "normal" is right for "no", "lung" wrong for "lung"."""
    answer, target = normalise_llava_med(prediction), normalise_llava_med(gold)
    return ("yes" in answer or "no" in answer) and target in answer


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Overlap of the words of a prediction with those of the gold answer, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


_NO_OVERLAP = TokenScores(0.0, 0.0, 0.0)


def _token_scores(hits: int, predicted: int, wanted: int) -> TokenScores:
    if hits == 0:
        return _NO_OVERLAP
    precision, recall = hits / predicted, hits / wanted
    return TokenScores(precision, recall, 2 * precision * recall / (precision + recall))


def token_scores(prediction: str, gold: str) -> TokenScores:
    """Token overlap counted as in SQuAD: a repeated word counts as often as both texts have it."""
    answer = Counter(normalise_answer(prediction).split())
    target = Counter(normalise_answer(gold).split())
    return _token_scores((answer & target).total(), answer.total(), target.total())


def token_scores_llava_med(prediction: str, gold: str) -> TokenScores:
    """Token overlap of LLaVA-Med v1: a word repeated in the prediction counts every time."""
    answer = Counter(normalise_llava_med(prediction).split())
    target = Counter(normalise_llava_med(gold).split())
    hits = sum(count for word, count in answer.items() if word in target)
    missed = sum(count for word, count in target.items() if word not in answer)
    return _token_scores(hits, answer.total(), hits + missed)


def parse_label(text: str) -> str | None:
    """A class label as compared: stripped, case-folded, without a closing full stop."""
    return text.strip().rstrip(".").strip().casefold() or None


def parse_label_set(text: str) -> frozenset[int] | None:
    """Label indices of "3, 7"; the empty text is the empty set; anything else is unparsed."""
    stripped = text.strip().rstrip(".").strip()
    if not stripped:
        return frozenset()
    if _LABEL_LIST.fullmatch(stripped) is None:
        return None
    return frozenset(int(item) for item in stripped.split(","))


def _parse_free(text: str) -> str | None:
    return normalise_answer(text) or None


_PARSERS: dict[str, Callable[[str], Hashable | None]] = {
    "label": parse_label,
    "labels": parse_label_set,
    "closed": _parse_free,
    "open": _parse_free,
}


def canonical_answer(answer_type: str, text: str) -> Hashable | None:
    """What an answer says, in a form that can be compared; None if it cannot be read.

    ``answer_type`` is the sample's: label, labels, closed or open; another one is a ValueError.
    """
    if answer_type not in _PARSERS:
        raise ValueError(f"answer type {answer_type!r} is not one of {', '.join(_PARSERS)}")
    return _PARSERS[answer_type](text)


def is_correct(answer_type: str, prediction: str, gold: str) -> bool:
    """Whether a prediction says what the gold answer says; an unparsed prediction is wrong."""
    answer = canonical_answer(answer_type, prediction)
    return answer is not None and answer == canonical_answer(answer_type, gold)
