from dataclasses import replace

import pandas as pd
from PIL import Image

from jomed.reporting.figures import Tile, image_grid, label_distribution, loss_curves
from jomed.reporting.provenance import Provenance


def tile(row: str, access: str = "open") -> Tile:
    return Tile(row, Image.new("RGB", (8, 6)), "a title", "some words", access)


def samples(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["split", "answer", "answer_type"])


def drawn(provenance: Provenance, name: str) -> pd.DataFrame:
    return pd.read_csv(provenance.folder("figures") / f"{name}.csv")


def test_a_grid_has_a_row_per_name_and_fills_the_longest(provenance: Provenance) -> None:
    figure = image_grid([tile("a"), tile("a"), tile("b")], provenance, "grid", "T")
    assert len(figure.axes) == 4
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 0]


def test_a_grid_with_a_credentialed_image_is_private(provenance: Provenance) -> None:
    image_grid([tile("a"), tile("a", "credentialed")], provenance, "grid", "T")
    assert not (provenance.folder("figures") / "grid.png").exists()
    assert (provenance.folder("figures", restricted=True) / "grid.png").is_file()


def test_nothing_of_a_synthetic_world_is_private(provenance: Provenance) -> None:
    image_grid([tile("a", "credentialed")], replace(provenance, synthetic=True), "grid", "T")
    assert (provenance.folder("figures") / "grid.png").is_file()


def test_shares_are_of_the_splits_samples_and_lists_count_for_each_label(
    provenance: Provenance,
) -> None:
    frame = samples(("train", "1, 6", "labels"), ("train", "6", "labels"), ("test", "1", "labels"))
    label_distribution(frame, {"1": "one", "6": "six"}, provenance)
    found = drawn(provenance, "label_distribution").set_index(["label", "split"])["share"]
    assert found[1, "train"] == 0.5
    assert found[6, "train"] == 1.0
    assert found[1, "test"] == 1.0


def test_a_rare_label_of_restricted_data_makes_the_figure_private(provenance: Provenance) -> None:
    guarded, common = replace(provenance, guarded=True), ("train", "1", "labels")
    label_distribution(samples(*[common] * 10), {"1": "one"}, guarded)
    assert (provenance.folder("figures") / "label_distribution.csv").is_file()
    rare = samples(*[common] * 10, ("test", "6", "labels"))
    label_distribution(rare, {"1": "one", "6": "six"}, guarded, "rare")
    assert not (provenance.folder("figures") / "rare.csv").exists()
    assert (provenance.folder("figures", restricted=True) / "rare.csv").is_file()


def test_free_answers_are_shown_most_frequent_first(provenance: Provenance) -> None:
    frame = samples(("train", "b", "open"), ("train", "a", "open"), ("test", "a", "open"))
    figure = label_distribution(frame, {}, provenance)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["a", "b"]


def test_losses_are_one_line_per_entry_and_none_says_so(provenance: Provenance) -> None:
    curves = {"training": [(1.0, 2.0), (2.0, 1.0)], "validation": [(2.0, 1.5)]}
    assert len(loss_curves(curves, provenance, "losses", "T").axes[0].lines) == 2
    assert drawn(provenance, "losses")["loss"].tolist() == [2.0, 1.0, 1.5]
    empty = loss_curves({}, provenance, "none", "T").axes[0]
    assert "nothing was trained" in empty.texts[0].get_text()
