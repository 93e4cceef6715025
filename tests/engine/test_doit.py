"""doit run for real: what runs and what does not, kills, faults, messages and exit codes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kit import zoo
from kit.zoo import FULL, LIGHT, STAGES, begun, doit, edit, interrupt, make, snapshot

from tinybuild.expected import format as expected

EDITS = {
    # recipe -> (old, new, stages that must run again)
    "comment": ("summary: rows", "# a remark\nsummary: rows", {"pack"}),
    "max-bytes": ("dataset:", "checks: {max_bytes: 4MB}\ndataset:", {"validate", "pack"}),
    # The model takes only sizes and ids from the tokenizer, and they stay.
    "samples": ("samples: 60", "samples: 61", {"dataset", "tokenizer", "validate", "pack"}),
    "seed": ("model:", "model:\n  seed: 1", {"model", "validate", "pack"}),
    "summary": ("rows only", "only rows", {"pack"}),
    "vocab": ("vocab_size: 700", "vocab_size: 701", {"tokenizer", "model", "validate", "pack"}),
}
ROWS = dict.fromkeys(("comment", "max-bytes", "summary"), LIGHT)  # they need no model
MADE = ("dataset", "validate", "pack")  # of rows
FUNCTION = """
from dataclasses import replace
from tinybuild.engine.stages import STAGES
from tinybuild.expected import format as expected
STAGES["{0}"] = replace(STAGES["{0}"], function="{1}")
"""


# Written down on the path of a doit: which of its processes so much as looked for what is heavy.
WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ('torch', 'transformers'):
            with open(os.environ['WATCHED'], 'a') as out:
                out.write(f'{os.getpid()} {name}\\n')
sys.meta_path.insert(0, Watch())
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo with one recipe for each edit, built with two workers; not to be changed."""
    models = {name: FULL for name in EDITS if name not in ROWS}
    root = make(tmp_path_factory.mktemp("built") / "zoo", **models)
    hook = root.parent / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(WATCH)
    path = os.pathsep.join([str(hook), os.environ.get("PYTHONPATH", "")])
    more = {"PYTHONPATH": path, "WATCHED": str(root.parent / "watched")}
    result = zoo.alone(root, zoo.command("-n", "2"), **more)
    assert result.code == 0, result.out + result.err
    assert result.ran == {f"{stage}:{name}" for name in models for stage in STAGES}
    for name, text in {**ROWS, "rows": LIGHT}.items():
        (root / "recipes" / f"{name}.yaml").write_text(text)
    assert doit(root).ran == {f"{stage}:{name}" for name in (*ROWS, "rows") for stage in MADE}
    return root


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy of the built zoo; what was built there is up to date here."""
    root = tmp_path / "zoo"
    shutil.copytree(built, root)
    return root


def test_second_doit_runs_nothing_wherever_the_zoo_is_moved(copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.json")}
    result = doit(copy)
    assert (result.code, result.ran) == (0, set())
    assert result.out == f"{len(EDITS) + 1} recipes are up to date\n"
    after = {path: path.stat().st_mtime_ns for path in before}
    hidden = {path for path in before if path.name.startswith(".")}
    assert {p: t for p, t in after.items() if p not in hidden} == {
        p: t for p, t in before.items() if p not in hidden
    }


def test_each_edit_runs_exactly_what_depends_on_it(copy: Path) -> None:
    for name, (old, new, _) in EDITS.items():
        edit(copy, name, old, new)
    why = doit(copy, "why", *EDITS)
    assert "recipe: tokenizer.vocab_size: 700 -> 701" in why.out
    assert 'recipe: summary: "rows only" -> "only rows"' in why.out
    assert "the text of the recipe changed" in why.out
    assert "runs if dataset:samples gives something else" in why.out
    result = doit(copy)
    assert result.code == 0, result.out + result.err
    expected = {f"{stage}:{name}" for name, (_, _, stages) in EDITS.items() for stage in stages}
    assert result.ran == expected
    assert doit(copy).ran == set()
    # Back to the first text: everything is made as it was, byte for byte.
    first = snapshot(copy / "dist" / "seed")
    edit(copy, "seed", "model:\n  seed: 1", "model:")
    assert doit(copy, "seed").ran == {"model:seed", "validate:seed", "pack:seed"}
    assert snapshot(copy / "dist" / "seed") != first


def test_touching_files_runs_nothing(copy: Path) -> None:
    for path in [*copy.glob("recipes/*.yaml"), *copy.glob("build/*/*/*.json")]:
        os.utime(path)
    assert doit(copy).ran == set()


def test_deleted_and_altered_artefacts_are_made_again(copy: Path, built: Path) -> None:
    (copy / "build/seed/tokenizer/tokenizer.json").unlink()
    (copy / "dist/summary/report.json").unlink()
    shutil.rmtree(copy / "build/vocab/model")
    (copy / "dist/comment.tar.gz").unlink()
    # Other bytes under the same size and times: only a digest tells.
    altered = copy / "build/samples/model/config.json"
    times = altered.stat()
    text = altered.read_text()
    altered.write_text(text.replace("16", "61", 1))
    os.utime(altered, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert altered.stat().st_size == times.st_size
    why = doit(copy, "why", "samples", "seed")
    assert "model:samples            runs: config.json was altered" in why.out
    assert "tokenizer:seed           runs: tokenizer.json was deleted" in why.out
    result = doit(copy)
    assert result.code == 0
    # Each is made as it was, so nothing after it runs.
    assert result.ran == {
        "tokenizer:seed",
        "pack:summary",
        "model:vocab",
        "pack:comment",
        "model:samples",
    }
    assert snapshot(copy) == snapshot(built)


def test_one_worker_and_two_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", seed=FULL)
    assert doit(root).code == 0
    assert snapshot(root / "dist/seed") == snapshot(built / "dist/seed")
    archive = "dist/seed.tar.gz"
    assert (root / archive).read_bytes() == (built / archive).read_bytes()


def test_a_bundle_holds_what_a_port_of_it_must_give(built: Path) -> None:
    """What validate made of the model goes along, and SHA256SUMS names it."""
    assert expected.FILES[0] in (built / "dist/seed/SHA256SUMS").read_text()
    assert expected.read(built / "dist/seed").cases


def test_torch_is_imported_once(built: Path) -> None:
    """Only the process that the workers, and the readers beside them, are forked from so much as
    looked for torch."""
    looked = {tuple(line.split()) for line in (built.parent / "watched").read_text().splitlines()}
    assert len({process for process, name in looked if name == "torch"}) == 1


def test_importing_dodo_loads_no_heavy_library(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=FULL)
    code = (
        "import sys, dodo; list(dodo.task_recipes());"
        "print([m for m in ('torch', 'transformers', 'datasets', 'numpy', 'pyarrow',"
        " 'huggingface_hub', 'jsonschema') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    # jsonschema checks a recipe that is new; a recipe known by its digest is not checked again.
    assert out.stdout.strip() == "['jsonschema']"
    (root / "build").mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True)
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


# --- bad luck -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        *((stage, "rows") for stage in MADE),
        *(pytest.param(stage, "seed", marks=pytest.mark.slow) for stage in STAGES),
    ],
)
def test_kill_in_any_stage_leaves_nothing_half_made(
    stage: str, name: str, built: Path, tmp_path: Path
) -> None:
    """The stage's own result is removed first, so that it is the one that works."""
    root = tmp_path / "zoo"
    shutil.copytree(built, root)
    for _ in range(5):  # a quick stage can be over before the signal arrives
        shutil.rmtree(root / "build" / name / stage, ignore_errors=True)
        if interrupt(root, f"{stage}:{name}", signal.SIGKILL, name).code == -signal.SIGKILL:
            break
    else:
        pytest.fail("doit was always done before the signal arrived")
    place = root / "build" / name / stage
    assert not place.exists() or (place / "receipt.json").is_file()
    result = doit(root, name)
    assert result.code == 0, result.out + result.err
    assert not [p for p in place.parent.iterdir() if p.name.startswith(f".{stage}.")]
    assert snapshot(root) == snapshot(built)


