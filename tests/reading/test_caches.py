import torch

from jomed.reading.caches import TensorCache


def test_the_least_recently_used_tensors_go_first() -> None:
    cache = TensorCache(limit=8)
    cache.put("a", torch.ones(1))
    cache.put("b", torch.ones(1))
    assert cache.get("a") is not None
    cache.put("c", torch.ones(1))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.size == 8


def test_a_tensor_above_the_limit_is_not_kept() -> None:
    cache = TensorCache(limit=8)
    cache.put("a", torch.ones(1))
    cache.put("b", torch.ones(3))
    assert (cache.get("b"), cache.size) == (None, 4)
    assert cache.get("a") is not None


def test_a_view_does_not_hold_the_memory_that_it_is_cut_from() -> None:
    cache = TensorCache(limit=100)
    cache.put("a", torch.ones(1000)[:2])
    kept = cache.get("a")
    assert kept is not None
    assert kept.untyped_storage().nbytes() == 8


def test_replacing_a_tensor_counts_it_once() -> None:
    cache = TensorCache(limit=8)
    cache.put("a", torch.ones(1))
    cache.put("a", torch.zeros(2))
    assert cache.size == 8
    assert cache.get("a").tolist() == [0, 0]  # type: ignore[union-attr]
