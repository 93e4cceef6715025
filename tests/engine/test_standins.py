"""Every recipe of recipes/hub/ is built, against stand-ins of its upstreams."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kit import hub, standins
from kit.files import contents
from kit.zoo import doit, make

RECIPES = Path(__file__).parents[2] / "recipes/hub"
TOKEN = "hf_aVeryPrivateToken"


@pytest.mark.slow
def test_the_recipes_of_the_hub(tmp_path: Path) -> None:
    """No weight and no code is asked for, no token leaves the Hub, nothing is asked twice; and
    without build/ and without a network the same bundles are made."""
    root = make(tmp_path / "zoo")
    for path in RECIPES.glob("*.yaml"):
        shutil.copy(path, root / "recipes")
    home = {"HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    with hub.serve() as server:
        standins.serve(server)
        every = sorted(path.stem for path in RECIPES.glob("*.yaml"))
        for some in (every[:4], every[4:7], every[7:]):
            result = doit(root, *some, HF_ENDPOINT=server.url, HF_HUB_OFFLINE="0", **home)
            assert result.code == 0, result.out + result.err
        assert f"Bearer {TOKEN}" in server.tokens
        assert server.leaked == []
        for end in (".safetensors", ".bin", ".py", ".index.json", "onnx"):
            assert server.asked(end) == []
        files = [line for line in server.log if line.startswith("GET") and "/resolve/" in line]
        assert len(files) >= 40
    assert [path.name for path in sorted((root / "dist").iterdir()) if path.is_dir()] == every
    assert not any(TOKEN.encode() in data for data in contents(root).values())
    made = contents(root / "dist")
    for folder in ("build", "dist"):
        shutil.rmtree(root / folder)
    light = ("c4-en-10k", "openwebtext-10k", "gpt2-124m")
    result = doit(root, *light, HF_HUB_OFFLINE="1", **home)
    assert result.code == 0, result.out + result.err
    again = contents(root / "dist")
    assert again == {name: made[name] for name in again}
