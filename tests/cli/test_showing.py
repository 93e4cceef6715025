"""`show` says what a bundle is, from its files and the receipts of its stages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli.test_commands import said
from kit.laid import Bundle
from kit.zoo import LIGHT, doit, make, tinybuild

from tinybuild.cli import showing
from tinybuild.cli.session import Session
from tinybuild.errors import RecipeFault


def test_a_dataset(tmp_path: Path) -> None:
    root = make(tmp_path / "zoo", one=LIGHT, other=LIGHT)
    assert doit(root, "one").code == 0
    here = Session(root)
    lines, answer = said(here, "show", "one")
    assert lines[0] == "one: rows only (up to date)"
    assert "rows         5" in lines[1].splitlines()
    (told,) = answer.data
    assert (told["name"], told["rows"], told["class"]) == ("one", 5, "")
    assert told["files"]["report.json"] == (root / "dist/one/report.json").stat().st_size
    with pytest.raises(RecipeFault, match="other is not built\n  hint: tinybuild build other"):
        said(here, "show", "other")
    with pytest.raises(RecipeFault, match="show takes the name of a recipe"):
        said(here, "show")


def test_modules_have_bars_of_their_share_and_failed_checks_are_named(tmp_path: Path) -> None:
    tensors = {
        **{f"layers.{n}.weight": ("F32", [3, 1], bytes(12)) for n in (0, 1)},
        "head.weight": ("F32", [2], bytes(8)),
    }
    checks = {
        "loss": {"state": "failed", "measured": "nan", "values": {}},
        "reload": {"state": "passed", "measured": "all", "values": {}},
    }
    root = make(tmp_path / "zoo", one=LIGHT)
    place = Bundle(tensors=tensors, checks=checks).write(root / "dist/one")
    (place / "SHA256SUMS").write_text("")
    change = '{"key": "n_layer", "from": 12, "to": 2, "reason": "rule depth"}'
    (place / "config_changes.json").write_text(f'{{"changes": [{change}]}}')
    text = "\n".join(showing._parts(Session(root), "one", place))
    assert "layers × 2           6  ███████████████\n" in text
    assert "head                 2  █████\n" in text
    assert "n_layer  12      2     rule depth" in text
    assert text.endswith("loss  failed  nan")


def test_a_source_without_a_recipe(tmp_path: Path) -> None:
    """Where there is no zoo, too."""
    folder = tmp_path / "mine/gpt"
    folder.mkdir(parents=True)
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 24}
    (folder / "config.json").write_text(json.dumps(config))
    shown = tinybuild(tmp_path, "show", "--source", "mine/gpt")
    assert shown.code == 0, shown.err
    assert shown.err == ""
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert "class GPT2LMHeadModel" in lines
    assert "tokens 2,000, or as many as the recipe says" in lines
    assert any(re.fullmatch(r"parameters [\d,]+, of 209,494,272 in the source", x) for x in lines)
    assert "n_layer 24 2 rule depth: one layer of each kind" in lines
    assert lines[-1] == "write the recipe: tinybuild new mine/gpt"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    wrong = tinybuild(tmp_path, "show", "--source", "gtp2").err
    assert wrong.startswith("show: gtp2 is not a model type, a folder, or a repository of the Hub")
