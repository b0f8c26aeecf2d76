"""What credentialed data must not do: leave the host, or lie where a push would take them."""

import ipaddress
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

# A host and a port. With a user name, a backslash or blanks, programs disagree about the host.
_PLAIN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?")


class AccessError(Exception):
    """Data whose licence keeps them on this host would have been sent elsewhere, or could be."""


def require_local(endpoint: str, access: Iterable[str]) -> None:
    """Refuse to use a remote endpoint (URL) for records or samples of these access levels.

    Open data may go anywhere. All others may only go to this host: see ``is_local``. A host in
    the same network is remote: whether it is covered by the licence is not for a program to know.
    Raises AccessError.
    """
    closed = sorted(set(access) - {"open"})
    if closed and not is_local(endpoint):
        raise AccessError(
            f"{endpoint} is not on this host, and {' and '.join(closed)} data must not leave it. "
            "Serve the model on this host (http://127.0.0.1:...), or use open data only."
        )


def is_local(endpoint: str) -> bool:
    """Whether a URL names this host: a loopback address, or "localhost".

    Other names are remote, whatever they resolve to: that may have changed by the next request.
    """
    try:
        parts = urlsplit(endpoint)
    except ValueError:  # no URL, or one that hides its host behind look-alike characters
        return False
    return _PLAIN.fullmatch(parts.netloc) is not None and _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def require_untracked(folder: Path, access: Iterable[str]) -> None:
    """Refuse to write data of these access levels where git could pick them up.

    Open data may lie anywhere. All others only outside of git checkouts, or where the checkout
    ignores them. ``folder`` need not exist yet. Raises AccessError.
    """
    closed = sorted(set(access) - {"open"})
    if not closed:
        return
    place = folder.resolve()
    if any((path / ".git").exists() for path in place.parents) and not _ignored(place):
        raise AccessError(
            f"{folder} lies in a git checkout, and {' and '.join(closed)} data must not get into "
            "one. Name a folder outside of it, or one that its .gitignore leaves out (runs/...)."
        )


def _ignored(folder: Path) -> bool:
    """Whether git ignores a folder; False where git cannot tell."""
    inside = next(path for path in folder.parents if path.is_dir())
    question = ["git", "-C", str(inside), "check-ignore", "--quiet", f"{folder}/"]
    try:
        return (
            subprocess.run(question, capture_output=True, timeout=30, check=False).returncode == 0
        )
    except (OSError, subprocess.SubprocessError):
        return False
