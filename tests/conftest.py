"""Order of the tests: the one that takes longest starts first, beside all others."""

import pytest

FIRST = "test_phantom_is_hard"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST not in item.nodeid)
