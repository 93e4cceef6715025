"""The house is as the design says: imports go down only, one place for each concern."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tinybuild"

# Each room, the rooms that it may import, and what lives there. Nothing else is allowed.
ARROWS: dict[str, tuple[str, str]] = {
    "errors": ("", "what is wrong, where, what to do"),
    "files": ("errors", "digests, atomic writes, locks and archives: bytes on disk"),
    "paths": ("", "nested mappings by path, and the types of JSON data"),
    "keys": ("paths", "what a key of a config measures: one vocabulary"),
    "sections": ("paths", "the sections of a recipe as types"),
    "progress": ("", "the screen"),
    "wire": ("", "dataclasses to and from JSON"),
    "facts": ("wire", "what the receipt of each stage tells those after it"),
    "network": ("errors", "what only fetch may use, and what stops the others"),
    "workers": ("errors paths wire network", "warm processes, and what a stage gets"),
    "bundle": ("files", "the layout of a bundle"),
    "dataset": (
        "errors files paths wire facts sections workers progress",
        "rows from anywhere become a small dataset",
    ),
    "source": (
        "errors files paths wire sections workers keys dataset",
        "a wish becomes a pin becomes files",
    ),
    "tokenizer": ("errors files paths wire facts sections workers keys", "a smaller tokenizer"),
    "config": (
        "errors files paths sections keys",
        "a smaller config, and the class that it is for",
    ),
    "feeding": ("errors files paths keys config", "what a model takes: processors and inputs"),
    "model": (
        "errors files paths wire facts sections keys workers config feeding",
        "a config becomes random weights",
    ),
    "validate": (
        "errors files paths wire facts sections keys workers bundle config tokenizer dataset "
        "feeding",
        "one function a check",
    ),
    "pack": (
        "errors files paths wire facts workers progress bundle",
        "a folder becomes a bundle with its card",
    ),
    "recipe": (
        "errors files paths wire sections config dataset source tokenizer",
        "YAML with places, checked, in words; locks",
    ),
    "engine": (
        "errors files paths wire facts sections keys workers dataset source tokenizer recipe",
        "tasks, why they run, and receipts",
    ),
    "cli": (
        "errors files paths wire facts sections workers progress config dataset source recipe "
        "engine",
        "what people type and read",
    ),
    "tasks": ("cli", "the face for a dodo.py"),
}
# Circles that are being untied: whoever does it deletes the line here.
KNOWN = (
    ("tinybuild.dataset.values", "tinybuild.dataset.media"),
    ("tinybuild.feeding.inputs.trial", "tinybuild.feeding.inputs"),
)
HEAVY = {"torch", "transformers", "datasets", "tokenizers", "huggingface_hub", "pyarrow", "numpy"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, whether it is imported when the module is) of each import in a file."""
    tree = ast.parse(path.read_text())
    found = []
    top = set(ast.walk(tree)) - {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path.name}: imports are absolute"
            if node.module == "tinybuild":
                found += [(f"tinybuild.{alias.name}", node in top) for alias in node.names]
            else:
                found.append((node.module, node in top))
    return found


def inner(path: Path) -> list[str]:
    """The modules of the package that a file imports, also inside functions."""
    return [module for module, _ in imports(path) if module.split(".")[0] == "tinybuild"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_declared_arrows(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert imports(path) == []
        return
    here = room(path)
    assert here in ARROWS, f"{here} is no declared room"
    allowed = {here, *ARROWS[here][0].split()}
    for module in inner(path):
        if module != "tinybuild":
            assert module.split(".")[1] in allowed, f"{here} imports {module}"


def test_no_circles() -> None:
    """Between rooms as declared, and between modules as they are, imports in functions included."""
    TopologicalSorter({name: set(below.split()) for name, (below, _) in ARROWS.items()}).prepare()
    names = {
        ".".join(("tinybuild", *path.relative_to(PACKAGE).with_suffix("").parts)): path
        for path in MODULES
    }
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                below = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [b if b in names else node.module for b in below]
            else:
                continue
            graph[name] |= {module for module in found if module in names and module != name}
    for name, below in KNOWN:
        graph[name].discard(below)
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_inside_functions(path: Path) -> None:
    heavy = [m for m, at_once in imports(path) if at_once and m.split(".")[0] in HEAVY]
    assert heavy == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, "a module opens with one sentence that a user could read"
    assert text.splitlines()[0].endswith((".", "?"))


def test_only_progress_prints() -> None:
    calls = {
        room(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    }
    assert calls == {"progress"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_code_or_pickle_of_an_upstream_is_ever_loaded(path: Path) -> None:
    for module, _ in imports(path):
        assert module.split(".")[0] not in ("pickle", "dill", "cloudpickle", "joblib", "marshal")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "torch.load", "yaml.load", "yaml.unsafe_load")
            # False is said where a loader would otherwise ask on the terminal.
            said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert said.get("trust_remote_code", "False") == "False"


def test_the_face_is_small() -> None:
    assert len((PACKAGE.parent / "dodo.py").read_text().splitlines()) <= 40
