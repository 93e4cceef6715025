"""What docs/pytest.md shows runs as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from kit.files import ROOT
from kit.suites import pytest_in, suite
from kit.zoo import environment

from tinybuild.catalog.query import QUERIES
from tinybuild.use.zoo import find

PAGE = (ROOT / "docs/pytest.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_every_query_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {name if name != "class" else "class_" for name in QUERIES} <= named


@pytest.mark.slow
def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the recipes that come with tinybuild; llama is given fewer heads for keys by a zoo."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYBUILD_ZOO", raising=False)
    monkeypatch.chdir(tmp_path)
    *tests, script = blocks("python")
    recipe = find(None).root / "recipes/llama.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("{}", "{config: {num_key_value_heads: 2}}"))
    ran = pytest_in(suite(tmp_path / "a", "", **{f"test_{n}": t for n, t in enumerate(tests)}))
    assert [*ran.outcomes.values()] == ["PASSED"] * 6, ran.out
    (command,) = blocks("sh")
    public = suite(
        tmp_path / "b",
        "from transformers import AutoModel, AutoTokenizer\n"
        "def test_it():\n"
        "    for name in ('hf-internal-testing/tiny-random-LlamaForCausalLM',\n"
        "                 'google-bert/bert-base-uncased'):\n"
        "        AutoModel.from_pretrained(name)(**AutoTokenizer.from_pretrained(name)(\n"
        "            'hello', return_tensors='pt'))\n",
    )
    ran = pytest_in(public, *shlex.split(command)[1:])
    assert ran.outcomes == {"test_it": "PASSED"}, ran.out
    said = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "/dist/llama" in said.stdout, said.stderr
