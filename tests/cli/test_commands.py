"""The table of commands, and what names on the command line stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
from doit.doit_cmd import DoitMain
from kit.zoo import LIGHT, make

from tinybuild import recipe
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
    with pytest.raises(RecipeFault, match="there is no recipe \n"):
        here.named([""])


def test_the_cache_of_recipes_is_that_of_the_code_that_reads_them() -> None:
    readers = closure("tinybuild.recipe")
    asked = {"config/heads.py", "dataset/parts.py", "source/__init__.py", "tokenizer/__init__.py"}
    parts = {f"recipe/{path.name}" for path in Path(recipe.__file__).parent.glob("*.py")}
    assert asked | parts - {"recipe/reference.py"} <= set(readers)


def test_check_and_why(here: Session) -> None:
    with pytest.raises(RecipeFault) as caught:
        list(COMMANDS["check"].do(here, [], {}))
    first, *_, last = caught.value.findings
    assert first.where == "recipes/bad.yaml:1:1"
    assert last.what == "1 of 4 recipes are broken"
    assert list(COMMANDS["check"].do(here, ["more", "a"], {})) == ["2 recipes are well-formed"]
    lines = list(COMMANDS["why"].do(here, ["more"], {}))
    assert lines[0] == "dataset:c                runs: not built yet"
    assert lines[-1].startswith("pack:c ")
    with pytest.raises(RecipeFault, match=r"recipes/bad\.yaml:1:1: the recipe has no summary"):
        list(COMMANDS["why"].do(here, ["bad"], {}))


def test_a_recipe_is_found_by_its_name(here: Session) -> None:
    found = here.recipe("a")
    assert isinstance(found, recipe.Recipe)
    assert found.name == "a"
    with pytest.raises(RecipeFault, match="hint: known: a, b, c"):
        here.recipe("xyz")
