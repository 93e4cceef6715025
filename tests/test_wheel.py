"""The wheel, installed: a zoo outside the clone has what it needs from it alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from kit.files import ROOT
from kit.language import editor
from kit.zoo import Result, environment

from tinybuild.cli.editors import SCHEMA
from tinybuild.errors import DISTRIBUTION

MADE = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages into which pip installed the wheel; its libraries are those of here."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    made = ran([sys.executable, "-c", MADE, str(folder)], ROOT)
    wheel = folder / made.out.splitlines()[-1]
    words = ["install", "-q", "--no-deps", "--no-index", "--target", str(folder / "site")]
    ran([sys.executable, "-m", "pip", *words, str(wheel)], folder)
    return folder / "site"


@pytest.fixture(scope="module")
def zoo(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    told = tinybuild(site, folder, "init", "zoo")
    assert "wrote schemas/recipe.v1.schema.json" in told.out
    return folder / "zoo"


def ran(words: Sequence[str], folder: Path, **env: str) -> Result:
    done = subprocess.run(
        words, cwd=folder, env=environment(**env), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Result(code=0, out=done.stdout, err=done.stderr)


def tinybuild(site: Path, folder: Path, *words: str, **env: str) -> Result:
    return ran([sys.executable, "-m", "tinybuild", *words], folder, PYTHONPATH=str(site), **env)


def test_the_wheel_is_a_distribution_that_nobody_else_has(site: Path) -> None:
    (about,) = site.glob("*.dist-info")
    assert about.name.startswith(f"{DISTRIBUTION.replace('-', '_')}-")
    lines = (about / "METADATA").read_text().splitlines()
    assert f"Name: {DISTRIBUTION}" in lines
    assert "Provides-Extra: zoo" in lines
    assert (site / "bin/tinybuild").is_file()
    where = ran([sys.executable, "-c", "import tinybuild; print(tinybuild.__file__)"], site)
    assert Path(where.out.strip()) == site / "tinybuild/__init__.py"


def test_recipes_of_a_zoo_elsewhere_are_checked_and_built(site: Path, zoo: Path) -> None:
    (zoo / "recipes/rows.yaml").write_text("version: 1\nsummary: rows\ndataset: {samples: 5}\n")
    assert tinybuild(site, zoo, "check", "rows").out == "1 recipe has nothing wrong\n"
    assert tinybuild(site, zoo, "build", "rows").out.splitlines()[-1].startswith("1 built in ")


def test_the_schema_resolves_without_the_clone(zoo: Path) -> None:
    pytest.importorskip("check_jsonschema")
    recipe = zoo / "recipes/llama.yaml"
    line = recipe.read_text().partition("\n")[0]
    assert line == f"# yaml-language-server: $schema=../{SCHEMA}"
    assert "$ref" not in {*json.loads((zoo / SCHEMA).read_text())}
    words = ["-m", "check_jsonschema", "--schemafile", SCHEMA, "recipes/llama.yaml"]
    ran([sys.executable, *words], zoo)


def test_an_editor_completes_in_a_zoo_of_the_wheel(zoo: Path) -> None:
    text = (zoo / "recipes/llama.yaml").read_text()
    with editor(zoo) as asked:
        assert asked.open(zoo / "recipes/llama.yaml", text) == []
        types = asked.offered(
            zoo / "recipes/b.yaml", text.replace("transformers: llama", "transformers: |")
        )
        assert {"bert", "whisper"} <= types.keys()
        keys = asked.offered(zoo / "recipes/c.yaml", text.replace("model:", "model:\n  |"))
        assert {"config", "layers"} <= keys.keys()


def test_its_own_recipes_build_where_there_is_no_zoo(site: Path, tmp_path: Path) -> None:
    script = "import tinybuild; print(len(tinybuild.load('texts').dataset['train']))"
    env = {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert int(ran([sys.executable, "-c", script], tmp_path, **env).out) > 0
