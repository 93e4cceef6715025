"""`check` takes names, groups, and files as pre-commit gives them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kit.files import ROOT
from kit.zoo import LIGHT, doit, environment, make

ROWS = "version: 1\nsummary: rows\ndataset: {source: {path: sources/rows}, samples: 1}\n"
SAME = "version: 1\nsummary: the same\ndataset: {source: {recipe: rows}, samples: 1}\n"
WRONG = ROWS.replace("sources/rows}", "sources/rows, config: other}")
MODEL = "version: 1\nsummary: s\nsource: {transformers: gpt2}\nmodel: {config: {n_layers: 2}}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make(tmp_path / "zoo", a=LIGHT, rows=ROWS, same=SAME, wrong=WRONG)
    (root / "recipes/sources/rows").mkdir(parents=True)
    (root / "recipes/sources/rows/train.jsonl").write_text('{"a": 1}\n')
    return root


def test_a_file_stands_for_its_recipes_and_those_that_build_on_them(root: Path) -> None:
    def names(*words: str) -> list[str]:
        result = doit(root, "check", *words, "--json")
        assert result.code == 0, result.err
        return sorted(json.loads(result.out)["recipes"])

    (root / "recipes/rows.lock.json").write_text('{"version": 1, "pins": {}}')
    assert names("recipes/a.yaml", "./recipes/rows.yaml") == ["a", "rows", "same"]
    assert names("recipes/rows.lock.json", str(root / "recipes/a.yaml")) == ["a", "rows", "same"]


def test_a_source_stands_for_the_recipes_that_read_it(root: Path) -> None:
    result = doit(root, "check", "recipes/sources/rows/train.jsonl")
    assert result.code == 1
    assert (
        "recipes/wrong.yaml:3:40: the source has no config other\n  hint: known: default\n"
        "1 of 3 recipes are broken" in result.err.replace("check: ", "")
    )
    (root / "notes.yaml").write_text("")
    result = doit(root, "check", "./notes.yaml")
    assert "./notes.yaml is not the file of a recipe" in result.err


@pytest.mark.slow
def test_an_unknown_key_is_found_where_it_stands(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", gpt=MODEL)
    result = doit(root, "check", "recipes/gpt.yaml")
    assert result.code == 1
    assert "recipes/gpt.yaml:4:18: GPT2Config has no 'n_layers'" in result.err
    assert not (root / "dist").exists()


def test_the_hook_of_pre_commit_runs_as_it_says(root: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["require_serial"]
    (root / "zoo.yaml").write_text("version: 1\n")
    files = ["recipes/a.yaml", "recipes/rows.yaml", "recipes/sources/rows/train.jsonl", "zoo.yaml"]
    assert all(re.search(hook["files"], file) for file in files)
    program, *arguments = hook["entry"].split()
    assert program == "tinybuild"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", program, *arguments, *files],
            cwd=root,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    assert run().returncode == 1
    (root / "recipes/wrong.yaml").unlink()
    passed = run()
    assert (passed.returncode, passed.stderr) == (0, "")
