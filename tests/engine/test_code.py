"""The code that a stage depends on is what it imports: by its text, by its syntax, and when run."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinybuild.engine import code
from tinybuild.engine.stages import STAGES

MODULES = sorted(code.PACKAGE.rglob("*.py"))


def known() -> set[str]:
    names = (".".join(("tinybuild", *p.relative_to(code.PACKAGE).parts)) for p in MODULES)
    return {name.removesuffix(".py").removesuffix(".__init__") for name in names}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(code.PACKAGE)))
def test_the_imports_of_a_text_are_those_of_its_syntax(path: Path) -> None:
    modules, found = known(), set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "tinybuild"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinybuild"):
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                found.add(below if below in modules else str(node.module))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = re.fullmatch(r"(tinybuild[\w.]*):\w+", node.value)
            found |= {named[1]} if named else set()
    assert set(code.imported(path.read_bytes(), dict.fromkeys(modules))) == found


def test_every_stage_starts_somewhere_and_data_files_count() -> None:
    files = {stage: code.closure(STAGES[stage].function) for stage in STAGES}
    assert all(files.values())
    assert "corpus/corpus.jsonl" in files["dataset"]
    assert "corpus/corpus.jsonl" in files["tokenizer"]
    assert "config/exceptions.json" in files["model"]
    assert {f"tokenizer/{name}.py" for name in ("shrink", "train", "scratch")} <= {
        *files["tokenizer"]
    }
    assert "tokenizer/train.py" not in files["validate"]
    assert "__init__.py" in files["pack"]  # the card tells the version
    assert "__init__.py" not in files["model"]
    for stage, found in files.items():
        assert not [f for f in found if f.startswith(("engine/", "cli/", "recipe/"))], stage


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_loads_is_in_its_closure(stage: str) -> None:
    """In a fresh process: its module, and what its modules import inside functions."""
    closure = code.closure(STAGES[stage].function)
    inner = [f"tinybuild/{path}".removesuffix(".py").removesuffix("/__init__") for path in closure]
    names = [name.replace("/", ".") for name in inner if not name.endswith((".json", ".jsonl"))]
    text = (
        "import importlib, json, sys\n"
        f"for name in {sorted(names)}: importlib.import_module(name)\n"
        "files = [m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'tinybuild']\n"
        "print(json.dumps(files))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True)
    loaded = {Path(f).relative_to(code.PACKAGE).as_posix() for f in json.loads(done.stdout)}
    assert loaded - {"__init__.py"} <= set(closure)


def test_one_edit_touches_only_what_imports_it(tmp_path: Path) -> None:
    package = Path(shutil.copytree(code.PACKAGE, tmp_path / "tinybuild"))
    before = {stage: code.closure(STAGES[stage].function, package) for stage in STAGES}
    for path in ("pack/__init__.py", "config/exceptions.json"):
        with (package / path).open("a") as file:
            file.write("\n")
    code._read.cache_clear()
    after = {stage: code.closure(STAGES[stage].function, package) for stage in STAGES}
    code._read.cache_clear()
    assert after["pack"] != before["pack"]
    assert after["model"] != before["model"]
    assert after["tokenizer"] == before["tokenizer"]
    assert set(after["pack"]) == set(before["pack"])


def test_what_scripts_call_is_code_of_no_stage() -> None:
    """pack imports the package for its version."""
    files = code.closure("tinybuild.pack:make")
    assert "__init__.py" in files
    assert not [file for file in files if file.startswith(("use/", "catalog/"))]
