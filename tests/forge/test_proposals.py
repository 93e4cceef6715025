"""Few pull requests, each for a recipe whose upstream moved, with what that changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit import hub
from kit.files import ROOT
from kit.forge import Forge
from kit.zoo import DODO

from tinybuild import drift
from tinybuild.drift.moved import Moved, Said, State
from tinybuild.errors import BuildFault, RecipeFault
from tinybuild.forge import programs
from tinybuild.forge.proposals import SKIPPED, Outdated, choose, opened, outdated, propose, skipped

WHY = (Said(what="org/x is gated"),)


class Tinybuild:
    """Answers of tinybuild's commands: update writes the lock that is upstream now."""

    def __init__(self) -> None:
        self.upstream, self.builds, self.differs = "two", True, True
        self.last: State = "same"

    def __call__(self, root: Path, *words: str) -> programs.Said:
        code, out, err = 0, "", ""
        match words:
            case ["update", name]:
                (root / "recipes" / f"{name}.lock.json").write_text(self.upstream)
                code, out = 3, f"{name}: the template moved\n"
            case ["build", _]:
                code, err = (0, "") if self.builds else (1, "vocab_size 300 is too small\n")
            case ["diff", _, _, "--markdown"]:
                code, out = (3, "| chat template | changed |\n") if self.differs else (0, "")
            case ["outdated", "--json"]:
                states = ("moved", "commit", "same", "moved", "unlocked", self.last)
                every = [
                    Moved(recipe=name, slot="source", source="hub org/x", state=state, refusals=WHY)
                    for name, state in zip("abcade", states, strict=True)
                ]
                code, out = 1, json.dumps(dict(drift.data(every)))
        return programs.Said(name=f"tinybuild {words[0]}", code=code, out=out, err=err)


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Forge:
    made = Forge(tmp_path, monkeypatch)
    (made.root / "recipes").mkdir()
    for name in ("a", "b"):
        (made.root / f"recipes/{name}.lock.json").write_text("one")
    made.commit("a zoo")
    return made


@pytest.fixture
def tinybuild(monkeypatch: pytest.MonkeyPatch) -> Tinybuild:
    made = Tinybuild()
    monkeypatch.setattr(programs, "tinybuild", made)
    return made


def test_what_is_open_comes_first_and_there_are_few() -> None:
    chosen = choose(["a", "b", "c", "d", "e"], ["d", "x"], {"b": "its licence changed"})
    assert chosen.propose == ("d", "a")
    assert chosen.left == {
        "b": "skipped: its licence changed",
        "c": "2 pull requests are open; at most 3 are",
        "e": "2 pull requests are open; at most 3 are",
    }
    assert choose(["a"], ["x", "y", "z"], {}).propose == ()
    assert choose(["a", "b", "c", "d"], [], {}).propose == ("a", "b", "c")


def test_only_what_is_used_has_moved(forge: Forge, tinybuild: Tinybuild) -> None:
    assert outdated(forge.root) == Outdated(moved=("a",), unknown={})
    tinybuild.last = "refused"
    assert outdated(forge.root) == Outdated(moved=("a",), unknown={"e": "org/x is gated"})


