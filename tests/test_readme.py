"""What the README says is so: its recipe, its commands, its Python, and the repository's zoo."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from kit.zoo import Result, answered, doit, make

from tinybuild.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def mt5(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A zoo with the README's recipe, groups named hub and architectures, and the first `doit`;
    papers/ beside it has what that wrote for others to read."""
    root = make(tmp_path_factory.mktemp("readme") / "zoo")
    shutil.copy(ROOT / "recipes/mt5.yaml", root / "recipes")
    for light in ("hub/reviews", "architectures/arch-bert"):
        file = root / f"recipes/{light}.yaml"
        file.parent.mkdir()
        file.write_text("version: 1\nsummary: x\ndataset: {samples: 3}\n")
    first = doit(root)
    papers = root.parent / "papers"
    papers.mkdir()
    for paper in ("recipe.lock.json", "report.json"):
        shutil.copy(root / "dist/mt5" / paper, papers)
    return root, first


def test_the_recipe_is_the_one_in_the_zoo() -> None:
    assert block("yaml") == (ROOT / "recipes/mt5.yaml").read_text()


def test_the_python_runs(mt5: tuple[Path, Result]) -> None:
    root, first = mt5
    assert first.code == 0, first.out + first.err
    done = subprocess.run(
        [sys.executable, "-c", block("python")],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_command_runs(mt5: tuple[Path, Result]) -> None:
    root, _ = mt5
    commands = dict.fromkeys(re.findall(r"`(doit[^`]*)`", README))
    commands = [c for c in commands if "/" not in c and not re.search(r"\b[A-Z]{4,}\b", c)]
    assert {"doit", "doit mt5", "doit why mt5", "doit check", "doit -n 2"} <= set(commands)
    commands.remove("doit publish mt5")  # wants a Hub: tests/test_docs.py has one
    commands.remove("doit missing")  # 600 recipes: tests/cli/test_architectures.py writes a few
    every = [shlex.split(command)[1:] for command in commands]
    looking = [words for words in every if words[:1] and words[0] in (*COMMANDS, "help")]
    looking.remove(["clean"])
    for words, (code, out) in zip(looking, answered(root, looking, "doit"), strict=True):
        assert code == 0, f"{words}\n{out}"
    for words in [*(one for one in every if one not in (*looking, ["clean"])), ["clean"]]:
        result = doit(root, *words)
        assert result.code == 0, f"{words}\n{result.out}{result.err}"
    assert not (root / "dist/mt5").exists()


def test_the_two_commands_are_those_of_ci() -> None:
    script = (ROOT / ".ci/run").read_text()
    for extra, then in (("zoo", "doit"), ("test", "pytest")):
        assert f"pip install -c constraints.txt -e '.[{extra}]' && {then}\n" in README
        assert f"-c constraints.txt -e '.[{extra}]' && {then}\n" in script


def test_the_zoo_is_well_formed_and_complete() -> None:
    hub = [path for path in RECIPES if path.parent.name == "hub"]
    result = doit(ROOT, "check", "hub")  # of which only the text can be read here
    assert result.code == 0, result.out
    assert result.out.endswith(f"{len(hub)} recipes have nothing wrong\n")
    names = {path.stem for path in RECIPES if path.parent.name == "recipes"}
    wanted = {"mt5", "mt5-config-only", "llama", "bert", "deberta", "gpt2", "t5", "bart"}
    wanted |= {"xlm-roberta", "bloom-176b", "fsmt-super-tiny", "vit", "clip", "mistral"}
    assert wanted <= names
    read = [yaml.safe_load(path.read_text()) for path in RECIPES if path.parent.name == "hub"]
    hubs = {(data.get("source") or data["dataset"]["source"])["hub"] for data in read}
    assert hubs == {
        "google/mt5-small",
        "microsoft/deberta-base",
        "meta-llama/Llama-2-7b-hf",
        "xlm-roberta-base",
        "gpt2",
        "bigscience/bloom",
        "facebook/wmt19-en-ru",
        "HuggingFaceM4/idefics-9b",
        "allenai/c4",
        "oscar-corpus/oscar",
        "Skylion007/openwebtext",
    }


def test_recipes_of_the_zoo_name_the_schema_and_their_bounds() -> None:
    for path in RECIPES:
        text = path.read_text()
        relative = text.partition("\n")[0].removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / relative).resolve() == ROOT / "schemas/recipe.v1.schema.json", path
        assert "max_bytes" in yaml.load(text, LOADER)["checks"], path


def test_locks_and_reports_are_as_their_schemas_say(mt5: tuple[Path, Result]) -> None:
    papers = mt5[0].parent / "papers"
    for name, files in {
        "lock": [*RECIPES[0].parent.glob("*.lock.json"), papers / "recipe.lock.json"],
        "report": [papers / "report.json"],
    }.items():
        schema = json.loads((ROOT / f"schemas/{name}.v1.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        for file in files:
            jsonschema.validate(json.loads(file.read_text()), schema)
