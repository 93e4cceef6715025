"""Whatever happens to a zoo between builds, the next build leaves what a build from nothing leaves.

Stages are stood in for by one that writes down all it was given (`Echo`): anything that a task
sees and does not depend on shows as stale bytes. Three recipes are made from one another, three
deep, with configs, tokenizers and rows of different ones; all is built by one task after another
and by doit's threads, also beside a store, and from upstreams that lie on a Hub that moves.
`TINYBUILD_STEPS` says how many steps the slow test takes, `TINYBUILD_SEED` which ones (printed).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.reporter import ZeroReporter
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from kit import rights
from kit.files import contents
from kit.hub import Hub, connected
from kit.zoo import make, snapshot

from tinybuild import source, wire
from tinybuild.engine.orphans import ARCHIVE, clean, orphans
from tinybuild.engine.plan import Zoo as Planned
from tinybuild.engine.plan import load
from tinybuild.engine.run import Builder
from tinybuild.engine.stored import Stored
from tinybuild.facts import ModelFacts, TokenizerFacts
from tinybuild.files import Memo, archive, digest, explain, remove, sha256
from tinybuild.recipe import Cache
from tinybuild.store.place import Place
from tinybuild.workers import Job, Limits, Pool, Sort

HEAD = "version: 1\nsummary: of a chain\nseed: 0\n"
MODEL = "model: {architecture: LlamaForCausalLM}\n"
RECIPES = {
    "up": HEAD
    + "source: {path: ../from}\ndataset: {samples: 3, source: {path: ../rows}}\n"
    + "tokenizer: {method: truncate, vocab_size: 300}\n"
    + MODEL,
    "mid": HEAD
    + "source: {recipe: up}\ndataset: {samples: 2, source: {recipe: up}}\n"
    + "tokenizer: {method: truncate, vocab_size: 200}\n"
    + MODEL,
    "low": HEAD
    + "source: {recipe: mid}\ndataset: {samples: 1, source: {recipe: mid}}\n"
    + "tokenizer: {method: truncate, vocab_size: 100, source: {recipe: up}}\n"
    + MODEL,
}
EDITS = (
    ("samples: 1", "samples: 2"),
    ("seed: 0", "seed: 1"),
    ("vocab_size: 100", "vocab_size: 99"),
    ("revision: main", "revision: side"),
)
# Those of a zoo whose upstreams lie on a Hub.
FAR = {
    "far": HEAD
    + "source: {hub: owner/name, revision: main}\n"
    + "dataset: {samples: 2, source: {hub: owner/rows, revision: main}}\n"
    + "tokenizer: {method: truncate, vocab_size: 200}\n"
    + MODEL,
    "near": HEAD
    + "source: {recipe: far}\ndataset: {samples: 1, source: {recipe: far}}\n"
    + "tokenizer: {method: truncate, vocab_size: 100}\n"
    + MODEL,
}
REPOS = {"source": "owner/name", "dataset": "datasets/owner/rows"}  # by slot
REFS = ("main", "side")
FILES = ("from/config.json", "from/tokenizer.json", "from/generation_config.json", "rows/a.jsonl")
MADE = {
    "dataset": ("README.md", "data/train-00000-of-00001.parquet"),
    "tokenizer": ("tokenizer.json", "tokenizer_config.json"),
    "model": ("config.json", "generation_config.json", "model.safetensors", "config_changes.json"),
    "validate": ("report.json",),
}
FACTS = {
    "dataset": ("rows", "columns", "configs", "source"),
    "tokenizer": wire.keys(TokenizerFacts),
    "model": wire.keys(ModelFacts),
    "validate": ("checks", "bytes"),
    "pack": ("bytes", "tar"),
}


class Echo(Pool):
    """Stages that leave, in each file and fact, the digest of all that they were given. `falls`:
    the number of the call that does not come to its end, and with what."""

    def __init__(self, falls: tuple[int, BaseException] | None = None) -> None:
        super().__init__()
        self.calls, self.falls = 0, falls
        self.alone = threading.Lock()  # what a worker's process is to a stage: no other's state

    def call(
        self, function: str, argument: object, limits: Limits | None = None, sort: Sort = "light"
    ) -> object:
        assert isinstance(argument, Job)
        job, stage = argument, argument.task.partition(":")[0]
        self.calls += 1
        if stage == "fetch":
            with self.alone:
                return wire.dump(source.fetch(job))
        given = digest([*job_seen(job)])
        for name in self.leaves(stage, job):
            (job.out / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(ARCHIVE):
                top = name.removesuffix(ARCHIVE)
                archive(job.out / top, job.out / name, top)
            else:
                (job.out / name).write_text(f"{given} {name}\n")
            if self.falls is not None and self.calls == self.falls[0]:
                raise self.falls[1]
        return {fact: f"{given} {fact}" for fact in FACTS[stage]}

    def leaves(self, stage: str, job: Job) -> Iterator[str]:
        if stage == "pack":
            name = job.task.partition(":")[2]
            yield from (f"{name}/{file}" for file in ("config.json", "recipe.yaml", "SHA256SUMS"))
            yield from (f"{name}/{file}" for file in ("recipe.lock.json", "provenance.json"))
            yield f"{name}{ARCHIVE}"
        yield from MADE.get(stage, ())


def job_seen(job: Job) -> Iterator[object]:
    """All that a stage could read of its job, as JSON. Its recipe's name is for pack alone: what
    others make is made once for all who ask the same."""
    stage = job.task.partition(":")[0]
    task = job.task if stage == "pack" else stage
    yield [task, wire.dump(job.settings), wire.dump(job.facts), job.seed]
    yield [wire.dump(job.upstream), wire.dump(job.versions)]
    for name, place in sorted(job.inputs.items()):
        if place.is_dir():
            yield [name, sorted((file, data.hex()) for file, data in contents(place).items())]
        else:
            yield [name, sha256(place)]


def built(root: Path, pool: Pool, store: Path | None = None, workers: int = 1) -> None:
    """Each task that must run, in order, as doit does it; by doit itself where there are more
    workers than one."""
    memo = Memo(root / "build/.memo.json")
    zoo = load(root, memo, Cache(root / "build/.recipes.json", memo))
    assert not zoo.broken, [str(one.fault) for one in zoo.broken]
    builder = Builder(root, memo, pool)
    builder.stored = Stored(Place(folder=store) if store is not None else None, pool)
    if workers > 1:
        side_by_side(zoo, builder, workers)
    for name in zoo.one_by_one(["zoo"]) if workers == 1 else ():
        for task in zoo.tasks_of(name) if name in zoo.recipes else ():
            if builder.reasons(task):
                builder.perform(task, lambda _: None)
    for orphan in orphans(zoo):
        for stays in clean(root, orphan):  # foreign, or without a receipt that says whose it is
            remove(root / stays)
    with contextlib.suppress(PermissionError):  # as a command does: it is read anew next time
        memo.save()


def side_by_side(zoo: Planned, builder: Builder, workers: int) -> None:
    """`doit -n WORKERS`: its threads, each waiting for a stage."""
    wrong = list[BaseException]()

    def perform(name: str) -> bool:
        try:
            builder.perform(zoo.tasks[name], lambda _: None)
        except Exception as error:  # noqa: BLE001 - what it is, the caller says
            wrong.append(error)
        return not wrong

    def up_to_date(name: str) -> bool:
        return not builder.reasons(zoo.tasks[name])

    def tasks() -> Iterator[Mapping[str, object]]:
        for task in zoo.tasks.values():
            yield {
                "basename": task.stage,
                "name": task.recipe.name,
                "actions": [functools.partial(perform, task.name)],
                "task_dep": list(task.before),
                "uptodate": [functools.partial(up_to_date, task.name)],
                "io": {"capture": False},  # two threads would leave each other's sys.stdout
            }

    told = {"backend": "sqlite3", "dep_file": ":memory:", "par_type": "thread"}
    config = {**told, "reporter": ZeroReporter, "verbosity": 0}
    face = DoitMain(ModuleTaskLoader({"DOIT_CONFIG": config, "task_zoo": tasks}))
    code = face.run(["run", "-n", str(workers)])
    if wrong:
        raise wrong[0]
    assert code == 0, f"doit ended with {code}"


def left(root: Path) -> Mapping[str, bytes]:
    """Artefacts and papers of a zoo."""
    return {
        f"{top}/{name}": data
        for top in ("build", "dist")
        for name, data in snapshot(root / top).items()
        if top == "dist" or name.count("/") > 1  # beside the stages' folders are notes only
    }


def from_nothing(root: Path) -> Mapping[str, bytes]:
    """What a build of the same recipes, locks and sources leaves that has nothing but them."""
    tops = [contents(root / top) for top in ("from", "rows", "recipes")]
    asked = digest([{n: d.hex() for n, d in top.items()} for top in tops])
    if asked not in KNOWN:
        KNOWN[asked] = _from_nothing(root)
    return KNOWN[asked]


KNOWN = dict[str, Mapping[str, bytes]]()
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # thousands of small files


def _from_nothing(root: Path) -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        other = Path(folder) / "zoo"
        for top in ("from", "rows", "recipes"):
            shutil.copytree(root / top, other / top)
        built(other, Echo())
        assert {name: pins(root, name) for name in FAR} == {name: pins(other, name) for name in FAR}
        return left(other)


def pins(root: Path, name: str) -> Mapping[str, Mapping[str, object]]:
    """What a lock holds, by slot; nothing where there is none that can be read."""
    try:
        told = json.loads((root / f"recipes/{name}.lock.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return dict(told["pins"])


def zoo(root: Path) -> Path:
    make(root, **RECIPES)
    for name in FILES:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text('{"text": "a", "model_type": "llama"}\n')
    return root


def deleted(path: Path) -> None:
    path.unlink()


def altered(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def flipped(path: Path) -> None:
    """Other bytes of the same number, and the same time."""
    data, info = path.read_bytes(), path.stat()
    path.write_bytes(data[:-2] + b"~" + data[-1:])
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def linked(path: Path) -> None:
    """A link to the same bytes elsewhere."""
    aside = path.with_name(f".aside-{path.name}")
    path.rename(aside)
    path.symlink_to(aside.name)


def joined(path: Path) -> None:
    path.with_name("foreign.txt").write_text("mine")


def aged(path: Path) -> None:
    """A clock that was moved."""
    os.utime(path, (0, 4_000_000_000))


def unsayable(path: Path) -> None:
    """JSON that Python reads and nobody can write."""
    path.write_bytes(
        path.read_bytes().replace(b'"seed": ', b'"seed": NaN, "more": "\\ud800", "was": ')
    )


DAMAGES: tuple[Callable[[Path], None], ...] = (*(deleted, altered, flipped, emptied, joined, aged),)


class Zoo(RuleBasedStateMachine):
    stores = False
    recipes: Mapping[str, str] = RECIPES

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.root = zoo(Path(self.folder.name) / "zoo")
        self.store = Path(self.folder.name) / "store" if self.stores else None
        self.before: list[tuple[Path, bytes]] = []
        self.steps = 0

    @invariant()
    def every_third(self) -> None:
        """Among the rules alone builds would be rare: hypothesis leaves out some in each zoo."""
        self.steps += 1
        if self.steps % 3 == 0:
            self.compare(1 + self.steps % 2)

    def teardown(self) -> None:
        try:
            self.compare(1)
        finally:
            self.folder.cleanup()

    def write(self, path: Path, text: bytes) -> None:
        self.before.append((path, path.read_bytes()))
        path.write_bytes(text)

    @rule(name=st.sampled_from(FILES), letter=st.sampled_from("abc"), same=st.booleans())
    def edit_source(self, name: str, letter: str, same: bool) -> None:
        """Also to the same size, at the same time."""
        path = self.root / name
        info = path.stat()
        self.write(path, f'{{"text": "{letter}", "model_type": "llama"}}\n'.encode())
        if same:
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    @rule(number=st.integers(0, 9), edit=st.sampled_from(EDITS), back=st.booleans())
    def edit_recipe(self, number: int, edit: tuple[str, str], back: bool) -> None:
        path = self.root / f"recipes/{sorted(self.recipes)[number % len(self.recipes)]}.yaml"
        if not path.is_file():  # it has another name
            return
        old, new = reversed(edit) if back else edit
        self.write(path, path.read_bytes().replace(old.encode(), new.encode()))

    @rule()
    def revert(self) -> None:
        if self.before:
            path, data = self.before.pop()
            path.write_bytes(data)

    @rule()
    def rename(self) -> None:
        """The last recipe gets another name, or its old one back."""
        old, new = (self.root / f"recipes/{name}.yaml" for name in ("low", "leaf"))
        if old.exists() and new.exists():  # the old text was put back
            new.unlink()
        else:
            old, new = (old, new) if old.exists() else (new, old)
            old.rename(new)

    @rule(number=st.integers(0, 10**6), damage=st.sampled_from(DAMAGES))
    def damage(self, number: int, damage: Callable[[Path], None]) -> None:
        """An artefact, a paper, a memo, a lock or an entry of the store is not what it was."""
        paths = [*(self.root / "build").rglob("*"), *(self.root / "dist").rglob("*")]
        paths += [*(self.root / "recipes").glob("*.lock.json")]
        paths += self.store.rglob("*") if self.store is not None else []
        paths += (self.root.parent / "cache").rglob("*")  # of the Hub's client
        files = sorted(path for path in paths if path.is_file() and not path.is_symlink())
        if files:
            damage(files[number % len(files)])

    @rule(number=st.integers(0, 10**6))
    def remove(self, number: int) -> None:
        folders = sorted(p for p in (self.root / "build").glob("*/*") if p.is_dir())
        folders += [path for path in (self.root / "dist").glob("*") if path.is_dir()]
        if folders:
            shutil.rmtree(folders[number % len(folders)])

    @rule(name=st.sampled_from(sorted(RECIPES)), stage=st.sampled_from(sorted(MADE)))
    def killed(self, name: str, stage: str) -> None:
        """A build that could not clean up after itself."""
        half = self.root / f"build/{name}/.{stage}.k1ll3d/made"
        half.mkdir(parents=True, exist_ok=True)
        (half / "config.json").write_text("{")

    @rule(call=st.integers(1, 18), full=st.booleans())
    def interrupted(self, call: int, full: bool) -> None:
        """Ctrl-C, or a full disk, in the middle of a stage."""
        self.mend()
        end: BaseException = OSError(28, "No space left on device") if full else KeyboardInterrupt()
        try:
            built(self.root, Echo((call, end)), self.store)
        except KeyboardInterrupt:
            assert not full
        except Exception as fault:  # noqa: BLE001 - the assertion says which it may be
            assert "the disk is full" in str(fault)  # noqa: PT017

    @rule(number=st.integers(0, 10**6))
    def forbidden(self, number: int) -> None:
        """A folder that may not be written to, while a build runs."""
        self.mend()
        tops = [self.root / name for name in ("build", "dist", "recipes")]
        folders = [self.root, *(path for top in tops for path in (top, *top.rglob("*")))]
        folders = sorted(path for path in folders if path.is_dir() and not path.is_symlink())
        with rights.closed(folders[number % len(folders)]), rights.held():
            try:
                built(self.root, Echo(), self.store)
            except PermissionError as error:  # removing an orphan: the command says it so
                assert "you may not write there" in str(explain(error))  # noqa: PT017
            except Exception as fault:  # noqa: BLE001 - the assertion says which it may be
                assert "you may not write there" in str(fault)  # noqa: PT017

    @rule(workers=st.sampled_from((1, 2)))
    def build(self, workers: int) -> None:
        self.compare(workers)

    def compare(self, workers: int) -> None:
        self.mend()
        pinned = self.pinned()
        built(self.root, Echo(), self.store, workers)
        assert self.held() == pinned
        now, wanted = left(self.root), from_nothing(self.root)
        assert sorted(now) == sorted(wanted)
        assert [name for name in now if now[name] != wanted[name]] == []
        again = Echo()
        built(self.root, again, self.store)
        assert again.calls == 0, "nothing is left to do"

    def mend(self) -> None:
        """Do what a refusal of a recipe says; there is none."""

    def pinned(self) -> Mapping[str, object]:
        """The commits that a build must take, by slot."""
        return {}

    def held(self) -> Mapping[str, object]:
        """Those that it took."""
        return {}


class Shared(Zoo):
    """The same beside a store, which is damaged like the rest."""

    stores = True


class Far(Zoo):
    """The same with upstreams on a Hub that moves: what a lock holds stays, whatever moved; where
    it does not hold, it is what the Hub has now."""

    recipes: Mapping[str, str] = {**RECIPES, **FAR}

    def __init__(self) -> None:
        super().__init__()
        for name, text in FAR.items():
            (self.root / f"recipes/{name}.yaml").write_text(text)
        self.net = contextlib.ExitStack()
        patch = self.net.enter_context(pytest.MonkeyPatch.context())
        self.hub: Hub = self.net.enter_context(connected(self.root.parent, patch, "hf_a"))
        for ref in REFS:
            self.push(ref, "a")

    def teardown(self) -> None:
        with self.net:
            super().teardown()

    @rule(ref=st.sampled_from(REFS), letter=st.sampled_from("abc"))
    def push(self, ref: str, letter: str) -> None:
        text = f'{{"text": "{letter}", "model_type": "llama"}}\n'.encode()
        model = {name.removeprefix("from/"): text for name in FILES[:3]}
        self.hub.repo(REPOS["source"]).commit(model, ref)
        self.hub.repo(REPOS["dataset"]).commit({"a.jsonl": text * 5}, ref)

    def mend(self) -> None:
        """A lock that cannot be read is refused by its name; have it written anew, as is said."""
        memo = Memo(self.root / "build/.memo.json")
        for one in load(self.root, memo, Cache(self.root / "build/.recipes.json", memo)).broken:
            (finding,) = one.fault.findings
            assert finding.where == f"{one.name}.lock.json"
            assert finding.hint == f"doit update {one.name} writes it anew"
            (self.root / f"recipes/{finding.where}").unlink()

    def pinned(self) -> Mapping[str, object]:
        asked = yaml.safe_load((self.root / "recipes/far.yaml").read_bytes())
        wishes = {"source": asked["source"], "dataset": asked["dataset"]["source"]}
        locked = pins(self.root, "far")
        made = dict[str, object]()
        for slot, wish in wishes.items():
            held = locked[slot]["wish"]["revision"] if slot in locked else None
            head = self.hub.repo(REPOS[slot]).refs[wish["revision"]]
            made[slot] = locked[slot]["commit"] if held == wish["revision"] else head
        return made

    def held(self) -> Mapping[str, object]:
        return {slot: pin["commit"] for slot, pin in pins(self.root, "far").items()}


def walk(steps: int, number: int, kind: type[Zoo] = Zoo) -> Counter[str]:
    """At least so many steps, in zoos of at most 60; how many builds were compared. Each zoo is
    built at the end of its steps, too. The first that hypothesis makes is always the simplest: the
    same step again and again."""
    each = min(steps, 60)
    limits = settings(
        max_examples=1 + -(-steps // each),
        stateful_step_count=each,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to look for fewer steps that fail would take an hour
        suppress_health_check=list(HealthCheck),
    )
    walked = Counter[str]()

    class Counted(kind):  # type: ignore[misc, valid-type]
        def compare(self, workers: int) -> None:
            super().compare(workers)
            walked[f"builds by {workers}"] += 1

        def teardown(self) -> None:
            super().teardown()
            walked["steps"] += self.steps

    seed(number)(Counted)
    run_state_machine_as_test(Counted, settings=limits)
    return walked


@pytest.mark.parametrize("kind", [Zoo, Shared, Far])
def test_a_walk_of_a_zoo(kind: type[Zoo]) -> None:
    walked = walk(12, 18, kind)
    assert walked["steps"] >= 24
    assert min(walked["builds by 1"], walked["builds by 2"]) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Zoo, Shared, Far])
def test_a_long_walk_of_a_zoo(kind: type[Zoo]) -> None:
    number = int(os.environ.get("TINYBUILD_SEED") or random.randrange(2**32))
    print(f"TINYBUILD_SEED={number}")  # noqa: T201 - to walk it again
    print(walk(int(os.environ.get("TINYBUILD_STEPS", "300")), number, kind))  # noqa: T201


@pytest.mark.parametrize("paper", ["receipt.json", "provenance.json"])
@pytest.mark.parametrize("damage", [altered, flipped, unsayable])
def test_a_paper_is_as_it_was_written(
    tmp_path: Path, paper: str, damage: Callable[[Path], None]
) -> None:
    """Also where it says the same: a space at its end made no task run again."""
    root = zoo(tmp_path / "zoo")
    built(root, Echo())
    damage(root / f"build/up/validate/{paper}")
    built(root, Echo())
    assert left(root) == from_nothing(root)


@pytest.mark.parametrize("name", FILES)
def test_a_source_of_the_first_of_three(tmp_path: Path, name: str) -> None:
    """Any edit, three recipes away from what is made of it."""
    root = zoo(tmp_path / "zoo")
    built(root, Echo())
    (root / name).write_text('{"text": "other", "model_type": "llama"}\n')
    built(root, Echo())
    assert left(root) == from_nothing(root)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit[0].partition(":")[0])
def test_an_edit_of_any_of_three(tmp_path: Path, recipe: str, edit: tuple[str, str]) -> None:
    root = zoo(tmp_path / "zoo")
    built(root, Echo())
    path = root / f"recipes/{recipe}.yaml"
    path.write_text(path.read_text().replace(*edit).replace("samples: 3", "samples: 2"))
    built(root, Echo())
    assert left(root) == from_nothing(root)
