"""A source kind, a dataset format and a way to choose rows are added from outside, by one entry."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from kit import zoo
from kit.files import ROOT

KIND = '''"""Text that stands in the recipe."""

from tinybuild.source.kinds import Kind, Resolved


def resolve(request):
    request.out.mkdir(parents=True)
    text = request.out / "rows.jsonl"
    text.write_text(request.wish.text())
    letters = str(len(request.wish.text()))
    return Resolved(facts={"letters": letters}, files={text.name: lambda: text})


KIND = Kind(
    look=lambda wish, memo: None,
    resolve=resolve,
    made_from=lambda wish, facts: f"{facts['letters']} letters in the recipe",
    rows_of=lambda wish: "text in the recipe",
    facts=("letters",),
    locked=True,
)
'''
FORMAT = '''"""Files of which each line is shouted."""

import pyarrow

from tinybuild.dataset.rows import Shard


def schema(file):
    return pyarrow.schema([("shouted", pyarrow.string())])


def shard(file, features):
    def read(start):
        lines = file.path.read_text().upper().splitlines()
        yield pyarrow.table({"shouted": lines}).slice(start)

    return Shard(name=file.name, rows=None, read=read)
'''
RECIPES = {
    "inline": r"""
version: 1
summary: text in the recipe
dataset:
  source: {inline: "{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}"}
  samples: 2
  select: last
""",
    "shout": """\
version: 1
summary: another format
dataset: {source: {path: ../hello.shout}, samples: 2}
""",
    "again": """\
version: 1
summary: what another recipe made
dataset: {source: {recipe: inline}, samples: 1}
""",
}


def insert(path: Path, *pairs: tuple[str, str]) -> None:
    """Put a line before another one."""
    text = path.read_text()
    for before, line in pairs:
        assert text.count(before) == 1
        text = text.replace(before, f"{line}\n{before}")
    path.write_text(text)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package with three more entries; the folder that it is in."""
    made = tmp_path / "package"
    shutil.copytree(ROOT / "tinybuild", made / "tinybuild", ignore=shutil.ignore_patterns("__*__"))
    shutil.copytree(ROOT / "schemas", made / "schemas")
    for file in (ROOT / "tinybuild").rglob("__init__.py"):
        shutil.copy(file, made / file.relative_to(ROOT))
    folder = made / "tinybuild"
    (folder / "source" / "inline.py").write_text(KIND)
    (folder / "dataset" / "shout.py").write_text(FORMAT)
    insert(
        folder / "source" / "__init__.py",
        ("from tinybuild.source.kinds import", "from tinybuild.source import inline"),
        ('    "path": folder.KIND,', '    "inline": inline.KIND,'),
    )
    insert(
        folder / "dataset" / "formats.py",
        ("from tinybuild.dataset.rows import", "from tinybuild.dataset import shout"),
        (
            '    "arrow": Format(',
            '    "shout": Format(schema=shout.schema, shard=shout.shard, of_rows=True, '
            'suffixes=(".shout",)),',
        ),
    )
    insert(
        folder / "dataset" / "select.py",
        (
            '    "first": Way(',
            '    "last": Way(take=lambda rows, wanted, seed: _numbered('
            'rows, f"{rows.total() - wanted + 1}-{rows.total()}"), before="the last "),',
        ),
    )
    return made


def test_one_entry_is_enough(package: Path, tmp_path: Path) -> None:
    """The real doit fetches, builds, checks and packs with them."""
    import pyarrow.parquet

    root = zoo.make(tmp_path / "zoo", **RECIPES)
    (root / "hello.shout").write_text("hello\nworld\nagain\n")
    result = zoo.doit(root, PYTHONPATH=str(package))
    assert result.code == 0, result.out + result.err
    rows = {
        name: pyarrow.parquet.read_table(root / f"dist/{name}/dataset/data").to_pylist()
        for name in RECIPES
    }
    assert rows == {
        "inline": [{"a": 2}, {"a": 3}],
        "shout": [{"shouted": "HELLO"}, {"shouted": "WORLD"}],
        "again": [{"a": 2}],
    }
    card = (root / "dist/inline/README.md").read_text()
    assert "- dataset: 26 letters in the recipe" in card
    card = (root / "dist/inline/dataset/README.md").read_text()
    assert "the last 2 rows of text in the recipe" in card
    pin = json.loads((root / "recipes/inline.lock.json").read_text())["pins"]["dataset"]
    assert pin["letters"] == "26"
    assert zoo.doit(root, PYTHONPATH=str(package)).ran == set()
    result = zoo.doit(root, "unpack", "inline", "--to", "x", PYTHONPATH=str(package))
    assert result.code == 0, result.out + result.err
    assert {path.name for path in (root / "x").iterdir()} == {"1", "2", "3", "features.json"}