def forever(root: Path, stage: str, task: str) -> None:
    """Have one task of a zoo never end."""
    code = f"from tinybuild.{stage} import make as rest\n" if stage != "fetch" else ""
    code += f"def make(job):\n    while job.task == {task!r}:\n        pass\n"
    code += "    return rest(job)\n" if stage != "fetch" else ""
    (root / "forever.py").write_text(code)
    (root / "dodo.py").write_text(FUNCTION.format(stage, "forever:make") + zoo.DODO)


def test_ctrl_c_ends_with_a_sentence(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT, b=LIGHT)
    forever(root, "validate", "validate:a")
    result = interrupt(root, "validate:a", signal.SIGINT, "-n", "2", "a", "b")
    assert result.code != 0
    assert "Traceback" not in result.out + result.err
    assert "interrupted: finished stages are kept" in result.err
    assert not [p for p in root.glob("build/*/.*") if not p.name.startswith(".lock.")]
    assert not (root / "dist/a").exists()
    (root / "dodo.py").write_text(zoo.DODO)
    again = doit(root)
    assert again.code == 0
    assert "dataset:a" not in again.ran
    assert "pack:a" in again.ran


def test_an_interruption_after_a_failure_is_still_one(tmp_path: Path) -> None:
    """And what was being done is not remembered as failed."""
    damaged = "version: 1\nsummary: x\ndataset: {source: {path: ../x.parquet}, samples: 1}\n"
    root = make(tmp_path / "zoo", a=damaged, b=LIGHT)
    (root / "x.parquet").write_bytes(b"PAR1")
    result = interrupt(root, "dataset:b", signal.SIGINT)
    assert result.code != 0
    assert "Traceback" not in result.out + result.err
    assert "dataset:a" in result.out
    assert "interrupted: finished stages are kept" in result.err
    assert not [p for p in root.glob("build/*/.*") if not p.name.startswith(".lock.")]
    assert not (root / "dist").exists()
    assert [path.name for path in (root / "build").glob("*/*.failure.json")] == [
        "dataset.failure.json"
    ]


