"""A task: in which process it is done, what is noted where it fails, and what it leaves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from engine.test_views import FACTS, UP, Pretend, build, local, zoo
from kit.zoo import FULL, LIGHT, edit, make

from tinybuild.engine import run
from tinybuild.engine.plan import Zoo
from tinybuild.engine.run import Builder
from tinybuild.engine.stored import Stored
from tinybuild.errors import BuildFault, Fault
from tinybuild.files import Memo, digest
from tinybuild.store.place import Place
from tinybuild.workers import Bug, Job, Limits, Pool


class Failing(Pretend):
    """Its stages leave a report, and then fail so."""

    def __init__(self, failure: BaseException, first: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.failure, self.first, self.stopped = failure, first, 0

    def made(self, job: Job) -> object:
        (job.out / run.REPORT).write_text('{"measured": 3}')
        self.first()
        raise self.failure

    def stop(self) -> None:
        self.stopped += 1


def rows(tmp_path: Path) -> tuple[Path, Zoo]:
    root = make(tmp_path / "zoo", x=LIGHT)
    return root, zoo(root)


def test_each_task_has_its_process_and_its_limits(tmp_path: Path) -> None:
    bounded = LIGHT + "limits: {seconds: 7, memory: 2GB}\n"
    far = "version: 1\nsummary: s\nsource: {hub: org/full}\nmodel: {}\n"
    tasks = zoo(make(tmp_path / "zoo", full=FULL, light=bounded, far=far)).tasks
    sorts = {name: run.sort(tasks[name]) for name in ("fetch:full", "model:full", "dataset:light")}
    assert sorts == {"fetch:full": "warm", "model:full": "warm", "dataset:light": "light"}
    assert run.sort(tasks["fetch:far"]) == "online"
    assert run.limits(tasks["pack:light"]) == Limits(seconds=7, memory=2 * 10**9)


def test_a_failure_is_known_until_what_it_depends_on_changes(tmp_path: Path) -> None:
    root, planned = rows(tmp_path)
    task, fault = planned.tasks["dataset:x"], BuildFault.of("it is so", key=("dataset",), hint="do")
    with pytest.raises(BuildFault, match="it is so"):
        Builder(root, Memo(), Failing(fault)).perform(task, print)
    assert not (root / "build/x/dataset").exists()
    here = Builder(root, Memo(), Pretend())
    note = here.failure(task)
    assert note is not None
    assert (note.version, note.kind, note.task) == (1, "BuildFault", "dataset:x")
    assert note.report == {"measured": 3}
    ((what, where, hint),) = [(said.what, said.where, said.hint) for said in note.findings]
    assert (what, where, hint) == ("it is so", "recipes/x.yaml:3:1", "do")
    edit(root, "x", "samples: 5", "samples: 6")
    assert here.failure(zoo(root).tasks["dataset:x"]) is None
    assert here.perform(task, print) == "built"
    assert not [*root.glob("build/x/*.failure.json")]


def test_the_file_of_code_that_changed_is_named(tmp_path: Path) -> None:
    """Also where the code that made a task is no longer there."""
    root, planned = rows(tmp_path)
    task = planned.tasks["dataset:x"]
    before = Builder(root, Memo(), Pretend())
    before.code = {**before.code, "dataset": {**before.code["dataset"], "old.py": "0"}}
    before.codes = {name: digest(files) for name, files in before.code.items()}
    assert before.perform(task, print) == "built"
    assert Builder(root, Memo(), Pool()).reasons(task) == ("tinybuild/old.py changed",)


@pytest.mark.parametrize("failure", [Bug("Traceback\n  a\nKeyError: 3"), OSError(3, "odd", "/a")])
def test_a_bug_is_noted_with_its_last_line(tmp_path: Path, failure: Exception) -> None:
    root, planned = rows(tmp_path)
    task = planned.tasks["dataset:x"]
    with pytest.raises(type(failure)):
        Builder(root, Memo(), Failing(failure)).perform(task, print)
    note = Builder(root, Memo(), Pool()).failure(task)
    assert note is not None
    assert note.findings[0].what.startswith("a bug: ")
    assert note.findings[0].what.endswith(str(failure).splitlines()[-1])
    assert note.trace == (str(failure) if isinstance(failure, Bug) else "")


def test_who_is_interrupted_has_not_failed(tmp_path: Path) -> None:
    root, planned = rows(tmp_path)
    pool = Failing(BuildFault.of("its worker ended"), first=lambda: here.stop())
    here, task = Builder(root, Memo(), pool), planned.tasks["dataset:x"]
    with pytest.raises(Fault, match="its worker ended"):
        here.perform(task, print)
    assert pool.stopped == 1
    assert here.failure(task) is None
    with pytest.raises(KeyboardInterrupt):
        here.perform(task, print)
    assert not [path for path in root.glob("build/x/*") if path.name != ".lock.dataset"]


def test_no_paper_holds_what_cannot_be_written(tmp_path: Path) -> None:
    class Odd(Pretend):
        def made(self, job: Job) -> object:
            return {**FACTS["dataset"], "rows": float("nan")}

    root, planned = rows(tmp_path)
    with pytest.raises(Fault, match="what dataset read"):
        Builder(root, Memo(), Odd()).perform(planned.tasks["dataset:x"], print)
    assert not (root / "build/x/dataset").exists()


def test_what_another_machine_says_has_its_place(tmp_path: Path) -> None:
    root, planned = rows(tmp_path)
    here = Builder(root, Memo(), Pool())
    here.away = {"x": {"dataset:x": "recipes/x.yaml:3: no rows", "": "it was: not begun"}}
    with pytest.raises(BuildFault) as told:
        here.perform(planned.tasks["dataset:x"], print)
    assert [(f.where, f.what) for f in told.value.findings] == [("recipes/x.yaml:3", "no rows")]
    here.away = {"x": {"": "it was: not begun"}}
    with pytest.raises(Fault) as other:
        here.perform(planned.tasks["dataset:x"], print)
    assert [f.what for f in other.value.findings] == ["it was: not begun"]


def test_what_is_cleaned_is_all_that_a_build_left(tmp_path: Path) -> None:
    root = local(tmp_path, x=UP)
    build(root, "x")
    (root / "dist/x.tar.gz").write_text("an archive")
    here, tasks = Builder(root, Memo(), Pool()), zoo(root).tasks
    (root / "build/x/model.failure.json").write_text("{}")
    (root / "build/x/.model.restored").write_text("key")
    assert here.restored("model:x")
    for name in tasks:
        assert here.left(name)
        here.clean(name)
        assert not here.left(name)
        here.clean(name)
    assert not [path for path in (root / "build").iterdir() if path.is_dir()]
    assert not [*root.glob("dist")]
    (root / "dist/x").mkdir(parents=True)
    assert here.left("pack:x")
    assert not here.left("model:x")


@pytest.mark.parametrize(("gated", "kept"), [("no", {"fetch", "tokenizer"}), ("auto", set())])
def test_what_the_hub_gives_only_to_some_is_in_no_store(
    gated: str, kept: set[str], tmp_path: Path
) -> None:
    """Nor is what was made of it; a clone with the same lock takes nothing from there."""
    wish, file = {"hub": "owner/tokens"}, "tokenizer.json"

    class Hub(Pretend):
        def made(self, job: Job) -> object:
            if not job.task.startswith("fetch:"):
                return super().made(job)
            (job.out / "source").mkdir()
            (job.out / "source" / file).write_text("{}")
            files = {file: {"sha256": digest({}), "size": 2}}
            pin = {"wish": wish, "commit": "c" * 40, "gated": gated, "files": files}
            return {"pins": {"source": pin}}

    text = "version: 1\nsummary: s\nsource: {hub: owner/tokens}\ntokenizer: {method: keep}\n"

    def built(root: Path) -> dict[str, str]:
        how = {}
        for stage in ("fetch", "tokenizer"):
            here = Builder(root, Memo(), Hub())
            here.stored = Stored(Place(folder=tmp_path / "store"), here.pool)
            how[stage] = here.perform(zoo(root).tasks[f"{stage}:x"], print)
        return how

    first = make(tmp_path / "zoo", x=text)
    assert built(first) == {"fetch": "built", "tokenizer": "built"}
    held = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert bool([path for path in held if "making" not in path.parts]) == bool(kept)
    second = make(tmp_path / "clone", x=text)
    shutil.copy(first / "recipes/x.lock.json", second / "recipes")
    assert {stage for stage, how in built(second).items() if how == "restored"} == kept
    notes = {path.name for path in second.glob("build/x/.*.restored")}
    assert notes == {f".{stage}.restored" for stage in kept}
