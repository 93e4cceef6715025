"""Accidents and oddities: edited papers, odd names, links, other file systems, other locales."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from kit.zoo import LIGHT, doit, edit, make, snapshot

from tinybuild import files
from tinybuild.engine import run
from tinybuild.engine.plan import load
from tinybuild.engine.run import Builder
from tinybuild.engine.stages import Task
from tinybuild.errors import BuildFault
from tinybuild.files import Memo, locked, put, sweep
from tinybuild.recipe import Cache
from tinybuild.workers import Job, Limits, Pool, Sort


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("attack") / "zoo", x=LIGHT)
    assert doit(root).code == 0
    return root


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "zoo"))


def tasks(root: Path) -> Mapping[str, Task]:
    memo = Memo()
    return load(root, memo, Cache(root / "none", memo)).tasks


def reasons(root: Path, task: str) -> tuple[str, ...]:
    return Builder(root, Memo(), Pool()).reasons(tasks(root)[task])


@pytest.mark.parametrize("name", ["receipt.json", "provenance.json"])
@pytest.mark.parametrize("text", ["[]", "3", '{"files": [], "facts": 3}', "[" * 200_000, "\0"])
def test_edited_papers_are_not_believed(copy: Path, name: str, text: str) -> None:
    (copy / "build/x/dataset" / name).write_text(text)
    assert reasons(copy, "dataset:x") == ("receipt.json or provenance.json was altered",)


@pytest.mark.parametrize("part", ["settings", "inputs", "upstream", "code", "versions", "seed"])
def test_provenance_with_other_types_inside(copy: Path, part: str) -> None:
    path = copy / "build/x/dataset/provenance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), part: [3]}))
    assert len(reasons(copy, "dataset:x")) == 1


def test_an_edited_fact_is_mended(copy: Path, built: Path) -> None:
    path = copy / "build/x/dataset/receipt.json"
    path.write_text(path.read_text().replace('"rows": 5', '"rows": 99'))
    edit(copy, "x", "rows only", "rows, only")
    assert doit(copy).code == 0
    assert "| rows | 5 " in (copy / "dist/x/README.md").read_text()
    assert path.read_bytes() == (built / "build/x/dataset/receipt.json").read_bytes()


def test_an_added_file_never_reaches_a_bundle(copy: Path) -> None:
    (copy / "build/x/dataset/notes.txt").write_text("mine")
    assert reasons(copy, "dataset:x") == ("notes.txt was added",)
    edit(copy, "x", "rows only", "rows, only")
    assert doit(copy).code == 0
    assert not (copy / "dist/x/dataset/notes.txt").exists()


def add(bundle: Path) -> None:
    (bundle / "dataset/notes.txt").write_text("mine")


def link(bundle: Path) -> None:
    """A link to the same bytes."""
    (bundle / "README.md").rename(bundle.parent / "elsewhere")
    (bundle / "README.md").symlink_to("../elsewhere")


def executable(bundle: Path) -> None:
    (bundle / "recipe.yaml").chmod(0o755)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (add, "x/dataset/notes.txt was added"),
        (link, "x/README.md is a link"),
        (executable, "the mode of x/recipe.yaml was altered"),
    ],
)
def test_what_is_foreign_in_a_bundle_is_noticed(
    copy: Path, built: Path, change: Callable[[Path], None], said: str
) -> None:
    (copy / "dist/x/model.sig").write_text("a signature is no stage's")
    assert reasons(copy, "pack:x") == ()
    change(copy / "dist/x")
    assert reasons(copy, "pack:x") == (said,)
    pool = Pool()
    try:
        Builder(copy, Memo(), pool).perform(tasks(copy)["pack:x"], print)
    finally:
        pool.stop()
    assert reasons(copy, "pack:x") == ()
    assert snapshot(copy / "dist/x") == snapshot(built / "dist/x")
    assert not (copy / "dist/x/recipe.yaml").stat().st_mode & 0o111


def test_what_killed_builds_left_goes_whichever_stage_runs(copy: Path) -> None:
    """Of any recipe, also one that is no more; but not what another doit is at work on."""
    left = [
        "build/x/.model.k",
        "build/gone/.fetch.k",
        "dist/.x.old-1",
        "dist/.x.tar.gz.new-1",
        "dist/.x.new",
    ]
    busy, mine = "build/x/.validate.k", "dist/.x.mine"
    for name in (*left, busy, mine):
        (copy / name).mkdir(parents=True)
    for name in ("x/.lock.model", "gone/.lock.fetch"):
        (copy / "build" / name).touch()
    with locked(copy / "build/x/validate", lambda: None):
        sweep(copy / "build", copy / "dist")
    assert [name for name in left if (copy / name).exists()] == []
    assert (copy / busy).exists()
    assert (copy / mine).exists()
    (copy / "build/x/.model.k").mkdir()
    pool = Pool()
    try:
        Builder(copy, Memo(), pool).perform(tasks(copy)["dataset:x"], print)
    finally:
        pool.stop()
    assert not (copy / "build/x/.model.k").exists()
    assert not (copy / busy).exists()


@pytest.mark.parametrize("text", ['{"%s": 5}', '{"%s": [1]}', "[]", "[" * 200_000])
def test_a_corrupt_memo_is_forgotten(tmp_path: Path, text: str) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    (tmp_path / "memo").write_text(text.replace("%s", str(file)))
    assert Memo(tmp_path / "memo").sha256(str(file)) == files.sha256(file)
    assert Memo(tmp_path).entries == {}  # a folder


def test_odd_names_break_their_recipe_only(tmp_path: Path) -> None:
    odd = {"a=b": LIGHT, "ok": LIGHT, "ok.tar.gz": LIGHT, "n" * 97: LIGHT}
    root = make(tmp_path / "zoo", **odd)
    (root / "recipes/.#ok.yaml").symlink_to("me@host.1")  # an editor's lock
    with open(os.fsencode(root / "recipes") + b"/\xff.yaml", "w") as file:  # noqa: PTH123
        file.write(LIGHT)
    for group in ("zoo", "model", "a=c", "check"):
        (root / "recipes" / group).mkdir()
        (root / "recipes" / group / f"in-{group[0]}.yaml").write_text(LIGHT)
    result = doit(root, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (result.code, result.err) == (1, "")
    assert result.ran == {"dataset:ok", "validate:ok", "pack:ok"}
    for text in (
        "recipes/a=b.yaml: 'a=b' cannot be a recipe's name",
        "recipes/ok.tar.gz.yaml: ok.tar.gz would be built where the archive of ok is",
        ": the name has 97 characters; at most 96 are allowed",
        "recipes/zoo/in-z.yaml: zoo is the name of a command or a stage",
        "recipes/a=c/in-a.yaml: 'a=c' cannot be the name of a group of recipes",
    ):
        assert text in result.out, result.out


def test_letters_that_the_locale_lacks_are_escaped(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", x="version: 1\nsummary: 日\n日: 1\n")
    result = doit(root, "check", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (result.code, result.out) == (1, "")
    assert "unknown key '\\u65e5'" in result.err


@pytest.mark.parametrize("path", ["../build/y", "../dist/y/dataset", ".."])
def test_a_source_is_not_what_the_zoo_builds(tmp_path: Path, path: str) -> None:
    text = f"version: 1\nsummary: x\ndataset: {{samples: 5, source: {{path: {path}}}}}\n"
    memo = Memo()
    zoo = load(make(tmp_path / "zoo", x=text), memo, Cache(tmp_path / "none", memo))
    assert "which this zoo writes" in str(zoo.broken[0].fault)


@pytest.mark.parametrize("old", ["link", "file", "folder", "none"])
@pytest.mark.parametrize("new", ["file", "folder"])
def test_put_replaces_whatever_stands_there(tmp_path: Path, old: str, new: str) -> None:
    made, place, mine = tmp_path / "made", tmp_path / "out/place", tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    place.parent.mkdir()
    (place.parent / ".place.old").mkdir()  # of a killed process
    (place.parent / ".place.old-x").mkdir()
    if new == "folder":
        made.mkdir()
    else:
        made.write_text("new")
    if old == "link":
        place.symlink_to(tmp_path / "nowhere")
    elif old == "folder":
        shutil.copytree(mine, place)
    elif old == "file":
        place.write_text("old")
    put(made, place)
    assert not place.is_symlink()
    assert place.is_dir() == (new == "folder")
    assert sorted(p.name for p in place.parent.iterdir()) == [".place.old-x", "place"]
    assert (mine / "file").read_text() == "mine"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_dist_may_be_a_link_to_another_file_system(
    copy: Path, built: Path, elsewhere: Path
) -> None:
    shutil.rmtree(copy / "dist")
    (copy / "dist").symlink_to(elsewhere)
    assert doit(copy).ran == {"pack:x"}
    assert snapshot(elsewhere) == snapshot(built / "dist")
    assert sorted(p.name for p in elsewhere.iterdir()) == ["x", "x.tar.gz"]
    assert doit(copy, "clean").err == ""
    assert (copy / "dist").is_symlink()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["build", "dist", "build/x"])
def test_a_file_where_a_folder_goes_is_a_message(tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "zoo", x=LIGHT)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("mine")
    here = Builder(root, Memo(), Pool())
    with pytest.raises(BuildFault, match=f"{name} is not a folder"):
        here.perform(tasks(root)["dataset:x"], print)
    assert (root / name).read_text() == "mine"


def test_processes_of_doit_see_what_the_others_made(copy: Path) -> None:
    edit(copy, "x", "5", "6")
    assert doit(copy, "-P", "process", "-n", "2").ran == {"dataset:x", "validate:x", "pack:x"}
    assert doit(copy).ran == set()


def test_one_recipe_can_be_cleaned(copy: Path) -> None:
    assert doit(copy, "clean", "x").code == 0
    assert not (copy / "dist").exists()
    assert not (copy / "build/x").exists()


class Accident(Pool):
    """A pool whose work is an accident."""

    def call(
        self, function: str, argument: object, limits: Limits | None = None, sort: Sort = "light"
    ) -> object:
        assert isinstance(argument, Job)
        if function.endswith("source:fetch"):
            data = argument.root / "config.json"
            before = data.read_text()
            data.write_text("other")
            (argument.out / "source").mkdir()
            shutil.copy(data, argument.out / "source")
            entry = {"sha256": files.sha256(data), "size": 5}
            data.write_text(before)
            return {"pins": {"source": {"files": {"config.json": entry}}}}
        if argument.inputs.get("dataset", argument.root).name == "rows.txt":
            data = argument.inputs["dataset"]
            before = data.read_text()
            data.write_text("other")
            data.write_text(before)
            return {"rows": 1}
        shutil.rmtree(argument.out.parents[2])  # build/
        raise FileNotFoundError(2, "No such file or directory", str(argument.out / "x"))


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ("fetch", "source: {path: ../config.json}\nmodel: {}\n"),
        ("dataset", "dataset: {samples: 1, source: {path: ../rows.txt}}\n"),
    ],
)
def test_a_source_edited_and_reverted_while_it_is_read(
    tmp_path: Path, stage: str, text: str
) -> None:
    root = make(tmp_path / "zoo", x=f"version: 1\nsummary: x\n{text}")
    (root / "rows.txt").write_text("one\n")
    (root / "config.json").write_text("{}")
    here = Builder(root, Memo(), Accident())
    with pytest.raises(BuildFault, match="was edited while it was read"):
        here.perform(tasks(root)[f"{stage}:x"], print)
    assert not (root / f"build/x/{stage}").exists()


@pytest.mark.parametrize("stage", ["dataset", "validate"])
def test_build_deleted_in_the_middle_is_a_message(copy: Path, stage: str) -> None:
    here = Builder(copy, Memo(), Accident())
    with pytest.raises(BuildFault, match="was deleted meanwhile"):
        here.perform(tasks(copy)[f"{stage}:x"], print)


def test_what_another_doit_built_since_the_decision_is_not_built_again(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", x=LIGHT)
    task, pool = tasks(root)["dataset:x"], Pool()
    try:
        first, second = (Builder(root, Memo(), pool) for _ in range(2))
        assert first.reasons(task)
        assert second.reasons(task)
        assert first.perform(task, print) == "built"
        assert second.perform(task, print) == "elsewhere"
        assert not second.reasons(task)
        assert second.perform(task, print) == "built"  # doit -a: in any case
    finally:
        pool.stop()


def test_a_lock_that_was_removed_while_we_waited_is_not_held(tmp_path: Path) -> None:
    place, order = tmp_path / "place", list[str]()
    waits, entered = threading.Event(), threading.Event()

    def second() -> None:
        with locked(place, waits.set):
            order.append("second")
            entered.set()

    other = threading.Thread(target=second)
    with locked(place, lambda: None):
        other.start()
        assert waits.wait(10)
        (tmp_path / ".lock.place").unlink()
        third = locked(place, lambda: None)
        third.__enter__()  # a new file: free
    assert not entered.wait(0.3)
    order.append("third")
    third.__exit__(None, None, None)
    other.join(10)
    assert order == ["third", "second"]


def test_an_interruption_leaves_nothing_however_late_a_thread_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One never comes back from its worker, another has not begun yet: doit -n 2, and Ctrl-C."""
    begun, ended = threading.Event(), threading.Event()

    class Late(Pool):
        """A pool of which one worker answers when the test ends."""

        def call(
            self,
            function: str,
            argument: object,
            limits: Limits | None = None,
            sort: Sort = "light",
        ) -> object:
            begun.set()
            assert ended.wait(60)
            raise BuildFault.of("late")

    monkeypatch.setattr(run, "PATIENCE", 0.1)
    root = make(tmp_path / "zoo", x=LIGHT, y=LIGHT)
    here = Builder(root, Memo(), Late())

    def build(name: str) -> None:
        with pytest.raises(BuildFault, match="late"):
            here.perform(tasks(root)[f"dataset:{name}"], print)

    thread = threading.Thread(target=build, args=("x",))
    thread.start()
    try:
        assert begun.wait(10)
        here.stop()
        with pytest.raises(KeyboardInterrupt):
            here.perform(tasks(root)["dataset:y"], print)
        assert {path.name for path in root.glob("build/*/*")} == {".lock.dataset"}
    finally:
        ended.set()
        thread.join()
