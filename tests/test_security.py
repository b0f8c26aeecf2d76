"""Nothing in the library can run code that comes with data or models, or hide an error."""

import ast
from pathlib import Path

import pytest
import yaml
from source_files import LIBRARY, ROOT, dotted, name_of, tree_of

from jomed import params

CHECKED = [*LIBRARY, *sorted((ROOT / "perf").glob("*.py"))]
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
RUNS_CODE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load",
             "yaml.full_load", "torch.hub.load", "pd.read_pickle", "joblib.load",
             "runpy.run_path"}  # fmt: skip
SAFE_LOADERS = {"yaml.SafeLoader", "_Loader"}
"""_Loader: that of jomed.params, see below."""


def problems(tree: ast.Module) -> list[str]:
    """What a source file does that it must not, with its line."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(node, f"imports {n}") for n in names if n.split(".")[0] in PICKLES]
        elif isinstance(node, ast.ExceptHandler):
            if node.type is None:
                found.append((node, "bare except"))
            if all(isinstance(inner, ast.Pass) for inner in node.body):
                found.append((node, "an exception is passed over"))
        elif isinstance(node, ast.Call):
            found += [(node, problem) for problem in _call(node)]
    return [f"line {node.lineno}: {problem}" for node, problem in found]


def _call(node: ast.Call) -> list[str]:
    name = dotted(node.func)
    given = {word.arg: word.value for word in node.keywords}
    true = {key for key, value in given.items()
            if not (isinstance(value, ast.Constant) and value.value is False)}  # fmt: skip
    found = [f"calls {name}"] if name in RUNS_CODE else []
    if name == "yaml.load" and dotted(given.get("Loader", node)) not in SAFE_LOADERS:
        found.append("yaml.load without a safe loader")
    if name.endswith(".extractall"):
        found.append("unpacks an archive without looking at its names")
    if name in ("np.load", "numpy.load") and "allow_pickle" not in given:
        found.append("np.load does not say allow_pickle=False")
    if name.endswith("torch.load"):
        safe = given.get("weights_only")
        if not (isinstance(safe, ast.Constant) and safe.value is True):
            found.append("torch.load does not say weights_only=True")
    # Options that are safe as False; an expression might be True.
    options = {"allow_pickle", "trust_remote_code", "shell"} & true
    if name.endswith("savez_compressed"):
        options -= {"allow_pickle"}
    return found + [f"{option} is not False" for option in sorted(options)]


@pytest.mark.parametrize("path", CHECKED, ids=name_of)
def test_a_file_does_nothing_unsafe(path: Path) -> None:
    assert problems(tree_of(path)) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import dill as d",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "eval(text)",
        "exec(text)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=config.trust)",
        "zipfile.ZipFile(path).extractall(folder)",
        "archive.extractall(folder)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "try:\n    work()\nexcept:\n    raise",
        "try:\n    work()\nexcept ValueError:\n    pass",
    ],
)
def test_every_rule_finds_what_it_forbids(code: str) -> None:
    assert problems(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "from_pretrained(name, trust_remote_code=False)",
        "yaml.safe_load(text)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "load().eval()",
        "re.compile(text)",
        "model.eval()",
        "try:\n    work()\nexcept ValueError:\n    raise",
    ],
)
def test_rules_let_the_safe_way_pass(code: str) -> None:
    assert problems(ast.parse(code)) == []


def test_the_loader_of_params_makes_plain_values_only() -> None:
    assert issubclass(params._Loader, yaml.SafeLoader)
    with pytest.raises(params.ConfigError, match="python/object"):
        params.parse_yaml("a: !!python/object/apply:os.getcwd []", "file.yaml")
