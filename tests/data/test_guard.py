import pytest

from jomed.data.guard import AccessError, require_local


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8000/v1", "http://localhost:1/", "http://[::1]:8"]
)
def test_this_host_may_see_everything(endpoint: str) -> None:
    require_local(endpoint, ["open", "credentialed", "dua"])


@pytest.mark.parametrize(
    "endpoint",
    ["https://api.example.org/v1", "http://10.0.0.5:8000", "http://localhost.example.org", "", "x"],
)
def test_no_other_host_sees_closed_data(endpoint: str) -> None:
    require_local(endpoint, ["open"])
    require_local(endpoint, [])
    with pytest.raises(AccessError, match="credentialed and dua data must not leave it"):
        require_local(endpoint, ["open", "dua", "credentialed"])
