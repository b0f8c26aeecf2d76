"""What credentialed data must not do: leave the host."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit


class AccessError(Exception):
    """Data whose licence keeps them on this host would have been sent elsewhere."""


def require_local(endpoint: str, access: Iterable[str]) -> None:
    """Refuse to use a remote endpoint (URL) for records or samples of these access levels.

    Open data may go anywhere. All others may only go to this host: a loopback address. A host in
    the same network is remote: whether it is covered by the licence is not for a program to know.
    Raises AccessError.
    """
    closed = sorted(set(access) - {"open"})
    if closed and not _is_loopback(urlsplit(endpoint).hostname or ""):
        raise AccessError(
            f"{endpoint} is not on this host, and {' and '.join(closed)} data must not leave it. "
            "Serve the model on this host (http://127.0.0.1:...), or use open data only."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
