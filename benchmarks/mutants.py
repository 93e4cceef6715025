"""Are the tests worth anything? Small faults are put into the code; each must fail a test.

`python benchmarks/mutants.py 300 --seed 1` (from the repository): that many faults, drawn from all
that `faults` can make of the files in SUITES, one at a time in a copy, and the tests named beside
the file. It prints the survivors and the share that was caught.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ("tests/engine/test_state.py", "tests/engine/test_views.py", "tests/engine/test_plan.py")
CONFIG = ("tests/config/test_shrink.py", "tests/config/test_overrides.py")
TOKENS = ("tests/tokenizer/test_shrink.py", "tests/tokenizer/test_choose.py")
SUITES: Mapping[str, tuple[str, ...]] = {
    "engine/run.py": (*ENGINE, "tests/engine/test_attack.py", "tests/engine/test_doit.py"),
    "engine/plan.py": (*ENGINE, "tests/engine/test_attack.py", "tests/engine/test_order.py"),
    "engine/slices.py": ENGINE,
    "engine/receipts.py": (*ENGINE, "tests/engine/test_attack.py"),
    "files.py": ("tests/test_files.py", *ENGINE, "tests/engine/test_attack.py"),
    "reading.py": ("tests/test_reading.py",),
    "config/bounds.py": ("tests/config/test_bounds.py",),
    "config/shrink.py": CONFIG,
    "tokenizer/choose.py": TOKENS,
    "tokenizer/shrink.py": TOKENS,
    "validate/shrunk.py": ("tests/validate/test_make.py", "tests/validate/test_pairs.py"),
}
SECONDS = 600  # of one run of tests; a fault that hangs them is caught
COMPARISONS: Mapping[type, type] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


def changed(node: ast.AST) -> ast.AST | None:
    """The node with a fault in it; None where there is none to make."""
    other = copy.deepcopy(node)
    match other:
        case ast.Compare(ops=[op]):
            other.ops = [COMPARISONS[type(op)]()]
        case ast.BoolOp():
            other.op = ast.Or() if isinstance(other.op, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.Not()):
            return other.operand
        case ast.Constant(value=bool(value)):
            other.value = not value
        case ast.Constant(value=int(value)):
            other.value = value + 1
        case ast.Return(value=ast.expr()):
            other.value = ast.Constant(None)
        case ast.Expr(value=ast.Call()) | ast.Raise():
            return ast.Pass()
        case ast.IfExp():
            other.body, other.orelse = other.orelse, other.body
        case _:
            return None
    return other


def faults(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, what was changed, the text with it) of each fault that can be made of a module."""
    tree = ast.parse(text)
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign | ast.arg | ast.ImportFrom)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        made = None if id(node) in skipped else changed(node)
        if made is None or not isinstance(node, ast.expr | ast.stmt):
            continue
        lines = text.encode().splitlines(keepends=True)
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        after = lines[last][node.end_col_offset :]
        new = ast.unparse(made)
        new = f"({new})" if isinstance(made, ast.expr) else new
        lines[first : last + 1] = [lines[first][: node.col_offset] + new.encode() + after]
        mutant = b"".join(lines).decode()
        try:
            ast.parse(mutant)
        except SyntaxError:
            continue
        yield node.lineno, f"{ast.unparse(node)[:70]!r} -> {new[:70]!r}", mutant


def caught(place: Path, tests: tuple[str, ...]) -> bool:
    """Whether a test fails in the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=sorted(SUITES))
    asked = parser.parse_args()
    texts = {name: (ROOT / "tinybuild" / name).read_text() for name in asked.only}
    every = [(name, *fault) for name, text in texts.items() for fault in faults(text)]
    drawn = random.Random(asked.seed).sample(every, min(asked.count, len(every)))
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "copy"
        for top in ("tinybuild", "tests", "schemas", "recipes", "docs"):
            shutil.copytree(ROOT / top, place / top, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "dodo.py", "constraints.txt"):
            shutil.copy(ROOT / file, place / file)
        for number, (name, line, what, text) in enumerate(drawn, 1):
            (place / "tinybuild" / name).write_text(text)
            if not caught(place, SUITES[name]):
                survivors += 1
                print(f"survived: {name}:{line}: {what}", flush=True)
            (place / "tinybuild" / name).write_text(texts[name])
            print(f"{number - survivors} of {number} caught", flush=True)
    print(f"{len(every)} faults can be made; {len(drawn)} drawn, {survivors} survived")


if __name__ == "__main__":
    main()