def test_killed_and_then_reverted_is_not_stale(copy: Path, built: Path) -> None:
    edit(copy, "rows", "samples: 5", "samples: 6")
    interrupt(copy, "validate:rows", signal.SIGKILL, "rows")
    assert json.loads((copy / "build/rows/dataset/receipt.json").read_text())["facts"]["rows"] == 6
    edit(copy, "rows", "samples: 6", "samples: 5")
    assert doit(copy, "rows").code == 0
    assert snapshot(copy) == snapshot(built)


def test_a_recipe_edited_while_it_is_built_is_built_again(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT)
    process = subprocess.Popen(zoo.command(), cwd=root, stdout=subprocess.DEVNULL)
    while not list((root / "build/a").glob(".dataset.*")):
        assert process.poll() is None
        time.sleep(0.005)
    edit(root, "a", "samples: 5", "samples: 6")
    process.wait(timeout=120)
    assert doit(root).code == 0
    assert json.loads((root / "build/a/dataset/receipt.json").read_text())["facts"]["rows"] == 6
    assert "samples: 6" in (root / "dist/a/recipe.yaml").read_text()


def test_two_doit_at_once_build_each_stage_once(tmp_path: Path) -> None:
    made = "version: 1\nsummary: x\ndataset: {source: {recipe: b}, samples: 2}\n"
    root = make(tmp_path / "zoo", a=made, b=LIGHT)
    with ThreadPoolExecutor() as threads:
        both = list(threads.map(doit, [root, root]))
    for result in both:
        assert result.code == 0, result.out + result.err
    ran = sorted([*both[0].ran, *both[1].ran])
    names = [*(f"{stage}:a" for stage in ("fetch", *MADE)), *(f"{stage}:b" for stage in MADE)]
    assert ran == sorted(names)
    assert doit(root).ran == set()


