"""The phantom world: drawn once per profile and written in the real data sets' own formats."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from jomed.artifacts import artifact, data_root
from jomed.catalogue import BenchmarkConfig
from jomed.config import RunConfig, load_config
from jomed.phantom.draw import draw_image
from jomed.phantom.formats import (
    brset,
    medmnist,
    mimic_cxr,
    path_vqa,
    pmc_oa,
    roco,
    rocov2,
    slake,
    vindr_pcxr,
    vqa_rad,
)
from jomed.phantom.general import GeneralPair, general_address, write_general
from jomed.phantom.items import LabelItem, Planted, QuestionItem, RecordItem
from jomed.phantom.lexicon import BREAST, CHEST, FUNDUS, FUNDUS_BRSET, SKIN, Anatomy, Finding
from jomed.phantom.questions import TYPICAL, YES_NO, ask
from jomed.phantom.wording import Description, Shares, describe, reading_task, sight_tasks
from jomed.settings import WorldConfig

SECOND_FINDING = 0.1
"""Share of sick images of SEVERAL that show a second finding."""
SEVERAL = (CHEST, FUNDUS_BRSET)
TASKS_PER_PAIR = 3
QUESTIONS_PER_IMAGE = 2
REPEATED = 3
"""Planted repeats: records of ROCO that PMC-OA holds too, test images that are training images."""
MIXED = ((FUNDUS, 0.45), (CHEST, 0.15), (SKIN, 0.25), (BREAST, 0.15))
GENERAL = ((FUNDUS, 0.34), (CHEST, 0.34), (SKIN, 0.2), (BREAST, 0.12))
CORPORA = {"roco": (roco.write, MIXED), "pmc_oa": (pmc_oa.write, MIXED)}
LABELLED = {
    "breast": BREAST,
    "derma": SKIN,
    "retina": FUNDUS,
    "vindr_pcxr": CHEST,
    "brset": FUNDUS_BRSET,
}
ASKED = {"vqa_rad": CHEST, "slake": CHEST, "path_vqa": SKIN}
HELD = ("vindr_pcxr", "vqa_rad")
"""Sets that are published without a validation split: its images are among those of train."""
LabelWriter = Callable[[Path, Sequence[LabelItem], int], Planted]
WRITERS: dict[str, LabelWriter] = {
    "medmnist": medmnist.write,
    "vindr_pcxr": vindr_pcxr.write,
    "brset": brset.write,
}
QuestionWriter = Callable[[Path, Sequence[QuestionItem], int], Planted]
QUESTION_WRITERS: dict[str, QuestionWriter] = {
    "vqa_rad": vqa_rad.write,
    "slake": slake.write,
    "path_vqa": path_vqa.write,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One drawn patient image and everything that is true of it."""

    anatomy: Anatomy
    findings: tuple[Finding, ...]
    style: int
    image: np.ndarray


class Artist:
    """Draws cases of a world from one random stream; streams of different names are independent."""

    def __init__(self, world: WorldConfig, stream: str):
        self.world = world
        self.rng = np.random.default_rng([world.seed, *stream.encode()])

    def case(self, anatomy: Anatomy) -> Case:
        """Draw one case of an anatomy."""
        findings = self._findings(anatomy)
        style = int(self.rng.integers(len(anatomy.styles)))
        contrast = (self.world.style_contrast, self.world.finding_contrast)
        image = draw_image(
            anatomy, findings, style, self.world.image_size, contrast, self.world.noise, self.rng
        )
        return Case(anatomy, findings, style, image)

    def anatomy(self, mixture: tuple[tuple[Anatomy, float], ...]) -> Anatomy:
        """Draw an anatomy from a mixture of (anatomy, share)."""
        shares = np.array([share for _, share in mixture])
        return mixture[int(self.rng.choice(len(mixture), p=shares / shares.sum()))][0]

    def text(self, case: Case, named: float) -> Description:
        """Write the text of a case; `named` is the share of texts that name their finding."""
        shares = Shares(named, self.world.finding_negated)
        return describe(case.anatomy, case.findings, case.style, shares, self.rng)

    def _findings(self, anatomy: Anatomy) -> tuple[Finding, ...]:
        weights = np.array([finding.weight for finding in anatomy.findings])
        weights = weights / weights.sum()

        def one() -> Finding:
            return anatomy.findings[int(self.rng.choice(len(weights), p=weights))]

        chosen = {one()}
        sick = anatomy in SEVERAL and anatomy.healthy not in chosen
        if sick and self.rng.random() < SECOND_FINDING:
            chosen |= {one()} - {anatomy.healthy}
        return tuple(sorted(chosen, key=lambda finding: finding.label))


