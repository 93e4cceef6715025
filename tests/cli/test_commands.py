"""The table of commands, and what names on the command line stand for."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest
from doit.doit_cmd import DoitMain
from kit.files import ROOT
from kit.laid import Bundle
from kit.zoo import LIGHT, make

from tinybuild import recipe
from tinybuild.bundle import size
from tinybuild.catalog.query import QUERIES
from tinybuild.cli import building, plugins
from tinybuild.cli.command import Answer
from tinybuild.cli.commands import COMMANDS
from tinybuild.cli.session import Session
from tinybuild.engine.code import closure
from tinybuild.engine.plan import RESERVED
from tinybuild.engine.stages import STAGES
from tinybuild.errors import RecipeFault


def test_no_recipe_can_have_the_name_of_a_command() -> None:
    """A recipe would be a task of the same name; `all` and `zoo` are those of the whole."""
    own = {command.get_name() for command in DoitMain.DOIT_CMDS}
    auto = "auto"  # once doit's own, now a plugin's
    assert {*COMMANDS, *STAGES, *own, "all", "zoo", auto} == {*RESERVED}


def test_doit_gets_no_name_that_it_does_not_have() -> None:
    """Another project in the same environment may have a task of any other name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["doit.COMMAND"]
    assert {*points} == {*plugins.OWN}
    for name, place in points.items():
        module, _, attribute = place.partition(":")
        assert getattr(importlib.import_module(module), attribute).get_name() == name


def said(here: Session, name: str, *words: str, **options: str) -> tuple[list[str], Answer]:
    """The lines of a command, and its answer."""
    lines, command = list[str](), COMMANDS[name]
    given = {**dict.fromkeys(command.options, ""), **options}
    steps = command.do(here, words, given)
    while True:
        try:
            lines.append(next(steps))
        except StopIteration as end:
            return lines, end.value


@pytest.fixture
def here(tmp_path: Path) -> Session:
    root = make(tmp_path / "zoo", a=LIGHT, b=LIGHT, bad="version: 1\n")
    (root / "recipes/more").mkdir()
    (root / "recipes/more/c.yaml").write_text(LIGHT)
    return Session(root)


def test_words_name_recipes_and_groups(here: Session) -> None:
    assert here.named(["b", "more", "c", "bad"]) == ("b", "c", "bad")
    assert here.named([]) == ()
    with pytest.raises(RecipeFault, match="there is no recipe mroe\n  hint: did you mean more"):
        here.named(["mroe"])
    assert here.named(["[ab]", "b*"]) == ("a", "b", "bad")
    assert [task.name for task in here.tasks(["pack:b", "c"])][::3] == ["pack:b", "pack:c"]
    with pytest.raises(RecipeFault, match="there is no recipe x\\*"):
        here.named(["x*"])
    with pytest.raises(RecipeFault, match="there is no recipe \n"):
        here.named([""])


def test_the_cache_of_recipes_is_that_of_the_code_that_reads_them() -> None:
    readers = closure("tinybuild.recipe")
    asked = {"config/heads.py", "dataset/parts.py", "source/__init__.py", "tokenizer/__init__.py"}
    parts = {f"recipe/{path.name}" for path in Path(recipe.__file__).parent.glob("*.py")}
    assert asked | parts - {"recipe/reference.py"} <= set(readers)


def test_check_and_why(here: Session) -> None:
    with pytest.raises(RecipeFault) as caught:
        said(here, "check")
    first, *_, last = caught.value.findings
    assert first.where == "recipes/bad.yaml:1:1"
    assert last.what == "1 of 4 recipes are broken"
    assert said(here, "check", "more", "a")[0] == ["2 recipes have nothing wrong"]
    lines, answer = said(here, "why", "more")
    assert answer.data == {
        "dataset:c": ["runs: not built yet"],
        "validate:c": ["runs: not built yet"],
        "pack:c": ["runs: not built yet"],
    }
    assert lines[0] == "dataset:c                runs: not built yet"
    assert lines[-1].startswith("pack:c ")
    with pytest.raises(RecipeFault, match=r"recipes/bad\.yaml:1:1: the recipe has no summary"):
        said(here, "why", "bad")


def test_list_says_the_state_of_each(here: Session) -> None:
    lines, answer = said(here, "list")
    assert "a       not built  rows only" in lines[0].splitlines()
    assert lines[1].splitlines()[-1] == "more         1"
    told = {row["name"]: row["state"] for row in answer.data["recipes"]}
    assert told == {"a": "not built", "b": "not built", "bad": "broken"}
    assert said(here, "list", "more")[1].data["recipes"][0]["group"] == "more"
    assert len(said(here, "list", all="yes")[1].data["recipes"]) == 4


def test_list_asks_what_bundles_are(here: Session) -> None:
    checks = {"dataset_loads": {"state": "passed", "values": {"rows": 2}}}
    place = Bundle(checks=checks).write(here.root / "dist/b")
    (place / "SHA256SUMS").write_text("")
    (place / "config.json").write_text('{"model_type": "m", "num_experts": 4}')

    def names(*words: str, **options: str) -> list[str]:
        return [row["name"] for row in said(here, "list", *words, **options)[1].data["recipes"]]

    assert names(kind="moe") == ["b"]
    assert names("a", kind="moe") == []
    assert names(**{"model-type": "m", "max-bytes": "1MB"}) == ["b"]
    assert said(here, "list", **{"max-bytes": "1"})[0] == [
        "no bundle in dist/ is what was asked for",
        f"  the smallest has {size(place):,} bytes",
    ]
    assert {key.replace("-", "_") for key in building.ASKED} <= QUERIES.keys()
    assert said(here, "path", "b")[0] == [str(place)]
    with pytest.raises(RecipeFault, match="a is not built\n  hint: tinybuild build a"):
        said(here, "path", "a")


def test_a_recipe_is_found_by_its_name(here: Session) -> None:
    found = here.recipe("a")
    assert isinstance(found, recipe.Recipe)
    assert found.name == "a"
    with pytest.raises(RecipeFault, match="hint: known: a, b, c"):
        here.recipe("xyz")


@pytest.mark.parametrize("name", ["list", "why", "plan"])
def test_what_is_said_is_data_too(here: Session, name: str) -> None:
    """What `--json` prints of recipes tells of each that the lines tell of."""
    lines, answer = said(here, name, "a", "b")
    told = json.dumps(answer.data)
    for one in ("a", "b"):
        assert re.search(rf"(?m)^(\w+:)?{one} ", "\n".join(lines))
        assert re.search(rf'[":]{one}"', told), told