def test_what_cannot_be_asked_is_said(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    said = programs.Said(name="tinybuild outdated", code=1, out='{"findings": []}', err="no zoo\n")
    monkeypatch.setattr(programs, "tinybuild", lambda *words: said)
    with pytest.raises(BuildFault, match="tinybuild outdated ended with 1: no zoo"):
        outdated(forge.root)


def test_a_pull_request_says_what_changes(forge: Forge, tinybuild: Tinybuild) -> None:
    said = propose(forge.root, "a", base="main", known=None)
    assert said == "a: https://github.com/o/r/pull/1"
    (pull,) = forge["pulls"]
    assert (pull["title"], pull["base"]) == ("a: its upstream moved", "main")
    assert "a: the template moved\n\n## In the bundle\n\n| chat template" in pull["body"]
    assert f"write `a: REASON` to `{SKIPPED}`" in pull["body"]
    assert opened(forge.root) == {"a": 1}
    shown = forge.git("show", "--stat", "--format=%an %s", "tinybuild/update/a", at=forge.root)
    assert shown.startswith("github-actions[bot] a: its upstream moved")
    assert "1 file changed" in shown
    # The clone is as it was.
    assert (forge.root / "recipes/a.lock.json").read_text() == "one"
    assert forge.git("status", "--porcelain", at=forge.root) == ""


def test_a_second_run_brings_it_up_to_date(forge: Forge, tinybuild: Tinybuild) -> None:
    propose(forge.root, "a", base="main", known=None)
    again = propose(forge.root, "a", base="main", known=1)
    assert again == "a: the branch tinybuild/update/a says so already"
    tinybuild.upstream, tinybuild.builds = "three", False
    propose(forge.root, "a", base="main", known=1)
    (pull,) = forge["pulls"]
    assert pull["title"] == "a: its upstream moved, and it does not build any more"
    assert "vocab_size 300 is too small" in pull["body"]
    place = "tinybuild/update/a:recipes/a.lock.json"
    assert forge.git("show", place, at=forge.root.parent / "origin") == "three"


def test_what_changes_nothing_is_not_proposed(forge: Forge, tinybuild: Tinybuild) -> None:
    tinybuild.differs = False
    said = propose(forge.root, "a", base="main", known=None)
    assert said == "a: its bundle stays as it is"
    tinybuild.upstream = "one"
    said = propose(forge.root, "b", base="main", known=None)
    assert said == "b: its lock stays as it is"
    assert forge["pulls"] == []


def test_nobodys_work_is_lost(forge: Forge, tinybuild: Tinybuild) -> None:
    propose(forge.root, "a", base="main", known=None)
    forge.git("switch", "--quiet", "tinybuild/update/a", at=forge.root)
    (forge.root / "recipes/a.yaml").write_text("version: 1\n")
    forge.git("add", "--all", at=forge.root)
    forge.git("commit", "--quiet", "--message", "follow it", at=forge.root)
    forge.git("push", "--quiet", "origin", "HEAD:tinybuild/update/a", at=forge.root)
    forge.git("switch", "--quiet", "main", at=forge.root)
    tinybuild.upstream = "three"
    said = propose(forge.root, "a", base="main", known=1)
    assert said == "a: somebody works on tinybuild/update/a"
    (forge.root / "recipes/b.lock.json").write_text("mine")
    with pytest.raises(BuildFault, match="something is not committed here"):
        propose(forge.root, "a", base="main", known=1)
    assert (forge.root / "recipes/b.lock.json").read_text() == "mine"


def test_a_branch_that_cannot_be_asked_for_is_not_written(
    forge: Forge, tinybuild: Tinybuild
) -> None:
    """A private repository lets nobody read without a login: that is not an absent branch."""
    propose(forge.root, "a", base="main", known=None)
    held = forge.git("rev-parse", "tinybuild/update/a", at=forge.root.parent / "origin")
    real = str(forge.root.parent / "origin")
    forge.git("remote", "set-url", "--push", "origin", real, at=forge.root)
    forge.git("remote", "set-url", "origin", str(forge.root.parent / "closed"), at=forge.root)
    tinybuild.upstream = "three"
    with pytest.raises(BuildFault, match="git ls-remote ended with 128"):
        propose(forge.root, "a", base="main", known=1)
    assert forge.git("rev-parse", "tinybuild/update/a", at=forge.root.parent / "origin") == held


def test_who_is_skipped_has_a_reason(tmp_path: Path) -> None:
    assert skipped(tmp_path, ["a"]) == {}
    path = tmp_path / SKIPPED
    path.parent.mkdir()
    path.write_text("a: its licence changed\n")
    assert skipped(tmp_path, ["a"]) == {"a": "its licence changed"}
    path.write_text("abd: its licence changed\nabc:\n")
    with pytest.raises(RecipeFault) as caught:
        skipped(tmp_path, ["abc"])
    assert [str(finding) for finding in caught.value.findings] == [
        f"{SKIPPED}: there is no recipe abd\n  hint: did you mean abc?",
        f"{SKIPPED}: abc has no reason\n  hint: write abc: why it is left as it is",
    ]
    path.write_text("- a\n")
    with pytest.raises(RecipeFault, match="a mapping of recipes to reasons is wanted"):
        skipped(tmp_path, ["a"])


@pytest.mark.slow
def test_a_week_with_the_real_commands(forge: Forge, tmp_path: Path) -> None:
    """A dataset of the loopback Hub gets other rows: outdated, update, build, diff, and gh."""
    rows = "version: 1\nsummary: s\ndataset: {source: {hub: org/rows}, samples: 1}\n"
    for old in (forge.root / "recipes").iterdir():
        old.unlink()
    for name in ("first", "second"):
        (forge.root / f"recipes/{name}.yaml").write_text(rows)
    (forge.root / ".gitignore").write_text("/build/\n/dist/\n")
    with hub.serve() as server:
        env = {"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
        env["PYTHONPATH"] = str(ROOT)
        server.dataset("org/rows").commit({"train.jsonl": b'{"a": 1}\n'})
        (forge.root / "dodo.py").write_text(DODO)
        built = tinybuild_(forge.root, "build", "first", "second", **env)
        assert built.returncode == 0, built.stdout + built.stderr
        (forge.root / ".github").mkdir()
        (forge.root / SKIPPED).write_text("second: it is read by nobody\n")
        forge.commit("locks")
        quiet = tinybuild_(forge.root, "ci", "propose", CI="true", **env)
        assert (quiet.returncode, quiet.stdout) == (0, "nothing moved that is used\n"), quiet.stderr
        server.dataset("org/rows").commit({"train.jsonl": b'{"a": 2}\n'})
        said = tinybuild_(forge.root, "ci", "propose", CI="true", **env)
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.splitlines() == [
        "second: skipped: it is read by nobody",
        "first: https://github.com/o/r/pull/1",
    ]
    (pull,) = forge["pulls"]
    assert pull["title"] == "first: its upstream moved"
    before, after = pull["body"].split("## In the bundle")
    assert "org/rows" in before
    assert "first" in after
    assert forge.git("status", "--porcelain", at=forge.root) == ""


def tinybuild_(root: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tinybuild", *words],
        cwd=root,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
