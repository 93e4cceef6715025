"""What workflows run is run here: on a merge in a zoo, with programs that stand for GitHub's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kit.files import ROOT
from kit.forge import Forge
from kit.zoo import DODO, LIGHT

FOLDER = ROOT / ".github/workflows"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
DOCS = (ROOT / "docs/ci.md").read_text()
REUSABLE = ("zoo-pull-request", "zoo-schedule", "zoo-publish")
OTHER = LIGHT.replace("samples: 5", "samples: 6")


def steps(workflow: str) -> Iterator[Mapping[str, Any]]:
    for job in WORKFLOWS[workflow]["jobs"].values():
        yield from job.get("steps", ())


def script(workflow: str, name: str) -> str:
    """What the steps of that name run: the same in each job."""
    (text,) = {step["run"] for step in steps(workflow) if step.get("name") == name}
    assert isinstance(text, str)
    return text


class Runner:
    """Runs scripts in a clone as GitHub's runner does: in bash, until something fails."""

    def __init__(self, forge: Forge, folder: Path, programs: Path):
        self.forge, self.programs = forge, programs
        self.output, self.summary = folder / "output", folder / "summary"

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def run(self, text: str, code: int = 0, **env: str) -> str:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
            cwd=self.forge.root,
            env={
                **os.environ,
                "CI": "true",
                "READ": "",
                "GITHUB_OUTPUT": str(self.output),
                "GITHUB_STEP_SUMMARY": str(self.summary),
                **env,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    @property
    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.output.read_text().splitlines())


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """In a zoo of three recipes, at the merge of a pull request that edits one and adds one."""
    forge = Forge(tmp_path, monkeypatch)
    made = Runner(forge, tmp_path, tmp_path / "bin")
    made.program("tinybuild", f'#!/bin/sh\nexec {sys.executable} -m tinybuild "$@"\n')
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    recipes = forge.root / "recipes"
    recipes.mkdir()
    (forge.root / "dodo.py").write_text(DODO)
    (forge.root / ".gitignore").write_text("/build/\n/dist/\n")
    for name in ("edited", "kept", "third"):
        (recipes / f"{name}.yaml").write_text(LIGHT)
    forge.commit("a zoo")
    forge.git("switch", "--quiet", "--create", "change", at=forge.root)
    (recipes / "edited.yaml").write_text(OTHER)
    (recipes / "added.yaml").write_text(OTHER)
    forge.git("add", "--all", at=forge.root)
    forge.git("commit", "--quiet", "--message", "more rows", at=forge.root)
    forge.git("switch", "--quiet", "main", at=forge.root)
    forge.git("merge", "--quiet", "--no-ff", "--no-edit", "change", at=forge.root)
    return made


@pytest.mark.slow
def test_a_pull_request_is_checked_built_compared_and_said(runner: Runner) -> None:
    def step(name: str, **env: str) -> str:
        return runner.run(script("zoo-pull-request", name), **env)

    step("check")
    step("plan", SHARDS="4")
    assert runner.outputs == {"count": "2", "shards": "[1,2]"}
    built = list[str]()
    for shard in (1, 2):
        place = runner.forge.root / f"diffs/tinybuild-diff-{shard}"
        place.mkdir(parents=True)
        said = step("build", SHARD=f"{shard}/2")
        built += re.findall(r"^pack:(\w+)", said, flags=re.MULTILINE)
        step("compare")
        (runner.forge.root / "diff.json").rename(place / "diff.json")
    assert sorted(built) == ["added", "edited"]
    step("report", COUNT="2")
    report = (runner.forge.root / "report.md").read_text()
    assert "edited" in report
    assert "added" in report
    assert "kept" not in report
    assert runner.summary.read_text() == report
    step("comment", PULL="7")
    step("comment", PULL="7")
    (comment,) = runner.forge["comments"]
    assert report.strip() in comment["body"]


def test_a_shard_that_failed_is_said(runner: Runner) -> None:
    said = script("zoo-pull-request", "report")
    runner.run(said, COUNT="2")
    report = runner.forge.root / "report.md"
    assert report.read_text().startswith("**Of 2 shards, 0 were built**")
    report.unlink()
    runner.run(said, COUNT="0")
    assert report.read_text() == "No bundle is affected.\n"


def test_nothing_is_built_where_nothing_is_affected(runner: Runner) -> None:
    runner.forge.git("switch", "--quiet", "--detach", "HEAD^1", at=runner.forge.root)
    runner.forge.git("merge", "--quiet", "--no-ff", "--no-edit", "main^1", at=runner.forge.root)
    runner.forge.git("commit", "--quiet", "--allow-empty", "-m", "nothing", at=runner.forge.root)
    runner.run(script("zoo-pull-request", "plan"), SHARDS="4")
    assert runner.outputs == {"count": "0", "shards": "[]"}


LOGGED = '#!/bin/sh\nprintf "%s\\n" "$0 $*" | sed "s#^[^ ]*/##" >> "$LOG"\n'


