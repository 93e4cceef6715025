"""The house is as docs/design.md says: declared arrows, no circles, one place for each concern."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from kit.files import ROOT

PACKAGE = ROOT / "tinybuild"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"torch", "transformers", "datasets", "tokenizers", "huggingface_hub", "pyarrow", "numpy"}
PICKLES = {"pickle", "dill", "cloudpickle", "joblib", "marshal"}
UNSAFE = {"eval", "exec", "yaml.load", "yaml.unsafe_load"}
VAGUE = {"utils", "util", "common", "base", "core", "manager", "helpers", "misc"}


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported name: `module` as written, `name` what is taken of it ("" for `import x`)."""

    module: str
    name: str
    at_once: bool  # when the module itself is imported, not when a function runs


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path: Path) -> tuple[Import, ...]:
    tree = parsed(path)
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(module=a.name, name="", at_once=node not in late) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            assert node.module is not None
            found += [
                Import(module=node.module, name=a.name, at_once=node not in late)
                for a in node.names
            ]
    return tuple(found)


def dotted(path: Path) -> str:
    parts = ("tinybuild", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


NAMES = {dotted(path): path for path in MODULES}


def inner(path: Path) -> set[str]:
    """The modules of the package that a file imports."""
    found = set()
    for one in imports(path):
        if one.module.split(".")[0] == "tinybuild":
            below = f"{one.module}.{one.name}"
            found.add(below if below in NAMES else one.module)
    return found - {dotted(path)}


def room(module: str) -> str:
    return module.split(".")[1]


def declared() -> dict[str, set[str]]:
    """The table of rooms in docs/design.md: room -> rooms that it may import."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]*)\| (.+) \|$", text, flags=re.MULTILINE)
    assert all(sentence.strip() for _, _, sentence in rows)
    assert len({name for name, *_ in rows}) == len(rows), "a room stands twice in docs/design.md"
    return {name: set(below.split()) for name, below, _ in rows}


every_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix()
)


def test_each_room_is_declared() -> None:
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py"}
    rooms |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms - {"__init__"} == set(declared()), "docs/design.md names each room, and no other"
    assert not rooms & VAGUE


def test_each_declared_arrow_is_used() -> None:
    used: dict[str, set[str]] = {name: set() for name in declared()}
    for name, path in NAMES.items():
        if name != "tinybuild":
            used[room(name)] |= {room(m) for m in inner(path) if m != "tinybuild"} - {room(name)}
    assert used == declared(), "docs/design.md and the imports differ"


@every_module
def test_only_declared_arrows(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert {room(module) for module in inner(path)} == {"use"}
        at_once = {one.module for one in imports(path) if one.at_once}
        assert at_once == {"__future__", "typing"}, (
            "it is light: `import tinybuild` is in each test"
        )
        return
    here = room(dotted(path))
    for module in inner(path) - {"tinybuild"}:
        allowed = {here, *declared()[here]}
        assert room(module) in allowed, f"{here} imports {module}; see docs/design.md"


def annotated(path: Path) -> list[ast.expr]:
    """The annotations of all parameters in a file."""
    functions = [n for n in ast.walk(parsed(path)) if hasattr(n, "args") and hasattr(n, "body")]
    given = [
        parameter
        for function in functions
        for parameter in ast.walk(function.args)  # type: ignore[attr-defined]
        if isinstance(parameter, ast.arg)
    ]
    return [parameter.annotation for parameter in given if parameter.annotation is not None]


def test_any_is_rare() -> None:
    """Only where a library hands us one. An alias of Any counts as Any."""
    aliases = {
        node.targets[0].id
        for path in MODULES
        for node in parsed(path).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and re.search(r"\bAny\b", ast.unparse(node.value))
    }
    pattern = re.compile(rf"\b({'|'.join(sorted({'Any', *aliases}))})\b")
    every = [ast.unparse(one) for path in MODULES for one in annotated(path)]
    loose = [one for one in every if pattern.search(one)]
    assert len(every) > 2000
    assert len(loose) <= 0.04 * len(every), sorted(set(loose))


def test_no_circles() -> None:
    """Between rooms, and between modules, imports inside functions included."""
    TopologicalSorter(declared()).prepare()
    graph = {name: inner(path) for name, path in NAMES.items()}
    TopologicalSorter(graph).prepare()


@every_module
def test_heavy_libraries_are_imported_inside_functions(path: Path) -> None:
    top = {one.module.split(".")[0] for one in imports(path) if one.at_once}
    assert not top & HEAVY


@every_module
def test_every_module_says_what_it_is(path: Path) -> None:
    text = ast.get_docstring(parsed(path))
    assert text, "a module opens with one sentence that a user could read"
    assert text.splitlines()[0].endswith((".", "?"))


def test_only_progress_prints() -> None:
    calls = {
        name
        for name, path in NAMES.items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    }
    assert calls == {"tinybuild.progress"}


@every_module
def test_no_code_or_pickle_of_an_upstream_is_ever_loaded(path: Path) -> None:
    assert not {one.module.split(".")[0] for one in imports(path)} & PICKLES
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in UNSAFE
            # False is said where a loader would otherwise ask on the terminal.
            said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if ast.unparse(node.func) == "torch.load":
                assert said.get("weights_only") == "True", "it unpickles nothing but tensors"
                assert dotted(path) == "tinybuild.validate.foreign"
            assert said.get("trust_remote_code", "False") == "False"


def test_the_face_is_small() -> None:
    assert len((ROOT / "dodo.py").read_text().splitlines()) <= 40


def test_the_types_are_shipped() -> None:
    """PEP 561: who installs the wheel is checked against our types."""
    assert (PACKAGE / "py.typed").is_file()
    wheel = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert wheel["targets"]["wheel"]["packages"] == ["tinybuild"]
    assert "exclude" not in wheel["targets"]["wheel"]
