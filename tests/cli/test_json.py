"""`--json` on every command: one JSON document on standard output, and a documented exit code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from kit.git import commit
from kit.zoo import LIGHT, answered, make

from tinybuild.cli import face
from tinybuild.cli.command import Lines, Options
from tinybuild.cli.commands import COMMANDS
from tinybuild.cli.session import Session
from tinybuild.config import heads

CODES = (0, 1, 3)  # 2 is a bug of ours
REFUSED = (("nix-is-not-here", "nor-this"), ("--nix",))
# What a command is asked in a zoo of rows where that is not nothing, with its exit code. A command
# that stands here in no line is asked without a word.
ASKED: Mapping[str, tuple[str, int]] = {
    "affected": ("HEAD", 0),
    "build": ("one other", 0),
    "ci": ("homes one", 0),
    "clean": ("other", 0),
    "diff": ("HEAD one", 0),
    "import": ("dist/one", 1),  # without a source
    "init": ("more", 0),
    "new": ("./source tokens", 0),
    "path": ("one", 0),
    "publish": ("one", 1),  # no repository is named
    "rebuild": ("dist/nix", 1),  # tests/artefact/test_rebuild.py has one that builds
    "show": ("one", 0),
    "sign": ("one", 1),  # without a key
    "store": ("sums", 0),
    "table": ("", 0),
    "unpack": ("one --rows 1-2 --to rows", 0),
    "verify": ("one", 0),
}


def words(name: str) -> list[str]:
    return [name, *ASKED.get(name, ("", 0))[0].split(), "--json"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, ...], tuple[int, str]]:
    """Words of a command -> its exit code, and what it wrote to standard output."""
    root = make(tmp_path_factory.mktemp("json") / "zoo", one=LIGHT, other=LIGHT)
    (root / "source").mkdir()
    (root / "source/tokenizer.json").write_text("{}")
    (root / "docs").mkdir()
    (root / ".gitignore").write_text("build/\ndist/\n")
    commit(root)
    last = ("missing", "table")
    between = (name for name in COMMANDS if name not in ("build", "clean", *last))
    asked = [["nix", "--json"], ["-C", "nix", "list", "--json"]]
    asked += [[name, *more, "--json"] for name in COMMANDS for more in REFUSED]
    asked += map(words, ["build", *between, "clean"])
    answers = answered(root, asked)
    # Every model type has a recipe: test_architectures.py has some of which `missing` writes one.
    (root / "recipes/architectures").mkdir()
    for name in heads.types():
        (root / f"recipes/architectures/arch-{name}.yaml").touch()
    asked += map(words, last)
    answers += answered(root, asked[-len(last) :])
    return {tuple(one): answer for one, answer in zip(asked, answers, strict=True)}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_answers_is_one_document(
    told: Mapping[tuple[str, ...], tuple[int, str]], name: str
) -> None:
    code, out = told[tuple(words(name))]
    assert code in CODES
    assert name not in ASKED or code == ASKED[name][1], out
    value = json.loads(out)
    assert value is not None
    assert (code == 1) == is_refusal(value)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("more", REFUSED)
def test_what_is_wrong_is_a_document_too(
    told: Mapping[tuple[str, ...], tuple[int, str]], name: str, more: tuple[str, ...]
) -> None:
    code, out = told[name, *more, "--json"]
    assert (code, is_refusal(json.loads(out))) == (1, True), out


@pytest.mark.parametrize("more", [("nix",), ("-C", "nix", "list")])
def test_a_command_that_is_not_there_is_a_document_too(
    told: Mapping[tuple[str, ...], tuple[int, str]], more: tuple[str, ...]
) -> None:
    code, out = told[*more, "--json"]
    assert (code, is_refusal(json.loads(out))) == (1, True), out


def is_refusal(value: object) -> bool:
    """Whether an answer is findings, each with what is wrong."""
    found = value.get("findings") if isinstance(value, dict) else None
    return bool(found) and all(one["what"] for one in found)


def test_a_bug_ends_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A command that raises what nobody meant to raise: a traceback, and exit code 2."""

    def fail(here: Session, words: Sequence[str], options: Options) -> Lines:
        yield "begun"
        raise ZeroDivisionError("nobody meant this")

    listing = replace(COMMANDS["list"], do=fail, zoo=False)
    monkeypatch.setattr(face, "COMMANDS", {"list": listing})
    monkeypatch.setattr(face, "session", lambda: Session(tmp_path))
    assert face.main(["list", "--json"]) == 2
    out, err = capfd.readouterr()
    assert "nobody meant this" in json.loads(out)["bug"]
    assert err.startswith("a bug in list; please report it\nTraceback ")