def test_a_merge_publishes_what_it_affects(runner: Runner, tmp_path: Path) -> None:
    """Of the recipes that it affects, those that name a repository."""
    log, real = tmp_path / "log", f'exec {sys.executable} -m tinybuild "$@"\n'
    runner.program("tinybuild", LOGGED + f'case "$1" in ci) {real};; esac\n')
    text = script("zoo-publish", "build and publish")
    runner.run(text, LOG=str(log), BEFORE="HEAD^1")
    assert log.read_text().splitlines() == ["tinybuild ci homes --before HEAD^1"]
    with (runner.forge.root / "recipes/edited.yaml").open("a") as recipe:
        recipe.write("publish: {dataset_repo: org/rows}\n")
    runner.run(text, LOG=str(log), BEFORE="HEAD^1")
    assert log.read_text().splitlines()[2:] == [
        "tinybuild build --jobs 2 edited",
        "tinybuild publish edited",
    ]
    runner.program("tinybuild", '#!/bin/sh\necho "$1 ${HF_TOKEN-none}" >> "$LOG"\necho edited\n')
    runner.run(text, LOG=str(log), BEFORE="HEAD^1", READ="hf_reads", HF_TOKEN="")
    assert log.read_text().splitlines()[-3:] == ["ci ", "build hf_reads", "publish "]
    runner.program("tinybuild", LOGGED + f'case "$1" in ci) {real};; esac\n')
    runner.program("model_signing", LOGGED)
    runner.run(text, LOG=str(log), BEFORE="HEAD^1", SIGN="true")
    signature = "--signature dist/edited/model.sig --use_ambient_credentials"
    assert log.read_text().splitlines()[-2:] == [
        f"model_signing sign sigstore dist/edited {signature}",
        "tinybuild publish edited",
    ]


def test_a_merge_whose_run_was_lost_is_published_by_the_next(runner: Runner) -> None:
    """GitHub cancels a run that waits when another merge comes; what it would have published
    differs from the last run that succeeded."""
    forge = runner.forge
    for path in (forge.root / "recipes").glob("*.yaml"):
        path.write_text(path.read_text() + f"publish: {{dataset_repo: org/{path.stem}}}\n")
    forge.commit("all are published")
    first = forge.git("rev-parse", "HEAD", at=forge.root)
    for name in ("kept", "third"):
        recipe = forge.root / f"recipes/{name}.yaml"
        recipe.write_text(recipe.read_text().replace("samples: 5", "samples: 7"))
        forge.commit(name)

    def homes(before: str, *runs: str, may: bool = True) -> list[str]:
        state = json.loads(forge.state.read_text())
        forge.state.write_text(json.dumps({**state, "runs": [*runs] if may else None}))
        place = "o/r/.github/workflows/release.yml@refs/heads/main"
        text = 'tinybuild ci homes --before "$BEFORE"'
        return runner.run(text, BEFORE=before, GITHUB_WORKFLOW_REF=place).split()

    assert homes("HEAD^1") == ["third"]
    assert homes("HEAD^1", first) == ["kept", "third"]
    last = [str(word) for word in forge["calls"][-1]]
    assert last[:6] == ["run", "list", "--workflow", "release.yml", "--branch", "main"]
    assert homes("HEAD^1", "f" * 40) == ["third"]  # that commit is of a history that is gone
    assert homes("HEAD^1", may=False) == ["third"]
    everything = ["added", "edited", "kept", "third"]
    assert homes("0" * 40) == everything  # a branch that is new


