"""A stage sees what its task declares: exactly these files, copies that it may do anything to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from kit.files import contents
from kit.zoo import FULL, LIGHT, make

from tinybuild import source, wire
from tinybuild.engine.plan import Zoo, load
from tinybuild.engine.run import Builder
from tinybuild.engine.stages import STAGES, Need, seed
from tinybuild.facts import ModelShown, TokenizerFacts
from tinybuild.files import Memo
from tinybuild.recipe import Cache
from tinybuild.workers import Job, Limits, Pool, Sort

FACTS: Mapping[str, Mapping[str, object]] = {
    "dataset": {"rows": 1, "columns": [], "configs": {}, "source": {"files": {}, "about": {}}},
    "tokenizer": dict.fromkeys(wire.keys(TokenizerFacts)),
    "model": dict.fromkeys(wire.keys(ModelShown)),
    "validate": {"checks": 0, "bytes": 0},
    "pack": {"bytes": 0, "tar": ""},
}
FILES: Mapping[str, Mapping[str, str]] = {
    "dataset": {"README.md": "card", "data/train.parquet": "rows"},
    "tokenizer": {"tokenizer.json": "{}", "tokenizer_config.json": "{}"},
    "model": {"config.json": "{}", "generation_config.json": "{}", "model.safetensors": "w"},
    "validate": {"report.json": "{}"},
    "pack": {"x/config.json": "{}"},
}


class Pretend(Pool):
    """A pool whose stages leave the files that they are told; only fetch is the real one.

    A model's config_changes.json tells what its source said; that is where it differs.
    """

    def __init__(self, files: Mapping[str, Mapping[str, str]] = FILES) -> None:
        super().__init__()
        self.files = files
        self.saw: dict[str, dict[str, dict[str, bytes]]] = {}

    def call(
        self, function: str, argument: object, limits: Limits | None = None, sort: Sort = "light"
    ) -> object:
        assert isinstance(argument, Job)
        return self.made(argument)

    def made(self, job: Job) -> object:
        """The facts of a stage, which is done."""
        folders = {name: path for name, path in job.inputs.items() if path.is_dir()}
        self.saw[job.task] = {name: contents(path) for name, path in folders.items()}
        stage = job.task.partition(":")[0]
        if stage == "fetch":
            return source.fetch(job)
        for name, text in self.files[stage].items():
            place = job.out / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        if stage == "model":
            said = (job.inputs["fetch"] / "source/config.json").read_text()
            (job.out / "config_changes.json").write_text(said)
        for path in folders.values():  # a stage that misbehaves
            for file in path.rglob("*"):
                if file.is_file():
                    file.write_text("altered")
        return FACTS[stage]


def zoo(root: Path) -> Zoo:
    return load(root, Memo(), Cache(root / "none", Memo()))


def build(root: Path, *names: str, pool: Pool | None = None) -> set[str]:
    """The tasks that ran, of these recipes in this order."""
    builder, planned, ran = Builder(root, Memo(), pool or Pretend()), zoo(root), set[str]()
    assert planned.broken == ()
    for name in names:
        for task in planned.tasks_of(name):
            if builder.reasons(task):
                builder.perform(task, print)
                ran.add(task.name)
    return ran


def local(tmp_path: Path, **recipes: str) -> Path:
    """A zoo whose recipes may use ../from, a folder with a config."""
    root = make(tmp_path / "zoo", **recipes)
    (root / "from").mkdir()
    (root / "from/config.json").write_text('{"model_type": "llama", "said": 1}')
    (root / "from/generation_config.json").write_text("{}")
    (root / "from/tokenizer.json").write_text("{}")
    return root


UP = FULL.replace("{transformers: llama}", "{path: ../from}")
DOWN = FULL.replace("{transformers: llama}", "{recipe: up}")


def test_each_view_holds_exactly_what_the_task_needs(tmp_path: Path) -> None:
    root, pool = local(tmp_path, up=UP, down=DOWN), Pretend()
    build(root, "up", "down", pool=pool)
    builder, tasks = Builder(root, Memo(), pool), zoo(root).tasks
    for name, saw in pool.saw.items():
        wanted = {need.name: need for need in tasks[name].needs if need.files}
        assert set(saw) == set(wanted)
        for need in wanted.values():
            receipt = builder.receipt(need.task)
            assert receipt is not None
            assert set(saw[need.name]) == {file for file in receipt.files if need.covers(file)}
    assert set(pool.saw["validate:up"]["fetch"]) == {
        "source/config.json",
        "source/generation_config.json",
    }
    assert set(pool.saw["tokenizer:up"]["dataset"]) == {"data/train.parquet"}
    assert "tokenizer" not in pool.saw["model:up"]  # the ids alone


def test_what_a_stage_does_to_its_view_reaches_no_artefact(tmp_path: Path) -> None:
    root = local(tmp_path, up=UP, down=DOWN)
    assert build(root, "up", "down")
    assert build(root, "up", "down") == set()
    assert (root / "build/up/model/model.safetensors").read_text() == "w"
    assert not [path for path in root.glob("build/*/.*") if not path.name.startswith(".lock.")]


def test_a_stage_gets_the_zoos_folder_only_to_fetch(tmp_path: Path) -> None:
    root, seen = local(tmp_path, up=UP), dict[str, Job]()

    class Watch(Pretend):
        def made(self, job: Job) -> object:
            seen[job.task] = job
            return super().made(job)

    build(root, "up", pool=Watch())
    assert {task for task, job in seen.items() if job.root == root} == {"fetch:up"}
    assert {task for task, job in seen.items() if "recipe" in job.inputs} == {"pack:up"}


def test_a_lock_of_another_recipe_is_never_stale(tmp_path: Path) -> None:
    """What only config_changes.json tells is not taken, so it need not be taken anew."""
    root = local(tmp_path, up=UP, down=DOWN)
    build(root, "up", "down")
    (root / "from/config.json").write_text('{"model_type": "llama", "said": 2}')
    ran = build(root, "up", "down")
    assert {"fetch:up", "model:up"} <= ran
    assert "fetch:down" not in ran
    after = json.loads((root / "build/down/fetch/receipt.json").read_text())
    again = local(tmp_path / "again", up=UP, down=DOWN)
    (again / "from/config.json").write_text('{"model_type": "llama", "said": 2}')
    build(again, "up", "down")
    assert after == json.loads((again / "build/down/fetch/receipt.json").read_text())
    files = after["facts"]["pins"]["source"]["files"]
    assert set(files) == {
        *("config.json", "generation_config.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("model", "config.json"),
        ("model", "generation_config.json"),
        ("model", "preprocessor_config.json"),
        ("model", "processor_config.json"),
        ("model", "video_preprocessor_config.json"),
        ("model", "chat_template.json"),
        ("tokenizer", "tokenizer.json"),
    ],
)
def test_what_another_recipe_gives_is_fetched_again_when_it_changes(
    tmp_path: Path, stage: str, file: str
) -> None:
    root = local(tmp_path, up=UP, down=DOWN)
    build(root, "up", "down")
    place = root / f"build/up/{stage}"
    other = {**FILES, stage: {**FILES[stage], file: '{"other": true}'}}
    (place / "receipt.json").unlink()  # so that it runs again
    ran = build(root, "up", "down", pool=Pretend(other))
    assert "fetch:down" in ran
    assert (root / f"build/down/fetch/source/{file}").read_text() == '{"other": true}'


def test_the_checks_look_at_the_ids_of_the_tokenizer(tmp_path: Path) -> None:
    tasks = zoo(local(tmp_path, up=UP)).tasks
    facts = {need.name: need.facts for need in tasks["validate:up"].needs}
    assert "ids" in facts["tokenizer"]
    assert facts["tokenizer"] == (*facts["tokenizer"],)
    assert "ids" not in {need.name: need.facts for need in tasks["pack:up"].needs}["tokenizer"]


def test_seeds_differ_by_stage_and_by_recipe() -> None:
    seeds = [seed(given, name, stage) for given in (0, 1) for name in "ab" for stage in STAGES]
    assert len(set(seeds)) == len(seeds)


def test_a_file_added_beside_the_papers_of_pack(tmp_path: Path) -> None:
    root = local(tmp_path, x=LIGHT)
    build(root, "x")
    assert build(root, "x") == set()
    (root / "build/x/pack/notes.txt").write_text("mine")
    task = zoo(root).tasks["pack:x"]
    assert Builder(root, Memo(), Pool()).reasons(task) == ("notes.txt was added",)
    assert build(root, "x") == {"pack:x"}
    assert not (root / "build/x/pack/notes.txt").exists()


def test_a_need_covers_what_begins_as_it_says() -> None:
    need = Need.of("fetch", "x", files=("source/", "keep-0/"))
    assert need.covers("source/config.json")
    assert not need.covers("tokenizer/config.json")
    assert Need.of("model", "x", files=("",)).covers("anything")
    assert not Need.of("model", "x").covers("anything")
