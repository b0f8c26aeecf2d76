import pytest
import toy_world


@pytest.fixture(scope="session")
def drawn_world(tmp_path_factory):
    return toy_world.World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(drawn_world):
    """The toy world, drawn once; its scorer's record of questions starts empty."""
    drawn_world.asked.clear()
    return drawn_world
