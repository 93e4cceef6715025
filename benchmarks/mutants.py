"""Are the tests worth anything? Small faults are put into the code; each must fail a test.

`python benchmarks/mutants.py 300 --seed 1` (from the repository): that many faults, the same number
from each of AREAS where it has so many, one at a time in a copy. Which tests run a line is asked of
coverage once (`--map FILE` keeps the answer); a fault gets those that run its line, the ones beside
its module first, and the first that fails ends it. All are forked from one process that has
imported the libraries and computed nothing: a fault costs what its tests do, no import of torch.
A doit that a test begins is not seen by coverage: where the others catch nothing, tests that begin
one are asked too, the quickest first (`late`). It prints each fault with the test that caught it. A
fault does not get tests that took more than `--seconds` when they were asked, nor late ones that
took more; type checking is asked last. `--of FILE` takes the faults that a file names.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = tuple(
    f"tests/{name}.py"
    for name in (
        *("engine/test_run", "engine/test_plan", "engine/test_views", "engine/test_code"),
        *("engine/test_receipts", "engine/test_state", "engine/test_attack", "engine/test_laws"),
        *("engine/test_order", "engine/test_clean", "engine/test_orphans", "recipe/test_lock"),
        *("test_files", "test_bundle", "test_wire"),
    )
)
REAL = ("tests/model/test_found.py", "tests/model/test_distinct.py")  # real configs, where they are
DOIT = tuple(f"tests/engine/test_{name}.py" for name in ("doit", "stored"))


@dataclass(frozen=True, kw_only=True)
class Area:
    """modules: of the package. tests: what may see their faults. late: what is asked where those
    catch nothing, whatever lines it runs: each begins a doit."""

    modules: Sequence[str]
    tests: Sequence[str]
    late: Sequence[str] = ()


AREAS: Mapping[str, Area] = {
    "run": Area(modules=["engine/run.py"], tests=ENGINE, late=DOIT),
    "plan": Area(modules=["engine/plan.py", "engine/slices.py"], tests=ENGINE, late=DOIT),
    "receipts": Area(modules=["engine/receipts.py"], tests=ENGINE, late=DOIT),
    "files": Area(modules=["files.py"], tests=ENGINE, late=DOIT),
    "tokenizer": Area(modules=["tokenizer/*.py"], tests=["tests/tokenizer"]),
    "config": Area(modules=["config/**/*.py"], tests=["tests/config", *REAL]),
    "validate": Area(modules=["validate/*.py"], tests=["tests/validate", *REAL]),
}
TIMES = itertools.count(10**9)  # of a module's file: bytecode is of a size and a second
MEMORY = 8 * 2**30  # which a fault may have a process take; more catches it
LIBRARIES = (
    *("torch", "transformers.modeling_utils", "transformers.generation.utils", "datasets"),
    *("transformers.models.llama.modeling_llama", "transformers.models.auto.modeling_auto"),
    *("hypothesis.stateful", "jsonschema", "sentencepiece", "tokenizers", "scipy", "jinja2"),
)
# Of dataclasses: they refuse what type checking refuses already. Of zip: it states what holds.
FLAGS = ("frozen", "kw_only", "strict")
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


# --- faults ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """lines: those that its place takes, the first and the last; text: the module with it."""

    area: str
    module: str
    lines: tuple[int, int]
    what: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.module}:{self.lines[0]}: {self.what}"


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
        case ast.Return(value=ast.Constant(value=None)):
            return None
        case ast.Return(value=ast.expr()):
            other.value = ast.Constant(None)
        case ast.Expr(value=ast.Call()) | ast.Raise():
            return ast.Pass()
        case ast.IfExp():
            other.body, other.orelse = other.orelse, other.body
        case _:
            return None
    return other


Place = tuple[str, str, ast.expr | ast.stmt]  # module, its text, and what may be changed


def places(module: str, text: str) -> Iterator[Place]:
    """All that a fault can be made of in a module."""
    tree = ast.parse(text)
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign | ast.arg | ast.ImportFrom)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        or (isinstance(node, ast.keyword) and node.arg in FLAGS)
        for inner in ast.walk(getattr(node, "annotation", None) or node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt) and id(node) not in skipped and changed(node):
            yield module, text, node


def mutated(area: str, place: Place) -> Mutant | None:
    """A module with a fault; None where it would not be Python."""
    module, text, node = place
    made = changed(node)
    assert made is not None
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
        return None
    what = f"{ast.unparse(node)[:70]!r} -> {new[:70]!r}"
    return Mutant(area=area, module=module, lines=(first + 1, last + 1), what=what, text=mutant)


def drawn(count: int, seed: int, areas: Collection[str]) -> Iterator[Mutant]:
    """As many of each area; what a small one lacks, the others share."""
    package, chance = ROOT / "tinybuild", random.Random(seed)
    every = {
        area: [
            place
            for pattern in AREAS[area].modules
            for path in sorted(package.glob(pattern))
            for place in places(path.relative_to(package).as_posix(), path.read_text())
        ]
        for area in areas
    }
    print({area: len(made) for area, made in every.items()}, "can be changed", flush=True)
    rest = count
    for n, area in enumerate(sorted(every, key=lambda area: len(every[area]))):
        wanted = rest // (len(every) - n)
        shuffled = chance.sample(every[area], len(every[area]))
        made = filter(None, (mutated(area, place) for place in shuffled))
        taken = list(itertools.islice(made, wanted))
        yield from taken
        rest -= len(taken)


# --- which tests run a line -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Map:
    """seconds: of each test that passes. runs: by module and line, the tests that run it. What a
    fixture runs, all tests of its file do; what an import runs, all that run anything of it."""

    seconds: Mapping[str, float]
    runs: Mapping[str, Mapping[str, Sequence[str]]]

    def tests(self, mutant: Mutant, most: float) -> Sequence[str]:
        """In the order in which they are run, of so many seconds: those that run its line; and of
        as many again, the late ones of its area."""
        known, (first, last) = self.runs.get(mutant.module, {}), mutant.lines
        chosen = {test for line in range(first, last + 1) for test in known.get(str(line), ())}
        chosen = chosen or {test for tests in known.values() for test in tests}
        late = {t for t in self.seconds if t.partition("::")[0] in AREAS[mutant.area].late}
        beside = Path(mutant.module).stem
        return [*self._taken(chosen - late, most, beside), *self._taken(late, most, beside)]

    def _taken(self, tests: Collection[str], most: float, beside: str) -> Iterator[str]:
        """Of so many seconds, the file beside the module first, then the quick files."""
        files = defaultdict[str, float](float)
        for test in tests:
            files[test.partition("::")[0]] += self.seconds[test]

        def order(test: str) -> tuple[bool, float, str, float]:
            file = test.partition("::")[0]
            return (beside not in Path(file).stem, files[file], file, self.seconds[test])

        spent = 0.0
        for test in sorted(tests, key=order):
            if not spent or spent + self.seconds[test] <= most:
                spent += self.seconds[test]
                yield test


class Tracer:
    """A plugin of pytest that has coverage say which test runs which line."""

    def __init__(self, place: Path) -> None:
        import coverage

        self.place, self.cover = place, coverage.Coverage(data_file=None, source_pkgs=["tinybuild"])
        self.seconds = defaultdict[str, float](float)
        self.failed = set[str]()
        self.cover.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.cover.switch_context(item.nodeid.partition("::")[0])
        try:
            return (yield)
        finally:
            self.cover.switch_context("")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self.cover.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.cover.switch_context(item.nodeid.partition("::")[0])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if not report.passed:
            self.failed.add(report.nodeid)

    def map(self) -> Map:
        self.cover.stop()
        data, package = self.cover.get_data(), self.place / "tinybuild"
        seconds = {test: s for test, s in self.seconds.items() if test not in self.failed}
        of_file = defaultdict[str, list[str]](list)
        for test in seconds:
            of_file[test.partition("::")[0]].append(test)

        def tests(contexts: Collection[str]) -> Sequence[str]:
            whole = {test for context in contexts for test in of_file.get(context, ())}
            return sorted(whole | {context for context in contexts if context in seconds})

        runs = {
            Path(file).relative_to(package).as_posix(): {
                str(line): tests(contexts)
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        return Map(seconds=seconds, runs=runs)


class Chosen:
    """A plugin of pytest: these tests, in this order. first: the one that failed. One that takes
    far longer (in seconds of the processor) than any of its file did ends the process: what they
    share is made by the first of them."""

    def __init__(self, tests: Sequence[str], seconds: Mapping[str, float]) -> None:
        self.order, self.first = {test: n for n, test in enumerate(tests)}, ""
        self.seconds = defaultdict[str, float](float)
        for test, took in seconds.items():
            file = test.partition("::")[0]
            self.seconds[file] = max(self.seconds[file], took)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.order),
            key=lambda item: self.order[item.nodeid],
        )

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        signal.setitimer(signal.ITIMER_PROF, 5 + 5 * self.seconds[item.nodeid.partition("::")[0]])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.first:
            self.first = report.nodeid


# --- a process for each ---------------------------------------------------------------------------


def copied(place: Path) -> None:
    for top in ("tinybuild", "tests", "schemas", "recipes", "docs"):
        shutil.copytree(ROOT / top, place / top, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "dodo.py", "constraints.txt"):
        shutil.copy(ROOT / file, place / file)
    if (shared := ROOT.parent / "shared").is_dir():  # real upstream files
        (place.parent / shared.name).symlink_to(shared)
    if (cache := ROOT / ".mypy_cache").is_dir():
        shutil.copytree(cache, place / cache.name)


def warmed(place: Path) -> None:
    """This process becomes one that tests of the copy can be forked from: its libraries are here,
    and nothing of the copy but the processes that its doits fork from."""
    os.chdir(place)
    os.environ["PYTHONPATH"] = str(place)
    sys.dont_write_bytecode = False
    sys.path[:0] = [str(place), str(place / "tests")]
    from tinybuild.workers import SETTINGS

    os.environ.update(SETTINGS)
    os.environ["TINYBUILD_STORE"] = "off"
    from kit import warm

    warm.kept()
    for name in [name for name in sys.modules if name.partition(".")[0] == "tinybuild"]:
        del sys.modules[name]
    sys.path.remove(str(place / "tests"))
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # else each fork goes through the libraries' objects, and copies them


def forked(work: Callable[[], Any], seconds: float) -> Any:
    """What `work` gives in a process of its own, as JSON; None where it does not come to an end."""
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        try:
            os.write(told, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(told)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with os.fdopen(heard, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(pid, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return json.loads(answer) if answer else None


def traced(place: Path, tests: Sequence[str]) -> Map:
    """Written to a file: it is more than a pipe holds."""
    path = place / "map.json"

    def work() -> int:
        plugin = Tracer(place)
        code = pytest.main([*OPTIONS, *tests], plugins=[plugin])
        path.write_text(json.dumps(vars(plugin.map())))
        return int(code)

    code = forked(work, 3600)
    if code not in (0, 1):  # those that fail are not asked
        raise SystemExit(f"the tests could not be traced: pytest ended with {code}")
    return Map(**json.loads(path.read_text()))


OPTIONS = ("-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=no")


def caught(tests: Sequence[str], known: Map) -> str:
    """The first of these tests that fails in the copy; "" where none does. A file is not read
    before those of the files before it passed."""

    def work() -> list[Any]:
        code, plugin = 0, Chosen(tests, known.seconds)
        for file in dict.fromkeys(test.partition("::")[0] for test in tests):
            code = int(pytest.main([*OPTIONS, "-x", file], plugins=[plugin]))
            if code:
                break
        return [code, plugin.first]

    answer = forked(work, 60 + 10 * sum(known.seconds[test] for test in tests))
    if answer is None:
        return "it does not come to an end"
    code, first = answer
    if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise SystemExit(f"pytest ended with {code} for {tests[:3]}")
    return "" if code == 0 else first or "it cannot be imported"


def refused(place: Path) -> str:
    """What type checking says of the copy; "" where it has nothing to say."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=place, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else f"mypy: {done.stdout.partition(chr(10))[0]}"


