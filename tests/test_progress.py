"""Progress bars pass the items on and write to stderr only, or nowhere."""

from collections.abc import Iterator

import pytest

from jomed.progress import track


@pytest.mark.parametrize(("setting", "shown"), [("1", True), ("0", False)])
def test_items_pass_and_the_bar_can_be_turned_off(
    setting: str, shown: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOMED_PROGRESS", setting)
    items: Iterator[int] = iter([3, 1, 2])
    assert list(track(items, "embedding", total=3)) == [3, 1, 2]
    captured = capfd.readouterr()
    assert captured.out == ""
    assert ("embedding" in captured.err) == shown
