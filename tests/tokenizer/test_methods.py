"""Methods: each says everything of itself, and another one is added by one entry."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kit import house, zoo
from kit.files import ROOT

from tinybuild.recipe.contract import contract
from tinybuild.tokenizer.methods import EVERY, METHODS

FIRST = '''"""method: first. The first `vocab_size` of the tokens that the recipe gives."""

import dataclasses

from tinybuild.tokenizer.scratch import scratch


def first(work):
    tokens = work.section["vocab"][: work.section["vocab_size"]]
    return scratch(dataclasses.replace(work, section={**work.section, "vocab": tokens}))
'''
ENTRY = """\
    "first": Method(
        make="tinybuild.tokenizer.first:first",
        about="the first of the tokens that the recipe gives",
        needs=("vocab", "vocab_size"),
        source=False,
    ),"""
TABLE = ("tokenizer/methods.py", "METHODS: Mapping[str, Method] = {")
HEAD = "version: 1\nsummary: a test\n"
TOKENS = '["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", a, b, c, "##a", "##b", "##c", d]'


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PYTHONPATH of a package with one more method."""
    place = tmp_path_factory.mktemp("package")
    return house.extended(place, "tokenizer/first.py", FIRST, TABLE, ENTRY)


def test_a_method_from_outside_builds(package: str, tmp_path: Path) -> None:
    section = f"{{class: BertTokenizer, method: first, vocab_size: 8, vocab: {TOKENS}}}"
    root = zoo.make(tmp_path / "zoo", good=f"{HEAD}tokenizer: {section}\n")
    done = zoo.doit(root, PYTHONPATH=package)
    assert done.code == 0, done.out + done.err
    made = json.loads((root / "dist" / "good" / "tokenizer.json").read_text())
    assert list(made["model"]["vocab"]) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc"]
    card = (root / "dist" / "good" / "README.md").read_text()
    assert "tokenizer: the vocabulary in the recipe" in card


def test_a_method_from_outside_is_checked(package: str, tmp_path: Path) -> None:
    """(These said "well-formed", or ended in a traceback.)"""
    wrong = {
        "keys": "{method: first, vocab: [a], vocab_size: 1, merges: [a b], weighted: true}",
        "lacking": "{method: first, vocab: [a], class: BertTokenizer}",
        "typed": "{method: first, vocab: [a], vocab_size: many, class: BertTokenizer}",
        "classless": "{method: first, vocab: [a], vocab_size: 1}",
        "unknown": "{method: firs, vocab: [a], vocab_size: 1}",
    }
    recipes = {name: f"{HEAD}tokenizer: {section}\n" for name, section in wrong.items()}
    root = zoo.make(tmp_path / "zoo", **recipes)
    done = zoo.doit(root, "check", PYTHONPATH=package)
    text = done.out + done.err
    assert done.code == 1, text
    assert "Traceback" not in text
    place = r"recipes/{}\.yaml:3:\d+: "
    for name, what in {
        "keys": r"tokenizer\.merges is only for method: scratch",
        "lacking": "tokenizer has no vocab_size",
        "typed": "tokenizer.vocab_size must be a whole number",
        "classless": "method: first needs a class or a source",
        "unknown": "tokenizer.method must be one of first, truncate, corpus, train, scratch, keep",
    }.items():
        assert re.search(place.format(name) + what, text), text
    assert "tokenizer.weighted is only for method: train" in text
    assert "did you mean first?" in text


def test_the_package_without_it_does_not_know_it(tmp_path: Path) -> None:
    root = zoo.make(tmp_path / "zoo", x=f"{HEAD}tokenizer: {{method: first, vocab: [a]}}\n")
    done = zoo.doit(root, "check")
    assert done.code == 1
    assert "tokenizer.method must be one of truncate, corpus, train, scratch, keep" in (
        done.out + done.err
    )


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_what_it_says(name: str) -> None:
    method = METHODS[name]
    assert callable(method.function)
    assert not {*method.needs} & {*method.takes}
    known = {*contract("recipe")["$defs"]["tokenizer"]["properties"]}
    assert {*EVERY, *method.keys} <= known
    assert bool(method.texts) is method.reads
    assert method.source or not (method.shrinks or method.unchanged)
    # The table of the docs says of each what it says of itself.
    table = (ROOT / "docs" / "tokenizers.md").read_text()
    assert f"| `{name}` | {method.about} |" in table


def test_the_contract_names_the_methods_for_editors() -> None:
    section = contract("recipe")["$defs"]["tokenizer"]["properties"]
    assert section["method"]["enum"] == list(METHODS)
    keys = {key for method in METHODS.values() for key in method.keys}
    assert {*section} == {*EVERY, *keys}


def test_asking_the_table_imports_no_method() -> None:
    """Whoever reads a recipe asks it, on every `doit`."""
    program = "import sys, tinybuild.tokenizer.methods; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {name for name in done.stdout.split() if name.startswith("tinybuild.")}
    assert loaded == {"tinybuild.tokenizer", "tinybuild.tokenizer.methods"}