def children(process: int) -> list[int]:
    with contextlib.suppress(OSError):  # it is gone
        return [
            int(c) for c in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    return []


def test_a_worker_that_is_killed_fails_its_task_only(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT, b=LIGHT)
    forever(root, "validate", "validate:a")
    process = begun(root)
    while not list((root / "build/a").glob(".validate.*")):
        assert process.poll() is None
        time.sleep(0.005)
    (worker,) = (
        child
        for child in children(process.pid)
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    killed = r"a(\.yaml:\d+:\d+)?: the process that (did this|worked on .*) was killed \(SIGKILL\)"
    assert re.search(killed, out), out
    assert "Traceback" not in out + err
    assert "pack:b" in zoo.Result(code=1, out=out, err=err).ran
    (root / "dodo.py").write_text(zoo.DODO)
    assert doit(root, "validate:a").code == 0


def test_a_full_disk_is_a_message(tmp_path: Path) -> None:
    many = LIGHT.replace("samples: 5", "samples: 5, expand: [10k.unique]")
    root = make(tmp_path / "zoo", a=many)
    # RLIMIT_FSIZE is the full disk that needs no rights: writing past it fails for real.
    code = (
        "import resource, sys, runpy;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "sys.argv = ['doit']; runpy.run_module('doit', run_name='__main__')"
    )
    done = zoo.alone(root, [sys.executable, "-c", code])
    assert done.code == 1, done.out + done.err
    assert "a file is larger than allowed here" in done.out
    assert "Traceback" not in done.out + done.err
    assert not (root / "dist").exists()
    assert doit(root, "dataset:a").code == 0


def test_a_full_file_system_is_a_message(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=250k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small file system here")
    try:
        root = make(disk / "zoo", a=FULL)
        result = doit(root)
        assert result.code == 1, result.out + result.err
        assert "the disk is full" in result.out
        assert "Traceback" not in result.out + result.err
        assert not (root / "dist").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_reader_that_goes_away_does_not_stop_the_build(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT, b=LIGHT)
    process = subprocess.Popen(
        zoo.command(), cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=60)
    assert "Traceback" not in err
    assert doit(root).ran == set()


# --- bad input ------------------------------------------------------------------------------------


def test_a_broken_recipe_is_reported_and_the_others_are_built(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", bad="version: 1\nsumary: x\n", good=LIGHT)
    result = doit(root)
    assert result.code == 1
    assert "recipes/bad.yaml:2:1: unknown key 'sumary'" in result.out
    assert "hint: did you mean summary?" in result.out
    assert "pack:good" in result.ran
    assert "Traceback" not in result.out + result.err
    check = doit(root, "check")
    assert check.code == 1
    assert "1 of 2 recipes are broken" in check.err
    assert doit(root, "check", "good").code == 0
    assert doit(root, "why", "bad").code == 1
    unknown = doit(root, "why", "goood")
    assert unknown.code == 1
    assert "hint: did you mean good?" in unknown.err


SOURCES = {
    "nowhere": ("{path: ../nowhere}", "there is no ../nowhere"),
    "empty": ("{path: ../empty}", "the folder ../empty is empty"),
    "weights": ("{path: ../weights}", "the folder ../weights holds no file that is of use"),
    "unknown": ("{path: ../unknown}", "model type that transformers does not know: gpt22"),
    "type": ("{transformers: lama}", "has no model type 'lama'"),
    "broken": ("{path: ../broken}", "config.json is not JSON"),
}


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    text = "version: 1\nsummary: x\nsource: {}\nmodel: {{architecture: GPT2LMHeadModel}}\n"
    recipes = {name: text.format(wish) for name, (wish, _) in SOURCES.items()}
    recipes["toolong"] = FULL.replace("hidden_size: 16", "hidden_sise: 16")
    recipes["giant"] = "version: 1\nsummary: x\nsource: {transformers: llama}\n" + (
        "model: {shrink: none, architecture: LlamaForCausalLM}\n"
    )
    root = make(tmp_path / "zoo", **recipes)
    for name in ("empty", "weights", "unknown", "broken"):
        (root / name).mkdir()
    (root / "weights/model.safetensors").write_bytes(b"\0" * 10)
    (root / "unknown/config.json").write_text('{"model_type": "gpt22"}')
    (root / "broken/config.json").write_text('{"model_type"')
    result = doit(root)
    assert result.code == 1, result.out + result.err
    assert "Traceback" not in result.out + result.err
    for name, (_, message) in SOURCES.items():
        (line,) = [line for line in result.out.splitlines() if message in line]
        assert line.startswith(f"recipes/{name}.yaml:3:"), line
    assert "recipes/toolong.yaml:8:12: LlamaConfig has no 'hidden_sise'" in result.out
    assert "hint: did you mean hidden_size" in result.out
    assert "6,738,415,616 parameters; at most 50,000,000 are allowed" in result.out
    assert "model.layers.*.mlp.down_proj.weight  32 x [4096, 11008]" in result.out
    assert not (root / "dist").exists()


def test_a_failed_check_packs_nothing(copy: Path) -> None:
    for made in ("build/seed/validate", "build/seed/pack", "dist/seed"):
        shutil.rmtree(copy / made)
    (copy / "dist/seed.tar.gz").unlink()
    edit(copy, "seed", "model:", "checks: {max_bytes: 1kB}\nmodel:")
    result = doit(copy, "seed")
    assert result.code == 1
    assert "check max_bytes failed: measured" in result.out
    assert "passed: tokenizer_loads" in result.out
    assert not (copy / "dist/seed").exists()
    assert not (copy / "build/seed/validate").exists()
    # What was measured is kept, beside the stage's folder, until the stage succeeds.
    failure = json.loads((copy / "build/seed/validate.failure.json").read_text())
    checks = {check["name"]: check["state"] for check in failure["report"]["checks"]}
    assert checks.pop("max_bytes") == "failed"
    assert checks
    assert {*checks.values()} == {"passed"}
    assert failure["findings"][0]["what"].startswith("check max_bytes failed: measured")
    why = "validate:seed            runs: failed the last time: check max_bytes failed: measured"
    assert why in doit(copy, "why", "seed").out
    edit(copy, "seed", "max_bytes: 1kB", "max_bytes: 1MB")
    assert doit(copy, "seed").code == 0
    assert not (copy / "build/seed/validate.failure.json").exists()


def test_a_stage_that_takes_too_long_fails_alone(tmp_path: Path) -> None:
    """The limit is real: its first stage never ends, and no other has to be quick."""
    made = "version: 1\nsummary: x\ndataset: {source: {recipe: b}, samples: 2}\n"
    root = make(tmp_path / "zoo", a=made + "limits: {seconds: 1}\n", b=LIGHT)
    forever(root, "fetch", "fetch:a")
    result = doit(root)
    assert result.code == 1
    assert "Traceback" not in result.out + result.err
    assert "fetch:a: this took longer than 1 s and was stopped" in result.out
    assert {path.name for path in (root / "dist").iterdir()} == {"b", "b.tar.gz"}
    failure = root / "build/a/fetch.failure.json"
    assert "longer than 1 s" in json.loads(failure.read_text())["findings"][0]["what"]
    assert {p.name for p in failure.parent.iterdir()} == {failure.name, ".lock.fetch"}
    assert doit(root, "clean").code == 0
    assert not failure.exists()


def test_a_failed_rebuild_is_not_forgotten(copy: Path) -> None:
    edit(copy, "rows", "dataset:", "checks: {max_bytes: 1kB}\ndataset:")
    assert doit(copy, "rows").code == 1
    result = doit(copy, "why", "rows")
    assert "validate:rows            runs: recipe: checks.max_bytes: nothing -> 1000" in result.out


def test_a_bug_keeps_its_traceback_and_exits_2(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT, b=LIGHT)
    (root / "dodo.py").write_text(FUNCTION.format("validate", "nowhere:make") + zoo.DODO)
    result = doit(root)
    assert result.code == 2
    assert "a bug in validate:a" in result.out
    assert "ModuleNotFoundError: No module named 'nowhere'" in result.out


def test_no_recipes_folder(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text(zoo.DODO)
    for arguments in ((), ("check",), ("why",)):
        result = doit(tmp_path, *arguments)
        assert result.code == 1
        assert "there is no folder recipes/ here" in result.out + result.err


# --- commands -------------------------------------------------------------------------------------


def test_list_clean_groups_and_single_stages(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", a=LIGHT, b=LIGHT)
    (root / "recipes/extra").mkdir()
    (root / "recipes/extra/c.yaml").write_text(LIGHT)
    listed = doit(root, "list").out
    assert "a       not built  rows only" in listed
    assert "extra        1" in listed
    assert doit(root, "dataset:a").ran == {"dataset:a"}
    assert doit(root, "a").ran == {"validate:a", "pack:a"}
    assert doit(root).ran == {"dataset:b", "validate:b", "pack:b"}
    assert doit(root, "extra").ran == {"dataset:c", "validate:c", "pack:c"}
    table = doit(root, "-a", "a").out
    assert "recipe  parameters  vocabulary" in table
    assert "built" in table
    assert doit(root, "clean").code == 0
    assert [p.name for p in (root / "dist").iterdir() if p.name[0] == "a"] == []
    assert not (root / "build/a/dataset").exists()
    assert (root / "dist/c").exists()
    assert doit(root, "clean", "-a").code == 0
    assert not (root / "dist").exists()


def test_a_recipe_made_from_another(copy: Path) -> None:
    """The tutorial's last hint: the tiny model found has 1 layer, 3 are needed."""
    deeper = (
        "version: 1\nsummary: deeper\nsource: {recipe: seed}\n"
        "tokenizer: {method: keep}\nmodel: {config: {num_hidden_layers: 3}}\n"
    )
    (copy / "recipes/deeper.yaml").write_text(deeper)
    shutil.rmtree(copy / "dist/seed")
    result = doit(copy, "deeper")
    assert result.code == 0, result.out + result.err
    assert "pack:seed" in result.ran
    config = json.loads((copy / "dist/deeper/config.json").read_text())
    base = json.loads((copy / "dist/seed/config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"]) == (3, 16)
    for key in ("vocab_size", "bos_token_id", "eos_token_id", "architectures"):
        assert config[key] == base[key]
    words = (copy / "dist/seed/tokenizer.json", copy / "dist/deeper/tokenizer.json")
    assert words[0].read_bytes() == words[1].read_bytes()
    # Another summary for the base is only in what the deeper one says of how it was made.
    edit(copy, "seed", "a tiny Llama", "a base")
    assert doit(copy, "deeper").ran == {"pack:seed", "pack:deeper"}
    edit(copy, "seed", "hidden_size: 16", "hidden_size: 32")
    assert {"fetch:deeper", "model:deeper", "pack:deeper"} <= doit(copy, "deeper").ran


def test_recipes_in_a_circle_or_from_nowhere(tmp_path: Path) -> None:
    text = "version: 1\nsummary: x\nsource: {{recipe: {}}}\nmodel: {{}}\n"
    root = make(
        tmp_path / "zoo", a=text.format("b"), b=text.format("a"), c=text.format("cc"), ok=LIGHT
    )
    result = doit(root, "check")
    assert result.code == 1
    assert "recipes/a.yaml:3:10: the recipes need one another: a -> b -> a" in result.err
    assert "recipes/c.yaml:3:10: there is no recipe cc" in result.err
    assert "3 of 4 recipes are broken" in result.err


def test_names_that_cannot_be(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", model=LIGHT, ok=LIGHT)
    (root / "recipes/a b.yaml").write_text(LIGHT)
    (root / "recipes/old.yml").write_text(LIGHT)
    (root / "recipes/group").mkdir()
    (root / "recipes/group/ok.yaml").write_text(LIGHT)
    result = doit(root, "check")
    assert result.code == 1
    for text in (
        "recipes/model.yaml: model is the name of a command or a stage",
        "recipes/a b.yaml: 'a b' cannot be a recipe's name",
        "recipes/old.yml: a recipe's file ends in .yaml",
        "there are two recipes named ok",
    ):
        assert text in result.err, result.err
    assert doit(root).code == 1


def test_an_upstream_file_that_changes(tmp_path: Path) -> None:
    root = make(
        tmp_path / "zoo",
        a="version: 1\nsummary: x\ndataset: {source: {path: ../lines.jsonl}, samples: 2}\n",
    )
    (root / "lines.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n')
    assert doit(root).code == 0
    os.utime(root / "lines.jsonl")
    assert doit(root).ran == set()
    (root / "lines.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "d"}\n')
    why = doit(root, "why", "a").out
    assert "dataset:a                runs: the upstream file lines.jsonl changed" in why
    (root / "lines.jsonl").rename(root / "x")
    assert "the upstream file lines.jsonl is gone" in doit(root, "why", "a").out
    (root / "x").rename(root / "lines.jsonl")
    # The rows that are kept are the same: only the digest of the file goes into the bundle.
    assert doit(root).ran == {"dataset:a", "pack:a"}
    lock = json.loads((root / "dist/a/recipe.lock.json").read_text())
    assert lock["pins"]["dataset"]["wish"]["path"] == "../lines.jsonl"
    found = hashlib.sha256((root / "lines.jsonl").read_bytes()).hexdigest()
    assert lock["pins"]["dataset"]["files"] == {"lines.jsonl": {"sha256": found, "size": 42}}


def test_a_dataset_made_from_anothers(tmp_path: Path) -> None:
    text = "version: 1\nsummary: x\ndataset: {{source: {{recipe: {}}}, samples: {}}}\n"
    root = make(tmp_path / "zoo", a=text.format("base", 2), base=LIGHT, c=text.format("base", 6))
    why = doit(root, "why", "a", "base").out
    assert why.count("dataset:base             runs: not built yet") == 1
    result = doit(root)
    assert result.code == 1
    assert {"dataset:base", "fetch:a", "dataset:a", "pack:a"} <= result.ran
    inside = root / "dist/a/recipes"
    assert {path.name for path in inside.iterdir()} == {"base.yaml", "base.lock.json"}
    assert (inside / "base.yaml").read_text() == LIGHT
    assert "the dataset has 5 rows, not the 6 asked for" in result.out
    edit(root, "base", "samples: 5", "samples: 4")
    ran = doit(root, "a").ran
    assert {"dataset:base", "fetch:a", "dataset:a"} <= ran
    assert "samples: 4" in (inside / "base.yaml").read_text()
    assert "validate:a" not in ran  # its two rows are the same; the lock in the bundle is not
    (root / "recipes/d.yaml").write_text(text.format("model-only", 1))
    (root / "recipes/model-only.yaml").write_text(FULL.replace("dataset: {samples: 60}\n", ""))
    result = doit(root, "check", "d")
    assert "the recipe model-only makes no dataset" in result.err
