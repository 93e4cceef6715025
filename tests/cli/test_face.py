"""`tinybuild COMMAND` and `doit COMMAND` say the same, in real processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from kit.zoo import LIGHT, doit, make, run, tinybuild


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "zoo", one=LIGHT, other=LIGHT, bad="version: 1\n")


def test_both_faces_build_and_say_the_same(root: Path) -> None:
    built = tinybuild(root, "build", "one")
    assert built.code == 0, built.out + built.err
    assert built.ran == {"dataset:one", "validate:one", "pack:one"}
    assert built.out.splitlines()[-1].startswith("1 built in ")
    assert built.out.splitlines()[-1].endswith(": look in dist/")
    for words in (["list"], ["why", "one"], ["check", "one", "--json"], ["list", "o*", "--json"]):
        assert tinybuild(root, *words).out == doit(root, *words).out != ""
    told = json.loads(tinybuild(root, "build", "one", "--json").out)
    assert [row["outcome"] for row in told["recipes"]] == ["up to date"]
    assert json.loads((root / "build/run.json").read_text())["recipes"][0]["outcome"] == "built"
    assert doit(root, "o*").ran == {"dataset:other", "validate:other", "pack:other"}


def test_a_zoo_needs_no_dodo_file_for_tinybuild(root: Path) -> None:
    (root / "dodo.py").unlink()
    assert tinybuild(root, "build", "one").ran == {"dataset:one", "validate:one", "pack:one"}
    failed = tinybuild(root, "build", "one", "bad")
    assert failed.code == 1
    last = failed.out.splitlines()[-1]
    assert last.startswith("1 up to date, 1 failed in ")
    assert last.endswith(": mend what is said above, then build again")
    assert tinybuild(root.parent, "-C", "zoo", "list", "one").out.splitlines()[-1] == (
        "one     up to date  rows only"
    )


def test_what_is_wrong_is_said_in_words_and_as_data(root: Path) -> None:
    refused = tinybuild(root, "check", "--json")
    assert refused.code == 1
    assert json.loads(refused.out)["findings"][-1]["what"] == "1 of 3 recipes are broken"
    assert "recipes/bad.yaml:1:1: the recipe has no summary" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ohter",), "there is no recipe ohter\n  hint: did you mean other?"),
        (("fetch:bad",), "recipes/bad.yaml:1:1: the recipe has no summary"),
        (("x*",), "there is no recipe x*"),
        (("forget", "one"), "build it again: doit -a NAME"),
        (("dumpdb",), "receipts decide what is up to date"),
        (("info", "one"), "hint: doit why NAME"),
        (("tabcompletion",), "hint: see tinybuild completion --help"),
        (("strace", "one"), "a stage sees only what it declares"),
        (("clean", "nix"), "there is no recipe nix"),
        (("list", "--knd"), "doit list has no option --knd\n  hint: did you mean --kind?"),
    ],
)
def test_what_people_try(root: Path, words: tuple[str, ...], said: str) -> None:
    result = doit(root, *words)
    assert result.code == 1
    assert said in result.err
    assert "Traceback" not in result.err
    assert "<" not in result.err


def test_help_is_for_people(root: Path) -> None:
    for words in (("help",), ("-h",)):
        result = doit(root, *words)
        assert result.code == 0
        assert "Builds tiny models" in result.out
    assert "usage: doit clean [NAME | STAGE:NAME ...] [OPTIONS]" in doit(root, "help", "clean").out
    assert tinybuild(root).out == tinybuild(root, "--help").out
    said = tinybuild(root, "biuld").err
    assert said.startswith("there is no command biuld\n  hint: did you mean build")
    assert tinybuild(root, "one").err.endswith("hint: to build the recipe: tinybuild build one\n")


def test_a_folder_that_is_no_zoo_keeps_its_doit(tmp_path: Path) -> None:
    text = "def task_check():\n    'mine'\n    return {'actions': ['echo checked']}\n"
    (tmp_path / "dodo.py").write_text(text)
    assert "check   mine" in doit(tmp_path, "list").out
    assert doit(tmp_path, "check").out == ".  check\n"
    assert doit(tmp_path, "forget", "check").code == 0


def test_what_transformers_warns_of_is_not_said(root: Path) -> None:
    """A command looks at configs with it; what it warns of is for those who wrote them."""
    script = "import os; from tinybuild.cli import face; face.main(['path', 'one'])\n"
    script += "print(os.environ['TRANSFORMERS_VERBOSITY'])"
    ran = run(root, [sys.executable, "-c", script], TRANSFORMERS_VERBOSITY="")
    assert ran.out.endswith("error\n")
