import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tiny_sets import benchmark_config, data_config, run_config

from jomed.config import read_corpus
from jomed.data.corpora import load_corpus
from jomed.data.guard import AccessError, is_local, require_local, require_untracked
from jomed.data.merge import merge_corpora
from jomed.data.sources import DataError
from jomed.phantom.formats import mimic_cxr
from jomed.phantom.items import RecordItem
from jomed.records import Record, Skipped


def draw(place: int) -> np.ndarray:
    return np.full((8, 8), 5 * place, np.uint8)


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8000/v1", "http://localhost:1/", "http://[::1]:8"]
)
def test_this_host_may_see_everything(endpoint: str) -> None:
    require_local(endpoint, ["open", "credentialed", "dua"])


@pytest.mark.parametrize(
    "endpoint",
    [
        *("https://api.example.org/v1", "http://10.0.0.5:8000", "http://localhost.example.org"),
        *("", "x", "http://", "http://0.0.0.0:8000", "http://127.0.0.1.example.org:8000/v1"),
        *("http://127.0.0.1@example.org", "http://localhost:80@example.org/v1"),
        *(
            "http://user@127.0.0.1:8000",
            "http://127.0.0.1\\@example.org",
            "http://[::1]@example.org",
        ),
        *("http://example.org\\@127.0.0.1", "http://127.0.0.1 .example.org", "http://[::1"),
        *(
            "http://example.org#@127.0.0.1/",
            "http://example.org?@localhost",
            "http://localhost。org",
        ),
        *("//example.org/http://127.0.0.1", "http://[::ffff:10.0.0.5]:8000", "http://2130706433/"),
    ],
)
def test_no_other_host_sees_closed_data(endpoint: str) -> None:
    require_local(endpoint, ["open"])
    require_local(endpoint, [])
    with pytest.raises(AccessError, match="credentialed and dua data must not leave it"):
        require_local(endpoint, ["open", "dua", "credentialed"])


def test_a_name_that_resolves_to_this_host_now_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: here)
    for name in ("rebound.example.org", socket.gethostname(), "localhost.localdomain"):
        assert not is_local(f"http://{name}:8000/v1")
    for name in ("localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]"):
        assert is_local(f"http://{name}:8000/v1")


def test_no_word_of_a_report_is_in_a_loss_or_an_error(tmp_path: Path) -> None:
    """Texts are of restricted records: what was left out is named by its id alone."""
    items = [
        RecordItem(draw(i), f"Sesquipedalian finding {i}.", i // 2, "train") for i in range(48)
    ]
    mimic_cxr.write(tmp_path, items, 5)
    corpus, settings = read_corpus("mimic_cxr"), data_config(min_text_chars=26)
    config = run_config(benchmark_config(), settings.model_copy(update={"corpora": ("mimic_cxr",)}))
    found = list(merge_corpora(config, tmp_path))
    assert any("Sesquipedalian" in item.text for item in found if isinstance(item, Record))
    losses = [item for item in found if not isinstance(item, Record)]
    assert {"short text", "unreadable image"} <= {
        item.reason for item in losses if isinstance(item, Skipped)
    }
    assert "esquip" not in repr(losses)
    table = next(tmp_path.rglob("*metadata.csv.gz"))
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(DataError) as caught:
        list(load_corpus(corpus, tmp_path, settings, benchmark_config()))
    assert "esquip" not in str(caught.value)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path / "checkout"], check=True)
    (tmp_path / "checkout/.gitignore").write_text("runs/\n*.private\n")
    return tmp_path / "checkout"


@pytest.mark.parametrize("place", ["runs/a/b", "x.private", "../outside/new"])
def test_restricted_data_may_lie_where_git_does_not_look(checkout: Path, place: str) -> None:
    require_untracked(checkout / place, ["open", "dua"])


@pytest.mark.parametrize("place", ["new", "a/new", "runsx"])
def test_only_open_data_may_lie_where_git_could_take_them(checkout: Path, place: str) -> None:
    require_untracked(checkout / place, ["open"])
    with pytest.raises(AccessError, match="credentialed and dua data must not get into one"):
        require_untracked(checkout / place, ["dua", "credentialed", "open"])


def test_a_checkout_that_git_cannot_read_is_one(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(AccessError, match="git checkout"):
        require_untracked(tmp_path / "new", ["dua"])
