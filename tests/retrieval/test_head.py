import pytest
import tiny_clip
import torch
from safetensors import safe_open

from jomed.retrieval.head import HeadError, QueryHead


@pytest.fixture
def tower(tmp_path):
    return tiny_clip.tiny_encoder(tmp_path / "encoder").image_tower


@pytest.fixture
def pixels():
    torch.manual_seed(3)
    return torch.randn(4, 3, tiny_clip.SIDE, tiny_clip.SIDE)


@pytest.mark.parametrize("alpha", [0.0, 0.15, 0.6, 1.0])
def test_untrained_head_is_the_frozen_tower(tower, pixels, alpha):
    head = QueryHead(tower, "text", alpha)
    torch.testing.assert_close(head(pixels), tower(pixels), atol=1e-6, rtol=0)


def test_mix_is_the_formula_and_is_not_normalised(tower, pixels):
    head = QueryHead(tower, "image", 0.25)
    with torch.no_grad():
        for parameter in head.trained.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        expected = 0.75 * tower(pixels) + 0.25 * head.trained(pixels)
        mixed = head(pixels)
    torch.testing.assert_close(mixed, expected)
    assert (mixed.norm(dim=1) < 0.999).all()
    given = torch.ones(4, 12)
    torch.testing.assert_close(head(pixels, given), 0.75 * given + 0.25 * head.trained(pixels))


def test_only_the_copy_is_trained(tower, pixels):
    head = QueryHead(tower, "image", 0.5)
    head(pixels).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in head.frozen.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in head.trained.parameters())
    before = tower(pixels)
    with torch.no_grad():
        for parameter in head.trained.parameters():
            parameter.zero_()
    torch.testing.assert_close(tower(pixels), before)


def test_save_and_load_keep_the_function_and_store_only_the_copy(tower, pixels, tmp_path):
    head = QueryHead(tower, "text", 0.4)
    with torch.no_grad():
        for parameter in head.trained.parameters():
            parameter.mul_(1.1)
    path = tmp_path / "head.safetensors"
    head.save(path)
    loaded = QueryHead.load(path, tower)
    assert (loaded.head, loaded.alpha) == ("text", 0.4)
    assert torch.equal(loaded(pixels), head(pixels))
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(head.trained.state_dict())


def test_load_refuses_other_encoders_and_other_files(tower, tmp_path):
    path = tmp_path / "head.safetensors"
    QueryHead(tower, "text", 0.4).save(path)
    other = tiny_clip.tiny_encoder(tmp_path / "other", seed=5).image_tower
    with pytest.raises(HeadError, match="another encoder"):
        QueryHead.load(path, other)
    with pytest.raises(HeadError, match="metadata"):
        QueryHead.load(tmp_path / "encoder" / "open_clip_model.safetensors", tower)
    with pytest.raises(HeadError, match="cannot read"):
        QueryHead.load(tmp_path / "absent.safetensors", tower)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(HeadError, match="cannot read"):
        QueryHead.load(path, tower)


def test_bad_arguments_are_refused(tower):
    with pytest.raises(HeadError, match="alpha"):
        QueryHead(tower, "text", 1.5)
    with pytest.raises(HeadError, match="audio"):
        QueryHead(tower, "audio", 0.5)
