"""What can be seen and said in the phantom world: anatomies, acquisition styles, findings, words.

Everything here is invented. The finding names borrow the label lists of the real benchmarks so that
their label order and answer texts are exercised, but the drawn shapes have nothing to do with
medicine.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Finding:
    """A diagnosis of the phantom world: its benchmark label, how often it occurs and its names.

    `names[0]` is the canonical name, the others are synonyms used by some authors of texts.
    """

    label: int
    shape: str
    weight: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A body part with its imaging modality, acquisition styles and possible findings.

    The finding with shape "none" is the healthy case.
    """

    name: str
    modality: tuple[str, ...]
    colour: tuple[float, float, float]
    styles: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> Finding:
        """The finding drawn as nothing at all."""
        return next(finding for finding in self.findings if finding.shape == "none")


CHEST = Anatomy(
    name="chest",
    modality=("chest radiograph", "chest x-ray", "thoracic film"),
    colour=(1.0, 1.0, 1.0),
    styles=(
        "upright posteroanterior",
        "portable anteroposterior",
        "supine bedside",
        "expiratory",
        "low dose digital",
        "lordotic",
    ),
    findings=(
        Finding(0, "none", 0.24, ("normal lungs", "clear lungs", "unremarkable thorax")),
        Finding(1, "ring", 0.20, ("bronchitis", "airway inflammation", "inflamed airways")),
        Finding(6, "dots", 0.20, ("pneumonia", "lobar consolidation", "infected airspace")),
        Finding(
            9, "cross", 0.18, ("tuberculosis", "mycobacterial disease", "cavitating granuloma")
        ),
        Finding(13, "bars", 0.18, ("mediastinal tumor", "widened mediastinum", "hilar neoplasm")),
    ),
)

FUNDUS = Anatomy(
    name="fundus",
    modality=("fundus photograph", "retinal photograph", "colour funduscopy"),
    colour=(1.0, 0.6, 0.35),
    styles=(
        "wide field",
        "macula centred",
        "disc centred",
        "mydriatic",
        "handheld camera",
        "stereo pair",
    ),
    findings=(
        Finding(0, "none", 0.26, ("healthy retina", "normal fundus", "retina without lesions")),
        Finding(
            1, "dots", 0.18, ("mild retinopathy", "early microaneurysms", "minimal retinopathy")
        ),
        Finding(
            2, "bars", 0.22, ("moderate retinopathy", "scattered haemorrhages", "cotton wool spots")
        ),
        Finding(
            3,
            "ring",
            0.20,
            ("severe retinopathy", "venous beading", "preproliferative retinopathy"),
        ),
        Finding(
            4,
            "cross",
            0.14,
            ("proliferative retinopathy", "neovascularisation", "fibrovascular tissue"),
        ),
    ),
)

SKIN = Anatomy(
    name="skin",
    modality=("dermoscopy image", "dermatoscopic view", "skin surface microscopy"),
    colour=(1.0, 0.75, 0.65),
    styles=(
        "polarised",
        "non polarised",
        "contact plate",
        "immersion oil",
        "close range",
        "flash lit",
    ),
    findings=(
        Finding(
            0, "bars", 0.10, ("actinic keratosis", "solar keratosis", "intraepithelial carcinoma")
        ),
        Finding(1, "disc", 0.14, ("basal cell carcinoma", "basalioma", "rodent ulcer")),
        Finding(2, "dots", 0.16, ("benign keratosis", "seborrhoeic keratosis", "solar lentigo")),
        Finding(3, "ring", 0.08, ("dermatofibroma", "fibrous histiocytoma", "sclerosing nodule")),
        Finding(
            4,
            "cross",
            0.16,
            ("melanoma", "malignant pigmented lesion", "malignant melanocytic tumour"),
        ),
        Finding(5, "none", 0.28, ("melanocytic nevus", "common mole", "benign nevus")),
        Finding(6, "wedge", 0.08, ("vascular lesion", "haemangioma", "angiokeratoma")),
    ),
)

BREAST = Anatomy(
    name="breast",
    modality=("breast ultrasound", "breast sonogram", "mammary echography"),
    colour=(0.9, 0.9, 0.9),
    styles=("radial", "antiradial", "transverse", "sagittal", "high frequency", "panoramic"),
    findings=(
        Finding(0, "cross", 0.32, ("breast carcinoma", "malignant mass", "spiculated tumour")),
        Finding(1, "none", 0.68, ("benign breast tissue", "normal parenchyma", "simple cyst")),
    ),
)

ANATOMIES = (CHEST, FUNDUS, SKIN, BREAST)

_BRSET_LABELS = (13, 0, 8, 5, 9)
FUNDUS_BRSET = replace(
    FUNDUS,
    findings=tuple(
        replace(finding, label=label)
        for finding, label in zip(FUNDUS.findings, _BRSET_LABELS, strict=True)
    ),
)
"""The fundus with labels of BRSET: grades of retinopathy do not exclude one another there.

No finding, diabetic retinopathy, hemorrhage, vascular occlusion, retinal detachment.
"""

PATIENTS = (
    "man",
    "woman",
    "patient",
    "outpatient",
    "volunteer",
    "referred case",
)
HISTORIES = (
    "a long history of diabetes",
    "two weeks of symptoms",
    "a routine screening visit",
    "no known prior disease",
    "a family history of disease",
    "persistent complaints",
    "recent travel",
    "an earlier operation",
    "worsening symptoms",
    "an incidental observation",
    "a follow up appointment",
    "a scheduled control",
)
NAMING = (
    "the study shows {name}",
    "findings are consistent with {name}",
    "{name} is present",
    "appearance typical of {name}",
    "diagnosis of {name} was made",
    "this is a case of {name}",
    "impression is {name}",
    "there is {name}",
)
NEGATING = (
    "no evidence of {name}",
    "{name} was excluded",
    "no sign of {name}",
    "there is no {name}",
    "{name} is not seen",
    "without {name}",
)
SILENT = (
    "see arrow for the region of interest",
    "image quality is adequate",
    "comparison with the prior study is recommended",
    "the examination was repeated",
    "clinical correlation is advised",
    "the patient was referred for treatment",
    "details are given in the text",
    "obtained at first presentation",
)