def test_the_schedule_proposes_all_or_what_has_the_label(runner: Runner, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("tinybuild", "gh"):
        runner.program(name, LOGGED)
    env = {"LOG": str(log), "BASE": "main", "MOST": "3"}
    runner.run(script("zoo-schedule", "propose"), HEAD="", **env)
    runner.run(script("zoo-schedule", "propose"), HEAD="tinybuild/update/a", **env)
    env["GITHUB_REPOSITORY"] = "o/r"
    runner.run(script("zoo-schedule", "take the label away"), PULL="7", **env)
    assert log.read_text().splitlines() == [
        "tinybuild ci propose --base main --most 3",
        "tinybuild ci propose a --base main --most 3",
        "gh api --silent --method DELETE repos/o/r/issues/7/labels/tinybuild-again",
    ]


@pytest.mark.parametrize("name", REUSABLE)
def test_packages_are_installed_as_they_are_written(
    runner: Runner, tmp_path: Path, name: str
) -> None:
    log = tmp_path / "log"
    runner.program("pip", LOGGED)
    packages = "-c constraints.txt -e '.[zoo]'"
    runner.run(script(name, "install"), LOG=str(log), PACKAGES=packages)
    assert log.read_text() == "pip install --quiet -c constraints.txt -e .[zoo]\n"


def test_the_toolchain_is_listed_and_audited(runner: Runner, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("pip", "cyclonedx-py", "pip-audit"):
        runner.program(name, LOGGED)
    for name in ("tools", "list the toolchain", "audit"):
        runner.run(script("audit", name), LOG=str(log))
    tools, listing, audit = log.read_text().splitlines()
    assert re.fullmatch(r"pip install --quiet pip-audit==\S+ cyclonedx-bom==\S+", tools)
    assert listing.startswith("cyclonedx-py requirements ")
    assert listing.endswith("--output-file sbom.cdx.json requirements.hashes.txt")
    assert audit.startswith("pip-audit --require-hashes ")


def test_what_takes_long_is_tried_every_week(runner: Runner, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("pip", "pytest", "python"):
        runner.program(name, LOGGED)
    for name in ("install", "walk", "damage", "slow tests"):
        runner.run(script("deep", name), LOG=str(log))
    install, *tried = log.read_text().splitlines()
    assert install == "pip install --quiet -c constraints.txt -e .[test]"
    assert tried == [
        "pytest -n 0 -m slow -s tests/engine/test_state.py",
        "python -m kit.fuzz 10000",
        "pytest -m slow --deselect tests/engine/test_state.py",
    ]
    assert "TINYBUILD_STEPS" in (ROOT / "tests/engine/test_state.py").read_text()
    assert (ROOT / "tests/kit/fuzz.py").is_file()


def test_the_programs_that_benchmarks_compare_with_are_there(
    runner: Runner, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    runner.program("pipx", LOGGED)
    runner.run(script("benchmarks", "peers"), LOG=str(log))
    asked = [
        re.fullmatch(r"pipx install (\w+)==[\d.]+", one) for one in log.read_text().splitlines()
    ]
    names = {one[1] for one in asked if one}
    source = (ROOT / "benchmarks/noop.py").read_text()
    assert names | {"make"} == {*re.findall(r'name="(\w+)"', source)}


def test_benchmarks_are_run_and_their_history_goes_on(runner: Runner, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("pip", "python", "gh"):
        runner.program(name, LOGGED)
    for name in ("history", "measure"):
        runner.run(script("benchmarks", name), LOG=str(log))
    assert log.read_text().splitlines()[-1] == (
        "python -m benchmarks --history history.jsonl growth noop cold store dataset memory"
    )
    # The next run takes up what the last one left.
    runner.program("gh", '#!/bin/sh\n[ "$2" = list ] && echo 7 || echo "$@" >> "$LOG"\n')
    runner.run(script("benchmarks", "history"), LOG=str(log))
    assert log.read_text().endswith("run download 7 --name benchmarks\n")


def test_every_script_is_run_here() -> None:
    text = Path(__file__).read_text()
    for name in WORKFLOWS:
        for step in steps(name):
            if "run" in step:
                assert f'"{step["name"]}"' in text, f"{name}: {step['name']} is run by no test"


def test_no_script_has_an_expression_in_it() -> None:
    """What others can write (a branch's name, a title) reaches a script in its environment only."""
    for name in WORKFLOWS:
        assert not [step for step in steps(name) if "${{" in step.get("run", "")]


def test_permissions_are_the_least_and_actions_are_pinned() -> None:
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {}, name
        for job in workflow["jobs"].values():
            assert job["permissions"], name
        for step in steps(name):
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"]), step
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
    publish = WORKFLOWS["zoo-publish"]["jobs"]["publish"]
    wanted = {"contents": "read", "actions": "read", "id-token": "write"}
    assert publish["permissions"] == wanted
    secrets = WORKFLOWS["zoo-publish"][True]["workflow_call"]["secrets"]
    assert [*secrets] == ["hf_token"]
    assert (FOLDER / "zoo-publish.yml").read_text().count("secrets.") == 1


def test_ten_lines_are_enough() -> None:
    for name in ("pull-request", "schedule", "publish"):
        assert len((FOLDER / f"{name}.yml").read_text().splitlines()) <= 12
        (job,) = WORKFLOWS[name]["jobs"].values()
        assert job["uses"] == f"./.github/workflows/zoo-{name}.yml"
        inputs = WORKFLOWS[f"zoo-{name}"][True]["workflow_call"]["inputs"]  # YAML 1.1: on is True
        assert job["with"].keys() <= inputs.keys()


def test_the_lines_of_another_zoo_are_those_of_ours() -> None:
    """docs/ci.md shows them, with the place of the reusable ones and what that zoo installs."""
    shown = re.findall(r"```yaml\n# \.github/workflows/(\S+)\n(.*?)```", DOCS, flags=re.DOTALL)
    assert {name for name, _ in shown} == {"pull-request.yml", "schedule.yml", "publish.yml"}
    for name, text in shown:
        ours = (FOLDER / name).read_text()
        ours = ours.replace("-c constraints.txt -e .[zoo]", "-r requirements.txt")
        ours = re.sub(r"uses: \./(\S+)", r"uses: OWNER/tinybuild/\1@main", ours)
        assert text == ours


def test_the_workflows_are_as_the_schema_says() -> None:
    pytest.importorskip("check_jsonschema")
    words = ["--builtin-schema", "vendor.github-workflows", *map(str, FOLDER.glob("*.yml"))]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *words, "--output-format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)["status"] == "ok", done.stdout
