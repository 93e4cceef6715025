"""The house is as the design says: imports go down only, one place for each concern."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tinybuild"

# Imports go down only; rooms on the same floor are strangers.
FLOORS = {
    "errors": 0,
    "files": 1,
    "ids": 1,
    "marked": 1,
    "parts": 1,
    "progress": 1,
    "workers": 1,
    "blank": 1,
    "source": 2,
    "config": 2,
    "tokenizer": 2,
    "dataset": 2,
    "processor": 2,
    "inputs": 2,
    "bundle": 2,
    "heads": 2,
    "model": 3,
    "validate": 3,
    "pack": 3,
    "recipe": 4,
    "lock": 4,
    "plan": 5,
    "run": 6,
    "architectures": 7,
    "unpack": 7,
    "tasks": 8,
}
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


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert imports(path) == []
        return
    here = room(path)
    assert here in FLOORS, f"{here} has no floor"
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] == "tinybuild" and len(parts) > 1 and parts[1] != here:
            assert FLOORS[parts[1]] < FLOORS[here], f"{here} imports {module}"


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