def draw_world(world: WorldConfig, root: Path) -> dict[str, Planted]:
    """Write the whole world below `root`; returns what each data set holds and what is broken.

    The general split, four corpora (roco, rocov2, pmc_oa, mimic_cxr) and eight benchmarks (breast,
    derma, retina, vindr_pcxr, brset, vqa_rad, slake, path_vqa). The same settings give the same
    files.
    """
    _general(world, root)
    planted: dict[str, Planted] = {}
    items = {name: record_items(world, name, mix) for name, (_, mix) in CORPORA.items()}
    items["pmc_oa"][-REPEATED:] = items["roco"][:REPEATED]
    for name, (write, _) in CORPORA.items():
        planted[name] = write(root, items[name], world.seed)
    chest = record_items(world, "mimic_cxr", ((CHEST, 1.0),))
    planted["mimic_cxr"] = mimic_cxr.write(root, chest, world.seed)
    figures = record_items(world, "rocov2", MIXED)
    planted["rocov2"] = rocov2.write(root, figures, world.seed)
    for name, anatomy in LABELLED.items():
        benchmark = _benchmark(name)
        draw = _eye_items if name == "brset" else label_items
        drawn = draw(world, name, anatomy)
        planted[name] = WRITERS[benchmark.loader](root / benchmark.path, drawn, world.seed)
    for name, write_questions in QUESTION_WRITERS.items():
        questions = question_items(world, name)
        planted[name] = write_questions(root / _benchmark(name).path, questions, world.seed)
    return planted


def provide_data(config: RunConfig) -> Path:
    """The data root of a run: the real data where the profile names them, else the drawn world."""
    if config.data.world is not None:
        world = artifact(config, "world")
        if not world.is_complete():
            with world.writing() as folder:
                planted = draw_world(config.data.world, folder)
                listing = {name: asdict(counts) for name, counts in planted.items()}
                (folder / "planted.json").write_text(json.dumps(listing, indent=1))
    return data_root(config)


def planted_counts(root: Path) -> dict[str, Planted]:
    """What was drawn and broken in the world at `root`, by data set."""
    listing = json.loads((root / "planted.json").read_text())
    return {name: Planted(**counts) for name, counts in listing.items()}


def _benchmark(name: str) -> BenchmarkConfig:
    return load_config(benchmark=name).benchmark


def _general(world: WorldConfig, root: Path) -> None:
    artist = Artist(world, "general")
    images, pairs = [], []
    for position in range(world.general):
        case = artist.case(artist.anatomy(GENERAL))
        said = artist.text(case, world.general_named)
        tasks = tuple(
            reading_task(case.anatomy, case.findings, case.style, said, artist.rng)
            for _ in range(TASKS_PER_PAIR)
        )
        images.append(case.image)
        sights = sight_tasks(case.anatomy, case.style)
        pairs.append(GeneralPair(general_address(position), said.text, tasks, sights))
    write_general(root, images, pairs)


def record_items(
    world: WorldConfig, name: str, mixture: tuple[tuple[Anatomy, float], ...]
) -> list[RecordItem]:
    """Records of one corpus; a patient or article has one to three of them."""
    artist, items, group = Artist(world, name), list[RecordItem](), 0
    while len(items) < world.records:
        group += 1
        for _ in range(int(artist.rng.integers(1, 4))):
            case = artist.case(artist.anatomy(mixture))
            text = artist.text(case, world.finding_named).text
            items.append(RecordItem(case.image, text, group, "train"))
    return items[: world.records]


def label_items(world: WorldConfig, name: str, anatomy: Anatomy) -> list[LabelItem]:
    """Samples of a classification benchmark.

    The first test images repeat training images: a leak for the leakage report to find.
    """
    artist, items = Artist(world, name), list[LabelItem]()
    for split, count in (("train", world.train), ("val", world.val), ("test", world.test)):
        for _ in range(count):
            case = artist.case(anatomy)
            labels = tuple(finding.label for finding in case.findings)
            written = "train" if name in HELD and split == "val" else split
            items.append(LabelItem(case.image, labels, len(items), written))
    first_test = world.train + world.val
    items[first_test : first_test + REPEATED] = [
        LabelItem(item.image, item.labels, item.group, "test") for item in items[:REPEATED]
    ]
    return items


def _eye_items(world: WorldConfig, name: str, anatomy: Anatomy) -> list[LabelItem]:
    """Samples of a set without splits; a patient has one or two of them."""
    artist, items, group = Artist(world, name), list[LabelItem](), 0
    total = world.train + world.val + world.test
    while len(items) < total:
        group += 1
        for _ in range(int(artist.rng.integers(1, 3))):
            case = artist.case(anatomy)
            labels = tuple(finding.label for finding in case.findings)
            items.append(LabelItem(case.image, labels, group, ""))
    return items[:total]


def question_items(world: WorldConfig, name: str) -> list[QuestionItem]:
    """Questions about the images of all splits, several per image."""
    artist, items, group = Artist(world, name), list[QuestionItem](), 0
    shares = YES_NO if name == "path_vqa" else TYPICAL
    for split, count in (("train", world.train), ("val", world.val), ("test", world.test)):
        written = "train" if name in HELD and split == "val" else split
        for position in range(QUESTIONS_PER_IMAGE * count):
            if position % QUESTIONS_PER_IMAGE == 0:
                case, group = artist.case(ASKED[name]), group + 1
            question, answer, answer_type, kind = ask(
                case.anatomy, case.findings, case.style, artist.rng, shares
            )
            items.append(
                QuestionItem(case.image, question, answer, answer_type, kind, group, written)
            )
    return items
