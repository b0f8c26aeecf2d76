from pathlib import Path

import pandas as pd
import pytest

from jomed.reporting.provenance import Provenance


@pytest.fixture
def provenance(tmp_path: Path) -> Provenance:
    return Provenance(
        profile="phantom",
        label="phantom",
        line="profile phantom; config 0123456789ab",
        root=tmp_path,
        private_root=tmp_path / "private",
        details={"runs": [{"commit": "abc"}]},
        titles={"retina": "RetinaMNIST", "q": "Qwen_2 & co"},
    )


@pytest.fixture
def metrics() -> pd.DataFrame:
    """Two seeds of two methods on one benchmark, one seed of a multi-label one, oracle included."""
    rows = [
        # benchmark, backbone, seed, method, subset, metric, value, n, low, high
        ("retina", "q", 0, "jomed", "all", "accuracy", 0.60, 400, 0.55, 0.65),
        ("retina", "q", 1, "jomed", "all", "accuracy", 0.64, 400, 0.58, 0.70),
        ("retina", "q", 0, "standard_rag", "all", "accuracy", 0.50, 400, 0.45, 0.55),
        ("retina", "q", 1, "standard_rag", "all", "accuracy", 0.52, 400, 0.47, 0.57),
        ("retina", "q", 0, "jomed+oracle", "all", "accuracy", 0.80, 400, 0.75, 0.85),
        ("retina", "q", 0, "jomed", "inconsistent", "accuracy", 0.40, 90, 0.30, 0.50),
        ("retina", "q", 0, "standard_rag", "inconsistent", "accuracy", 0.20, 90, 0.10, 0.30),
        ("retina", "q", 0, "standard_rag", "all", "inconsistent_share", 0.225, 400, 0.2, 0.25),
        ("vindr_pcxr", "q", 0, "jomed", "all", "subset_accuracy", 0.30, 100, 0.2, 0.4),
        ("retina", "q", 0, "jomed", "all", "unparsed", 7.0, 400, float("nan"), float("nan")),
    ]
    keys = ["benchmark", "backbone", "seed", "method", "subset", "metric"]
    return pd.DataFrame(rows, columns=[*keys, "value", "n", "low", "high"])