def tried(mutant: Mutant, tests: Sequence[str], known: Map, place: Path) -> str:
    """What catches it; "" where nothing does."""
    path = place / "tinybuild" / mutant.module
    text = path.read_text()
    path.write_text(mutant.text)
    os.utime(path, (next(TIMES),) * 2)
    try:
        return (caught(tests, known) if tests else "") or refused(place)
    finally:
        path.write_text(text)
        os.utime(path, (next(TIMES),) * 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(AREAS), choices=list(AREAS))
    parser.add_argument("--seconds", type=float, default=60, help="of tests that a fault gets")
    parser.add_argument("--of", type=Path, help="a file that names faults, a line each")
    parser.add_argument("--map", type=Path, help="which tests run which line; made if missing")
    asked = parser.parse_args()
    where = asked.map and asked.map.resolve()
    names = set(asked.of.read_text().splitlines()) if asked.of else None
    faults = [m for m in drawn(asked.count, asked.seed, asked.only) if not names or m.name in names]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "copy"
        copied(place)
        warmed(place)
        if where and where.exists():
            known = Map(**json.loads(where.read_text()))
        else:
            areas = [AREAS[area] for area in asked.only]
            tests = dict.fromkeys(test for area in areas for test in (*area.tests, *area.late))
            known = traced(place, [*tests])
            if where:
                where.write_text(json.dumps(vars(known)))
        control = sorted(
            {test for mutant in faults[::10] for test in known.tests(mutant, asked.seconds)[:5]}
        )
        if control and (failed := caught(control, known)):
            raise SystemExit(f"fails without any fault: {failed}")
        if wrong := refused(place):  # its cache makes the next ones quick
            raise SystemExit(f"is refused without any fault: {wrong}")
        begun = time.monotonic()
        for number, mutant in enumerate(faults, 1):
            by = tried(mutant, known.tests(mutant, asked.seconds), known, place)
            survivors += not by
            print(f"{'caught' if by else 'SURVIVED'}\t{mutant.name}\t{by}", flush=True)
            print(f"{number - survivors} of {number} caught", file=sys.stderr, flush=True)
        took = time.monotonic() - begun
    print(f"{len(faults)} drawn, {survivors} survived, {took:.0f} s")


if __name__ == "__main__":
    main()
