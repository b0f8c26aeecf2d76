"""One list of packages (pyproject.toml), one lock (constraints.txt), and files that repeat neither.

There is no conda here, so the files are read as conda and pip would read them.
"""

import re
import subprocess
import tomllib
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
ENVIRONMENTS = {
    "environment.yml": {"gpu", "notebooks"},
    "environment_qwen.yml": {"gpu", "qwen", "notebooks"},
}


def read_pins() -> dict[str, set[str]]:
    """Package -> pinned versions; a package has several where they depend on the Python version."""
    pins: dict[str, set[str]] = defaultdict(set)
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            [specifier] = requirement.specifier
            assert specifier.operator == "==", line
            pins[canonicalize_name(requirement.name)].add(specifier.version)
    return dict(pins)


PINS = read_pins()


def dependencies(extras: set[str]) -> dict[str, Requirement]:
    """What pyproject.toml asks for with these extras, extras of extras included."""
    found: dict[str, Requirement] = {}
    waiting = [*PROJECT["dependencies"], *(item for extra in extras for item in EXTRAS[extra])]
    while waiting:
        requirement = Requirement(waiting.pop())
        if canonicalize_name(requirement.name) == PROJECT["name"]:
            waiting += [item for extra in requirement.extras for item in EXTRAS[extra]]
        else:
            found[canonicalize_name(requirement.name)] = requirement
    return found


def installed_below(names: set[str]) -> set[str]:
    """The packages that installed ones need, directly or not, on this machine."""
    seen: set[str] = set()
    waiting = [(name, frozenset[str]()) for name in names]
    done = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        seen.add(name)
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:  # an extra that this machine did not install
            continue
        for requirement in needed:
            environments = [{"extra": extra} for extra in (*extras, "")]
            marker = requirement.marker
            if marker is None or any(marker.evaluate(values) for values in environments):
                item = (canonicalize_name(requirement.name), frozenset(requirement.extras))
                if item not in done:
                    done.add(item)
                    waiting.append(item)
    return seen


def environment(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return values


def pip_lines(name: str) -> list[str]:
    [section] = [item for item in environment(name)["dependencies"] if isinstance(item, dict)]
    assert list(section) == ["pip"]
    lines: list[str] = section["pip"]
    return lines


def extras_of(name: str) -> set[str]:
    constraints, editable = pip_lines(name)
    assert constraints == "-c constraints.txt"
    match = re.fullmatch(r"-e \.\[([a-z,]+)\]", editable)
    assert match is not None
    return set(match[1].split(","))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_conda_names_python_and_pip_only(name: str) -> None:
    plain = [item for item in environment(name)["dependencies"] if isinstance(item, str)]
    assert [re.split(r"[<>=!~ ]", item)[0] for item in plain] == ["python", "pip"]


@pytest.mark.parametrize(("name", "extras"), ENVIRONMENTS.items())
def test_pip_section_is_the_lock_and_the_project(name: str, extras: set[str]) -> None:
    assert extras_of(name) == extras
    assert extras <= set(EXTRAS)
    assert not {"cpu", "gpu"} <= extras, "both bring a module named faiss"


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_python_ranges_agree(name: str) -> None:
    [python] = [item for item in environment(name)["dependencies"] if "python" in item]
    wanted = PROJECT["requires-python"]
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(wanted)


def test_lock_and_tools_start_at_the_oldest_python() -> None:
    [oldest] = [s.version for s in SpecifierSet(PROJECT["requires-python"]) if s.operator == ">="]
    header = (ROOT / "constraints.txt").read_text().split("\n\n")[0]
    assert f"--universal --python-version {oldest} pyproject.toml" in header
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert tools["mypy"]["python_version"] == oldest


@pytest.mark.parametrize("name", sorted(dependencies(set(EXTRAS))))
def test_every_package_has_a_pin_that_satisfies_it(name: str) -> None:
    requirement = dependencies(set(EXTRAS))[name]
    assert name in PINS, "run the command in the first lines of constraints.txt again"
    for version in PINS[name]:
        assert requirement.specifier.contains(Version(version), prereleases=True)


@pytest.mark.parametrize("extras", [*ENVIRONMENTS.values(), {"dev"}], ids=["full", "qwen", "dev"])
def test_everything_that_gets_installed_is_pinned(extras: set[str]) -> None:
    assert installed_below(set(dependencies(extras))) <= set(PINS)


def test_both_environments_resolve_to_the_same_versions() -> None:
    full, qwen = (dependencies(extras_of(name)) for name in ENVIRONMENTS)
    assert set(qwen) - set(full) == {Requirement(line).name for line in EXTRAS["qwen"]}
    assert set(full) <= set(qwen)
    for name, requirement in full.items():
        assert str(qwen[name]) == str(requirement)
    assert pip_lines("environment.yml")[0] == pip_lines("environment_qwen.yml")[0]


def test_every_extra_that_is_named_exists() -> None:
    named = {
        extra
        for group in EXTRAS.values()
        for line in group
        if canonicalize_name(Requirement(line).name) == PROJECT["name"]
        for extra in Requirement(line).extras
    }
    named |= set(re.findall(r"--extra (\w+)", (ROOT / "constraints.txt").read_text()))
    for file in ("Makefile", "README.md"):
        for listed in re.findall(r"\.\[([\w,]+)\]", (ROOT / file).read_text()):
            named |= set(listed.split(","))
    assert named
    assert named <= set(EXTRAS)


def test_no_other_file_names_packages() -> None:
    listed = [
        "setup.py",
        "setup.cfg",
        "Pipfile",
        "requirements*.txt",
        "*.lock",
        "environment*.y*ml",
    ]
    found = {path.name for pattern in listed for path in ROOT.glob(pattern)}
    assert found == set(ENVIRONMENTS)
    for line in re.findall(
        r"pip install (.*)", (ROOT / "Makefile").read_text().replace("\\\n", "")
    ):
        words = [word for word in line.split() if re.match(r"[a-zA-Z]", word)]
        assert {re.split(r"==", word)[0] for word in words} <= {"uv", "constraints.txt"}, line


def test_make_asks_for_the_locked_project() -> None:
    done = subprocess.run(
        ["make", "-n", "-B", "setup"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert re.search(r"\buv==\d+\.\d+\.\d+\n", done.stdout)
    assert re.search(
        r"-c constraints\.txt -e '\.\[dev\]'", done.stdout.replace("\\\n", "").replace("\t", "")
    )
